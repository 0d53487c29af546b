"""One scaling and shift by which all masks fit their images better than as they are given.

What a crop, a border or another size does to one side alone: it is the same for every sample, so that all of them
together tell what none tells by itself. The map is searched on one half of the samples and judged on the other, and the
other way round, so that nothing found by chance is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

import cv2
import numpy as np
from scipy.fft import irfft2, rfft2

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import middles_of, pairs_of
from segnosis.doctor.evidence._oriented_edges import GRID, Field, Outline, agreement, edge_spread, mask_outline
from segnosis.doctor.evidence.sample_moves import beyond_others, compared, in_errors

PRICE = "data"

LEAST_GAIN, MOST_IN_PLACE, LEAST_MOVED = 4.0, 0.6, 0.03
"""What makes a map clear; right masks fit in place to 0.93 and more, on 36 kinds of data made up and 5 real."""
_MOST, _FEWEST = 48, 16
_FACTORS = (0.5, 0.57, 0.66, 0.75, 0.83, 0.91, 1.0, 1.1, 1.2, 1.33, 1.5, 1.75, 2.0)
_SKEWED = 1.7
"""Largest ratio of the two scales: beyond it nothing is recognised any more."""
_SCALES = tuple((a, b) for a, b in product(_FACTORS, _FACTORS) if max(a / b, b / a) <= _SKEWED)
_REACH = GRID * 3 // 16


@dataclass(frozen=True)
class CommonMap:
    """What a mask must go through to lie on its image: scaled about the middle, then shifted.

    Attributes:
        samples: How many were searched and judged.
        scale: Factors of rows and of columns.
        shift: Downwards and to the right, as shares of height and width.
        moved: How far the map moves a place of the mask on average, as a share of the side.
        gain: How much better masks fit by it, beyond what other masks gain, in standard errors: the smaller of the two
            halves, each by the map that the other half found.
        in_place: What masks fit better than others as they are given, as a share of what they do by the map.
        same: Whether both halves found the same map, or one that joint mirroring makes of it.
    """

    samples: int
    scale: tuple[float, float]
    shift: tuple[float, float]
    moved: float
    gain: float
    in_place: float
    same: bool

    def is_clear(
        self,
        least_gain: float = LEAST_GAIN,
        most_in_place: float = MOST_IN_PLACE,
        least_moved: float = LEAST_MOVED,
    ) -> bool:
        """Whether masks lie where the map takes them, and not where they are given."""
        return self.same and self.gain >= least_gain and self.in_place <= most_in_place and self.moved >= least_moved

    def told(self) -> str:
        """In words.

        Example:
            >>> CommonMap(48, (0.75, 0.75), (0.0, -0.125), 0.1, 9.0, 0.2, same=True).told()
            'scaled by 0.75 and shifted by 12 % to the left'
        """
        high, wide = self.scale
        scaled = f"{high:g}" if high == wide else f"{high:g} in height and {wide:g} in width"
        ways = (("upwards", "downwards"), ("to the left", "to the right"))
        shifts = [
            f"{abs(share):.0%} {way[share > 0]}".replace("%", " %")
            for share, way in zip(self.shift, ways, strict=True)
            if share
        ]
        parts = [f"scaled by {scaled}"] if self.scale != (1.0, 1.0) else []
        parts += [f"shifted by {' and '.join(shifts)}"] if shifts else []
        return " and ".join(parts) or "left in place"


@dataclass(frozen=True)
class _Map:
    scale: tuple[float, float]
    cells: tuple[int, int]

    @property
    def moved(self) -> float:
        """Cells, on average over the grid."""
        along = np.arange(GRID) - (GRID - 1) / 2
        down, across = ((s - 1) * along + d for s, d in zip(self.scale, self.cells, strict=True))
        return float(np.hypot(down[:, None], across[None]).mean())

    def is_like(self, other: _Map) -> bool:
        """Whether both are one map, perhaps seen after image and mask were mirrored together."""
        near = [abs(np.log(a / b)) < 0.15 for a, b in zip(self.scale, other.scale, strict=True)]
        return all(near) and all(abs(abs(a) - abs(b)) <= 2 for a, b in zip(self.cells, other.cells, strict=True))

    def matrix(self, side: float) -> np.ndarray:
        """For `cv2.warpAffine` of a square of this side."""
        (high, wide), (down, right), middle = self.scale, self.cells, (side - 1) / 2
        step = side / GRID
        return np.array([[wide, 0, middle * (1 - wide) + right * step], [0, high, middle * (1 - high) + down * step]])


_GIVEN = _Map((1.0, 1.0), (0, 0))


@dataclass(frozen=True)
class _Sample:
    field: Field
    outline: Outline
    plane: np.ndarray


def measure(
    batches: Sequence[Batch], validation_batches: Sequence[Batch] | None = None, heads: Sequence[Any] | None = None
) -> CommonMap:
    """Of the training pairs and of the validation pairs, which are hardly ever augmented, the one that gains more.

    Raises `Unavailable` with fewer than 16 samples whose image shows edges and whose mask has outlines.
    """
    found = [_of(drawn, heads) for drawn in (batches, validation_batches or ())]
    maps = [one for one in found if one is not None]
    if not maps:
        raise Unavailable(f"fewer than {_FEWEST} samples show edges and outlines")
    return max(maps, key=lambda one: (one.same and one.moved > 0, one.gain))


def _of(batches: Sequence[Batch], heads: Sequence[Any] | None) -> CommonMap | None:
    """Masks smaller than their images are those of a middle where that fits better in place."""
    pairs = list(islice(pairs_of(batches, heads), 2 * _MOST))
    found = [_among(side) for side in (pairs, middles_of(pairs)) if side is not None]
    return max((one for one in found if one is not None), key=lambda one: one.in_place, default=None)


def _among(pairs: Sequence[Pair]) -> CommonMap | None:
    samples: list[_Sample] = []
    for pair in pairs:
        seen = compared(pair)
        if seen is not None:
            samples.append(_Sample(*seen))
        if len(samples) == _MOST:
            break
    if len(samples) < _FEWEST:
        return None
    halves = samples[::2], samples[1::2]
    maps = [_searched(half) for half in halves]
    judged = [_judged(half, found) for half, found in zip(halves, reversed(maps), strict=True)]
    first = maps[0]
    return CommonMap(
        samples=len(samples),
        scale=first.scale,
        shift=(first.cells[0] / GRID, first.cells[1] / GRID),
        moved=min(found.moved for found in maps) / GRID,
        gain=min(gain for gain, _ in judged),
        in_place=max(place for _, place in judged),
        same=maps[0].is_like(maps[1]),
    )


def _searched(samples: Sequence[_Sample]) -> _Map:
    """The map that agrees best over all these samples: on a coarse grid among all scales, then among its neighbours."""
    edges = np.stack([one.field[..., 1:] / edge_spread(one.field, one.outline.near[None]) for one in samples])
    drawn = np.stack([one.outline.field[..., 1:] for one in samples])
    rough = _best(_halved(edges), _halved(drawn), _SCALES)
    near = [
        scale for scale in _SCALES if all(abs(np.log(a / b)) < 0.2 for a, b in zip(scale, rough.scale, strict=True))
    ]
    return _best(edges, drawn, near)


def _halved(fields: np.ndarray) -> np.ndarray:
    return np.stack([cv2.resize(field, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for field in fields])


def _best(edges: np.ndarray, drawn: np.ndarray, scales: Sequence[tuple[float, float]]) -> _Map:
    """Over these scales and all shifts; both `(samples, side, side, 2)`."""
    side = edges.shape[1]
    padded, reach, step = (2 * side, 2 * side), side * _REACH // GRID, GRID // side
    known = rfft2(edges, padded, axes=(1, 2))
    weights = np.abs(drawn).sum(axis=(1, 2, 3), keepdims=True)
    near = np.r_[-reach : reach + 1]
    best, found = -np.inf, _GIVEN
    for scale in scales:
        matrix = _Map(scale, (0, 0)).matrix(side)
        warped = np.stack([cv2.warpAffine(field, matrix, (side, side)) for field in drawn])
        warped *= weights / np.maximum(np.abs(warped).sum(axis=(1, 2, 3), keepdims=True), 1e-9)
        total = (known * np.conj(rfft2(warped, padded, axes=(1, 2)))).sum(axis=(0, 3))
        window = irfft2(total, padded)[np.ix_(near, near)]
        if window.max() > best:
            row, column = divmod(int(window.argmax()), len(near))
            best, found = float(window.max()), _Map(scale, (step * (row - reach), step * (column - reach)))
    return found


def _judged(samples: Sequence[_Sample], found: _Map) -> tuple[float, float]:
    """Gain over the given place in standard errors, and what the given place is worth, each beyond other masks."""
    moved = [replace(one, outline=_warped(one, found) or one.outline) for one in samples]
    given, there = (
        beyond_others(agreement([one.field for one in side], [one.outline for one in side]))
        for side in (samples, moved)
    )
    return in_errors(there - given), float(given.mean() / there.mean()) if there.mean() > 0 else 1.0


def _warped(sample: _Sample, found: _Map) -> Outline | None:
    side = 256
    square = cv2.resize(sample.plane, (side, side), interpolation=cv2.INTER_NEAREST)
    corner = float(sample.plane.flat[0])
    matrix = found.matrix(side)
    return mask_outline(cv2.warpAffine(square, matrix, (side, side), flags=cv2.INTER_NEAREST, borderValue=corner))
