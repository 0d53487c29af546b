"""Whether each mask's outlines lie on its own image's edges: rather than on another's, turned or shifted.

Everything is said in one unit: how much better a mask of this data set typically fits its own image than another's.
On 500 healthy pairs of five public data sets no exchange of two masks gained more than 0.1 units a mask; undoing a
planted exchange gained 0.4 or more in 999 of 1000 natural and microscope images.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from segnosis.core.sample import Pair
from segnosis.doctor.evidence._mask_planes import as_plane, regions_of
from segnosis.doctor.evidence._oriented_edges import (
    DIHEDRAL,
    GRID,
    Field,
    Outline,
    agreement,
    best_shift,
    edges_and_outline,
    own_agreement,
    resizable,
    turned,
)
from segnosis.doctor.evidence._places import place
from segnosis.doctor.evidence._reassignment import reassignment, small_image, small_mask

PRICE = "data"
KEPT = 256
"""Pairs kept at random; up to here every mask is compared with every image."""
SUSPECTS = 64
"""Beyond that, so many pairs of the lowest agreement are kept as well: a swap among millions is among them."""
_FEWEST = 8
_PERMUTATIONS = 200
_GAIN_WORTH_TELLING = 0.1
_COMMON_GAIN = 0.5
"""A turn that gains so much in the mean of all pairs is what happened to each that gains by it: the best of hundreds of
shifts may fit a single small outline even better, by chance."""
_TOLD = 12
"""So many moved masks are held against chance, the largest gains first."""
_LOYALTY = 0.2
"""A mask leaves its own image in the assignment only for a gain above this: look-alikes stay where they are."""


@dataclass(frozen=True)
class Exchange:
    """Masks that fit better when passed on around a ring: `masks[k]` belongs to the image of `masks[k + 1]`.

    Attributes:
        masks, images: Their places, in the order of the ring.
        own: Agreement as given, mean over the ring, in units above chance.
        exchanged: The same when exchanged.
        gain: What each mask of the ring gains in the mean, in units.
        typical: What the lower half of the ring reaches at most when exchanged, in units: one mask that fits another
            image by chance raises the mean of a ring, and not this.
        size: Masks of the ring; `masks` and `images` name twenty of them.
        alike: Share of the other pairs, neither given nor of the best assignment, that reach as much: chance.
    """

    masks: tuple[str, ...]
    images: tuple[str, ...]
    own: float
    exchanged: float
    gain: float
    typical: float
    alike: float
    size: int


@dataclass(frozen=True)
class Reordered:
    """The order in which masks and images fit best, where it is not the one given.

    Attributes:
        own: Score of the pairs as given, over that of the best one-to-one assignment.
        above_turned: Score of that assignment, over the best of mirrored and turned masks: 1 is chance.
        moved: Masks that it gives to another image.
        examples: Image, the mask it is paired with, and the one that fits.
    """

    own: float
    above_turned: float
    moved: int
    examples: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Misplaced:
    """A mask that fits its image better when moved.

    Attributes:
        where: The mask.
        move: `"transposed"`, `"flipped left to right"`, … or `"shifted by (8, 0) pixels"`.
        own: Agreement as given, in units above chance.
        gain: What the move gains, in units.
        surprise: How far its best move on its own image lies above the best on other images, in their deviations;
            measured for the largest gains only, else 0.
    """

    where: str
    move: str
    own: float
    gain: float
    surprise: float = 0.0


@dataclass(frozen=True)
class PairAgreement:
    """Agreement of masks and images.

    Attributes:
        judged: Pairs with enough outline and structure to be judged.
        compared: Of them, those compared with one another.
        own: Median agreement of pairs as given.
        chance: Median agreement of an image with another's mask.
        unit: What a right pair has above chance.
        spread: Robust standard deviation of chance.
        capable: Whether right pairs stand out from chance in these data, so that wrong ones can be told.
        above_shuffled: Share of 200 shufflings whose mean agreement is below that of the pairs as given.
        exchanges: Rings of masks that fit each other's images better, the largest gain first.
        misplaced: Masks that fit better turned or shifted, the largest gain first.
        moves: Move → share of the compared pairs that gain by it more than by any other, and at all.
        move_gain: Move → mean gain over all compared pairs.
        reordered: Another order that all masks together fit; `None` where the pairs as given come near the best one.
    """

    judged: int
    compared: int
    own: float = 0.0
    chance: float = 0.0
    unit: float = 0.0
    spread: float = 0.0
    capable: bool = False
    above_shuffled: float = 1.0
    exchanges: tuple[Exchange, ...] = ()
    misplaced: tuple[Misplaced, ...] = ()
    moves: dict[str, float] | None = None
    move_gain: dict[str, float] | None = None
    reordered: Reordered | None = None

    @property
    def as_given(self) -> float:
        """What the typical pair reaches as it is given, in units: 1 where the pairs are right."""
        return (self.own - self.chance) / self.unit if self.unit else 0.0

    @property
    def commonest_move(self) -> tuple[str, float, float]:
        """The move that most pairs gain by, their share, and the mean gain over all; `("none", 0, 0)` without."""
        if not self.moves:
            return "none", 0.0, 0.0
        move, share = max(self.moves.items(), key=lambda item: item[1])
        return move, share, (self.move_gain or {}).get(move, 0.0)


@dataclass
class _Kept:
    order: int
    image: Field
    outline: Outline
    pixels: np.ndarray
    ids: np.ndarray
    image_place: str
    mask_place: str
    height: int
    width: int


class Scan:
    """Keeps small edge fields of a bounded number of pairs."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._kept: list[_Kept] = []
        self._suspects: list[tuple[float, int, _Kept]] = []
        self._judged = 0

    def add(self, pair: Pair) -> None:
        """Take one pair; those without structure are passed over."""
        if pair.image is None or pair.mask is None or pair.image.ndim not in (2, 3):
            return
        plane, layout = as_plane(pair.mask)
        plane = regions_of(plane) if layout == "stack" else plane
        if plane.ndim == 3:  # a colour picture: any change of colour is an outline
            plane = plane[..., :3].astype(np.float32) @ np.array([1, 2, 4], np.float32)
        if plane.size == 0 or min(pair.image.shape[:2]) < 8:
            return
        plane = resizable(plane)
        both = edges_and_outline(pair.image, plane)
        if both is None:
            return
        field, outline = both
        height, width = plane.shape[:2]
        outline = Outline(outline.field.astype(np.float16), outline.near.astype(np.float16))
        small = small_image(pair.image), small_mask(plane)
        where = place(pair, "image"), place(pair)
        kept = _Kept(self._judged, field.astype(np.float16), outline, *small, *where, height, width)
        self._judged += 1
        self._keep(kept)

    def _keep(self, item: _Kept) -> None:
        if len(self._kept) < KEPT:
            self._kept.append(item)
            return
        others = [self._kept[k] for k in self._random.integers(0, KEPT, 8)]
        scores = agreement([item.image.astype(np.float32)], [_wide(o.outline) for o in (item, *others)])[0]
        entry = (-float(scores[0] - np.median(scores[1:])), item.order, item)
        if len(self._suspects) < SUSPECTS:
            heapq.heappush(self._suspects, entry)
        else:
            heapq.heappushpop(self._suspects, entry)
        slot = int(self._random.integers(0, self._judged))
        if slot < KEPT:
            self._kept[slot] = item

    def result(self) -> PairAgreement:
        """Compare all kept pairs with one another."""
        both = {item.order: item for item in self._kept} | {item.order: item for _, _, item in self._suspects}
        items = [both[order] for order in sorted(both)]
        if len(items) < _FEWEST:
            return PairAgreement(self._judged, len(items))
        return _compare(items, self._judged)


def _compare(items: list[_Kept], judged: int) -> PairAgreement:
    count = len(items)
    images = [item.image.astype(np.float32) for item in items]
    outlines = [_wide(item.outline) for item in items]
    scores = agreement(images, outlines)
    own = scores.diagonal().copy()
    others = scores[~np.eye(count, dtype=bool)]
    chance = float(np.median(others))
    spread = max(1.4826 * float(np.median(np.abs(others - chance))), 1e-6)
    moved = {name: own_agreement(images, [turned(outline, name) for outline in outlines]) for name in DIHEDRAL}
    shifts = [best_shift(image, outline) for image, outline in zip(images, outlines, strict=True)]
    _modal, shared = Counter((row, column) for row, column, _, _ in shifts).most_common(1)[0]
    levels = [float(np.median(own)), *(float(np.median(score)) for score in moved.values())]
    levels.append(_assigned_level(scores, chance, spread))
    if shared >= 0.5 * count:
        levels.append(float(np.median([best for _, _, best, _ in shifts])))
    unit = max(levels) - chance
    shuffles = np.random.default_rng(0)
    rows = np.arange(count)
    shuffled = [scores[rows, shuffles.permutation(count)].mean() for _ in range(_PERMUTATIONS)]
    found = PairAgreement(
        judged,
        count,
        own=float(np.median(own)),
        chance=chance,
        unit=unit,
        spread=spread,
        capable=unit >= 0.25 and unit >= 1.5 * spread,
        above_shuffled=float(np.mean(own.mean() > np.array(shuffled))),
    )
    found = replace(found, reordered=_reordered(items, images, outlines, scores))
    if not found.capable:
        return found
    misplaced, moves, gains = _misplaced(items, own, chance, unit, moved, shifts)
    misplaced = _surprising(misplaced, items, images, outlines)
    return replace(
        found,
        exchanges=tuple(_exchanges(items, scores, chance, unit)),
        misplaced=misplaced,
        moves=moves,
        move_gain=gains,
    )


def _reordered(
    items: list[_Kept], images: list[Field], outlines: list[Outline], scores: np.ndarray
) -> Reordered | None:
    best = reassignment(images, outlines, scores, [item.pixels for item in items], [item.ids for item in items])
    if best is None:
        return None
    moved = [(k, column) for k, column in enumerate(best.columns) if k != column]
    names = [(items[k].image_place, items[k].mask_place, items[column].mask_place) for k, column in moved[:20]]
    return Reordered(round(best.own, 3), round(best.above_turned, 3), len(moved), tuple(names))


def _assigned_level(scores: np.ndarray, chance: float, spread: float) -> float:
    """Level of the best one-to-one assignment if most of it stands out of both its row and its column, else chance."""
    rows, columns = linear_sum_assignment(-scores)
    best = scores[rows, columns]
    in_row = (best - np.median(scores, axis=1)) / spread
    in_column = (best - np.median(scores, axis=0)[columns]) / spread
    stands_out = np.mean((in_row >= 4) & (in_column >= 4)) >= 0.5
    return float(np.median(best)) if stands_out else chance


def _exchanges(items: list[_Kept], scores: np.ndarray, chance: float, unit: float) -> Iterable[Exchange]:
    """Rings of the best assignment: image `i` gets the mask of `columns[i]`."""
    _, columns = linear_sum_assignment(-(scores + _LOYALTY * unit * np.eye(len(items))))
    seen: set[int] = set()
    found = []
    rest = scores.copy()
    np.fill_diagonal(rest, -np.inf)
    rest[np.arange(len(items)), columns] = -np.inf
    for start in range(len(items)):
        ring, at = [], start
        while at not in seen:
            seen.add(at)
            ring.append(at)
            at = int(columns[at])
        if len(ring) < 2:
            continue
        own = float(np.mean([scores[k, k] for k in ring]) - chance) / unit
        exchanged = float(np.mean([scores[k, columns[k]] for k in ring]) - chance) / unit
        gain = exchanged - own
        typical = sorted(float(scores[k, columns[k]]) for k in ring)[(len(ring) - 1) // 2]
        if gain > _GAIN_WORTH_TELLING:
            found.append(
                Exchange(
                    tuple(items[k].mask_place for k in ring[:20]),
                    tuple(items[k].image_place for k in ring[:20]),
                    round(own, 3),
                    round(exchanged, 3),
                    round(gain, 3),
                    round((typical - chance) / unit, 3),
                    round(float(np.mean(rest >= typical)), 4),
                    len(ring),
                )
            )
    return sorted(found, key=lambda ring: -ring.gain)


def _misplaced(
    items: list[_Kept],
    own: np.ndarray,
    chance: float,
    unit: float,
    moved: dict[str, np.ndarray],
    shifts: list[tuple[int, int, float, float]],
) -> tuple[tuple[Misplaced, ...], dict[str, float], dict[str, float]]:
    out, won = [], Counter[str]()
    gains = {name: float(np.mean(score - own)) / unit for name, score in moved.items()}
    common = max(gains, key=lambda name: gains[name])
    for k, item in enumerate(items):
        name = max(moved, key=lambda name: moved[name][k])
        if gains[common] >= _COMMON_GAIN and float(moved[common][k] - own[k]) / unit > _GAIN_WORTH_TELLING:
            won[common] += 1
            gain = float(moved[common][k] - own[k]) / unit
            out.append(Misplaced(item.mask_place, common, round((float(own[k]) - chance) / unit, 3), round(gain, 3)))
            continue
        gain = float(moved[name][k] - own[k]) / unit
        row, column, best, unshifted = shifts[k]
        if _is_far(row, column, item) and (best - unshifted) / unit > gain:
            gain = (best - unshifted) / unit
            name = f"shifted by ({round(row * item.height / GRID)}, {round(column * item.width / GRID)}) pixels"
            cells = f"shifted by ({row}, {column}) cells"
            gains[cells] = gains.get(cells, 0.0) + gain / len(items)
            won[cells] += 1
        elif gain > 0:
            won[name] += 1
        if gain > _GAIN_WORTH_TELLING:
            out.append(Misplaced(item.mask_place, name, round((float(own[k]) - chance) / unit, 3), round(gain, 3)))
    shares = {name: round(number / len(items), 4) for name, number in won.items()}
    kept = {name: round(gains[name], 4) for name in shares}
    return tuple(sorted(out, key=lambda item: -item.gain)), shares, kept


def _surprising(
    misplaced: tuple[Misplaced, ...], items: list[_Kept], images: list[Field], outlines: list[Outline]
) -> tuple[Misplaced, ...]:
    """The largest gains, each against what the same mask gains on images that are not its own."""
    at = {item.mask_place: k for k, item in enumerate(items)}
    told = []
    for item in misplaced[:_TOLD]:
        k = at[item.where]
        turns = [turned(outlines[k], name) for name in DIHEDRAL]
        best = agreement(images, turns).max(axis=1)
        if "shifted" in item.move:
            near = [k, *(j for j in range(0, len(items), max(1, len(items) // 16)) if j != k)]
            best = np.array([best_shift(images[j], outlines[k])[2] for j in near])
            k = 0
        others = np.delete(best, k)
        deviation = max(float(others.std()), 1e-6)
        told.append(replace(item, surprise=round(float(best[k] - others.mean()) / deviation, 2)))
    return (*told, *misplaced[_TOLD:])


def _is_far(row: int, column: int, item: _Kept) -> bool:
    """Whether a shift is more than the grid's own coarseness: two cells, and two pixels of a small picture."""
    pixels = max(abs(row) * item.height, abs(column) * item.width) / GRID
    return max(abs(row), abs(column)) >= 2 and pixels >= 2


def _wide(outline: Outline) -> Outline:
    return Outline(outline.field.astype(np.float32), outline.near.astype(np.float32))
