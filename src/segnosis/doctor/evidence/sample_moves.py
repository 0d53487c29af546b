"""Whether each mask fits its own image once it is mirrored, turned or shifted, each in another way.

A mask that was moved by itself fits its image nowhere but where it was moved to, and fits it there better than other
masks fit it anywhere. Both are measured with the same search, so that what a search finds by chance cancels out. On
eleven kinds of pictures, made and real, right pairs had a share in place of 1.05 and more and lost by every search;
mirrored at random 0.5 to 0.85, turned 0.24 to 0.36, turned and shifted 0.01 to 0.35.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import middles_of, pairs_of
from segnosis.doctor.evidence._mask_planes import regions_of
from segnosis.doctor.evidence._oriented_edges import (
    DIHEDRAL,
    Field,
    Outline,
    agreement,
    best_shifts,
    edges_and_outline,
    mask_outline,
    resizable,
    turned,
)

PRICE = "data"

_MOST, _FEWEST, _OTHERS = 48, 12, 7
_AS_GIVEN, _SHIFTED = "as given", "shifted"
_CLEAR = 8.0
_ZOOMS = (0.5, 0.6, 0.75, 1.3, 1.5, 1.75, 2.0)
_ANGLES = (-48, -36, -24, -12, 12, 24, 36, 48)
"""Degrees; an outline still fits the edges a few degrees off."""
_STILL = 1  # cells that a search may stray without meaning it
ONE_TURN, AS_GIVEN = 0.7, 0.15
"""Shares of masks with which one turn explains all: those that fit by it at least, those that fit as given at most."""
IN_PLACE = 0.9
"""`Search.in_place` from which on masks lie where they belong."""
STANDING_OUT, CERTAIN = 4.0, 6.0
"""`Search.stands_out` from which on masks belong to their images, likely and surely."""
_ALIKE = (
    ("transposed", "transposed along the other diagonal"),
    ("rotated by 90°", "rotated by 270°"),
    ("flipped left to right", "flipped top to bottom"),
    ("rotated by 180°",),
)
"""Turns that one turn of the mask becomes when image and mask are then mirrored or turned together: the conjugates."""


@dataclass(frozen=True)
class Search:
    """What one search found.

    Attributes:
        stands_out: How far the best place of a mask on its own image lies above that of other masks, in standard
            errors of the mean over the samples.
        gains: How much better the best place is than the given one, beyond what other masks gain, in standard errors.
        in_place: What masks gain over others where they are given, as a share of what they gain at their best places:
            about 1 or more for masks that belong there.
        moves: Best move → samples, the most frequent first.
    """

    stands_out: float
    gains: float
    in_place: float
    moves: dict[str, int]

    def lies_elsewhere(self, least_standing_out: float, most_in_place: float) -> bool:
        """Whether masks belong to their images and not to the place where they are given."""
        return self.stands_out >= least_standing_out and self.gains >= 1 and self.in_place < most_in_place

    def one_turn(self) -> tuple[str, float, float]:
        """The turn that all masks may have had before an augmentation, and shares: of it, of masks as given.

        The shares are of the masks that fit best by turns alone where these are half of all: what a search over zooms
        finds for the others, it finds by chance.
        """
        as_given = self.moves.get(_AS_GIVEN, 0) + self.moves.get(_SHIFTED, 0)
        by_turns = as_given + sum(self.moves.get(name, 0) for name in DIHEDRAL)
        every = sum(self.moves.values())
        total = max(1, by_turns if 2 * by_turns >= every else every)
        shares = {names[0]: sum(self.moves.get(name, 0) for name in names) / total for names in _ALIKE}
        turn = max(shares, key=lambda name: shares[name])
        return turn, shares[turn], as_given / total


@dataclass(frozen=True)
class TurnedAlike:
    """One turn of all masks, perhaps before image and mask were mirrored or turned together.

    Attributes:
        turn: Its name.
        share: Of the masks that turns explain at all, those that fit by it or by what joint mirroring makes of it.
        as_given: Those that fit as they are.
        stands_out: As in the search that tells.
    """

    turn: str
    share: float
    as_given: float
    stands_out: float


@dataclass(frozen=True)
class SampleMoves:
    """The samples of the batches.

    Attributes:
        compared: Samples whose image has edges and whose mask has outlines.
        turns: Over mirror images and quarter turns.
        shifts: Over these, zooms, rotations, and shifts by up to an eighth; `None` where the turns alone are clear.
    """

    compared: int
    turns: Search
    shifts: Search | None = None

    @property
    def widest(self) -> Search:
        """The search over most moves that was made."""
        return self.shifts or self.turns

    def turned_alike(self, least: float, most_as_given: float, least_standing_out: float) -> TurnedAlike | None:
        """The one turn that explains the masks, by the search over turns or, where that is unclear, the wider one."""
        for search in (self.turns, self.shifts):
            if search is None or search.stands_out < least_standing_out:
                continue
            turn, share, as_given = search.one_turn()
            if share >= least and as_given <= most_as_given:
                return TurnedAlike(turn, share, as_given, search.stands_out)
        return None


def measure(batches: Sequence[Batch], heads: Sequence[Any] | None = None) -> SampleMoves:
    """Masks smaller than their images are those of a middle where that fits better in place.

    Raises `Unavailable` with fewer than a dozen comparable samples.
    """
    pairs = list(pairs_of(batches, heads))
    found = [_searched(pairs)]
    if (middles := middles_of(pairs)) is not None:
        found.append(_searched(middles))
    return max(found, key=lambda moves: moves.widest.in_place)


def compared(pair: Pair) -> tuple[Field, Outline, np.ndarray] | None:
    """Edges of the image, outline of the mask, and the plane it is the outline of; `None` where one is missing."""
    if pair.image is None or pair.mask is None or min(pair.image.shape[:2]) < 8:
        return None
    plane = resizable(regions_of(pair.mask))
    both = edges_and_outline(pair.image, plane)
    return None if both is None else (*both, plane)


def turn_of(pair: Pair) -> str | None:
    """The turn by which the mask fits its image best, one name for all that mirroring both makes of it.

    `None` where the image shows no edges or the mask no outlines.
    """
    seen = compared(pair)
    if seen is None:
        return None
    field, outline, _ = seen
    turns = {_AS_GIVEN: outline, **{name: turned(outline, name) for name in DIHEDRAL}}
    best = list(turns)[int(agreement([field], list(turns.values()))[0].argmax())]
    return next((names[0] for names in _ALIKE if best in names), best)


def _searched(pairs: Sequence[Pair]) -> SampleMoves:
    fields, outlines, planes = [], [], []
    for pair in pairs:
        seen = compared(pair)
        if seen is not None:
            fields.append(seen[0])
            outlines.append(seen[1])
            planes.append(seen[2])
        if len(fields) == _MOST:
            break
    if len(fields) < _FEWEST:
        raise Unavailable(f"{len(fields)} samples show edges and outlines, {_FEWEST} are needed")
    turns = {_AS_GIVEN: outlines, **{name: [turned(outline, name) for outline in outlines] for name in DIHEDRAL}}
    by_turn = _by_turn(fields, turns)
    if by_turn.stands_out >= _CLEAR:
        return SampleMoves(len(fields), by_turn)
    further = {f"zoomed by {factor:g}": (factor, 0) for factor in _ZOOMS}
    further |= {f"rotated by {angle}°": (1.0, angle) for angle in _ANGLES}
    warped = {
        name: [mask_outline(_warped(plane, *how)) or outline for plane, outline in zip(planes, outlines, strict=True)]
        for name, how in further.items()
    }
    return SampleMoves(len(fields), by_turn, _by_shift(fields, turns | warped))


def _warped(plane: np.ndarray, factor: float, angle: float) -> np.ndarray:
    """The mask, larger by a factor and turned about its middle; outside is what its corner holds."""
    height, width = plane.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, factor)
    corner = float(plane[0, 0])
    return cv2.warpAffine(plane, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=corner)


def _by_turn(fields: list[Field], turns: dict[str, list[Outline]]) -> Search:
    """Every image with every mask in every turn."""
    scores = np.stack([agreement(fields, outlines) for outlines in turns.values()])
    best = scores.max(axis=0)
    names = list(turns)
    moves = Counter(names[k] for k in np.diagonal(scores, axis1=1, axis2=2).argmax(axis=0))
    return _found(beyond_others(best), beyond_others(scores[0]), moves)


def beyond_others(scores: np.ndarray) -> np.ndarray:
    """How much better each image agrees with its own mask than with the others, of `(images, masks)` agreements."""
    own = scores.diagonal()
    return own - (scores.sum(axis=1) - own) / (len(scores) - 1)


def _by_shift(fields: list[Field], turns: dict[str, list[Outline]]) -> Search:
    """Every image with its own mask and a few others, in every turn and shift."""
    chosen = np.random.default_rng(0)
    best, given, moves = [], [], Counter[str]()
    for k, field in enumerate(fields):
        others = chosen.choice([j for j in range(len(fields)) if j != k], min(_OTHERS, len(fields) - 1), replace=False)
        (name, own_best, own_given), *found = _search(field, turns, [k, *others])
        moves[name] += 1
        best.append(own_best - float(np.mean([other[1] for other in found])))
        given.append(own_given - float(np.mean([other[2] for other in found])))
    return _found(np.array(best), np.array(given), moves)


def _search(field: Field, turns: dict[str, list[Outline]], masks: Sequence[int]) -> Iterator[tuple[str, float, float]]:
    """Of each mask the move that fits best, how well it fits, and how well the outline fits as it is given."""
    names = list(turns)
    found = best_shifts(field, [turns[name][mask] for mask in masks for name in names])
    for start in range(0, len(found), len(names)):
        tried = dict(zip(names, found[start : start + len(names)], strict=True))
        name = max(names, key=lambda name: tried[name][2])
        row, column, score, _ = tried[name]
        shifted = name == _AS_GIVEN and max(abs(row), abs(column)) > _STILL
        yield _SHIFTED if shifted else name, score, tried[_AS_GIVEN][3]


def _found(best: np.ndarray, given: np.ndarray, moves: Counter[str]) -> Search:
    return Search(
        stands_out=in_errors(best),
        gains=in_errors(best - given),
        in_place=float(given.mean() / best.mean()) if best.mean() > 0 else 1.0,
        moves=dict(moves.most_common()),
    )


def in_errors(values: np.ndarray) -> float:
    """The mean in standard errors of the mean."""
    return float(values.mean() / max(values.std() / np.sqrt(len(values)), 1e-9))
