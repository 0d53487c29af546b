"""What one mask shows by itself: how its values are stored, which form regions and which only appear along outlines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from segnosis.doctor.evidence._mask_planes import Layout, as_plane

_HALO = 17
"""Side of the window in which JPEG and anti-aliasing leave their grey levels: one 8 × 8 block on either side."""
_FUZZ_VALUES = 8
"""A mask with at least so many in-between values was not drawn, it was resampled or compressed."""
WIDEST_RUN = 5
"""Runs of an id between two others are counted up to this many pixels; averages of two ids are one or two wide."""


@dataclass(frozen=True)
class Look:
    """One mask.

    Attributes:
        layout: `"ids"` (one plane), `"copies"` (several equal planes), `"colour"` (three or four different planes) or
            `"stack"` (any other number of planes: one per class, say).
        counts: Value → pixels, of the finite values of the plane; of 24-bit colours for `"colour"`.
        solid: Value → pixels that belong to a uniform block of 3 × 3.
        fractional: Pixels with a value between two integers.
        nonfinite: Pixels that are no number.
        fuzz: Pixels of in-between values near outlines; 0 unless they are of many different values.
        smooth: Ids of two regions at least two apart, the lower first → steps that pass through an id in between.
        direct: The same of those that do not.
        runs: (lower, between, upper) id and width → places where a row or column goes from one to the other by so many
            pixels of the one between, at most `WIDEST_RUN`.
        contacts: (lower, upper) id → places where pixels of the two touch.
    """

    layout: Layout
    counts: dict[float, int]
    solid: dict[float, int] = field(default_factory=dict)
    fractional: int = 0
    nonfinite: int = 0
    fuzz: int = 0
    smooth: Counter[tuple[int, int]] = field(default_factory=Counter)
    direct: Counter[tuple[int, int]] = field(default_factory=Counter)
    runs: Counter[tuple[int, ...]] = field(default_factory=Counter)
    contacts: Counter[tuple[int, ...]] = field(default_factory=Counter)


def look(mask: np.ndarray) -> Look:
    """Look at one mask `(height, width)` or `(height, width, planes)` of any dtype."""
    plane, layout = as_plane(mask)
    if layout in ("colour", "stack"):
        return Look(layout, _colours(plane) if layout == "colour" else {})
    if plane.dtype.kind == "f":
        finite = np.isfinite(plane)
        nonfinite = int(plane.size - finite.sum())
        plane = np.where(finite, plane, 0).astype(np.float32) if nonfinite else plane.astype(np.float32)
    else:
        nonfinite = 0
        plane = plane.astype(np.uint8) if plane.dtype == bool else plane
    counts = _count(plane)
    fractional = sum(pixels for value, pixels in counts.items() if value != int(value))
    if len(counts) < 2:
        return Look(layout, counts, dict(counts), fractional, nonfinite)
    work = plane if plane.dtype in (np.uint8, np.uint16, np.int16, np.float32) else plane.astype(np.float32)
    block = np.ones((3, 3), np.uint8)
    uniform = (cv2.erode(work, block) == cv2.dilate(work, block)).astype(np.uint8)
    is_solid = cv2.dilate(uniform, block).astype(bool)
    solid = _count(work[is_solid])
    fuzz = 0
    if len(counts) >= _FUZZ_VALUES + 2:
        fuzz = _fuzz(work, is_solid, counts, solid)
    if len(counts) < 3 or fuzz or fractional:
        return Look(layout, counts, solid, fractional, nonfinite, fuzz)
    steps, runs = _steps(work.astype(np.int32), is_solid), _runs(work.astype(np.int32))
    return Look(layout, counts, solid, fractional, nonfinite, fuzz, *steps, *runs)


def _count(plane: np.ndarray) -> dict[float, int]:
    if plane.dtype in (np.uint8, np.uint16):
        pixels = np.bincount(plane.ravel())
        return {float(value): int(pixels[value]) for value in np.flatnonzero(pixels)}
    values, pixels = np.unique(plane, return_counts=True)
    return {float(value): int(number) for value, number in zip(values, pixels, strict=True)}


def _colours(planes: np.ndarray) -> dict[float, int]:
    if planes.dtype.kind == "f":
        planes = np.clip(np.nan_to_num(planes) * (255 if np.nanmax(planes) <= 1 else 1), 0, 255)
    rgb = planes[..., :3].astype(np.int32)
    return _count(rgb[..., 0] * 65536 + rgb[..., 1] * 256 + rgb[..., 2])


def _fuzz(plane: np.ndarray, is_solid: np.ndarray, counts: dict[float, int], solid: dict[float, int]) -> int:
    """Pixels of values that seldom form a region and lie strictly between their surroundings; 0 when of few values."""
    speckle = [value for value, pixels in counts.items() if solid.get(value, 0) < 0.5 * pixels]
    if len(speckle) < _FUZZ_VALUES:
        return 0
    window = np.ones((_HALO, _HALO), np.uint8)
    between = (plane > cv2.erode(plane, window)) & (plane < cv2.dilate(plane, window)) & ~is_solid
    found = _count(plane[between])
    return sum(found.values()) if len(found) >= _FUZZ_VALUES else 0


def _steps(plane: np.ndarray, is_solid: np.ndarray) -> tuple[Counter[tuple[int, int]], Counter[tuple[int, int]]]:
    """(smooth, direct) steps between regions whose ids are at least two apart, along rows and columns."""
    smooth, direct = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for values, firm in ((plane, is_solid), (plane.T, is_solid.T)):
        for width in (0, 1, 2):
            span = width + 1
            left, right = values[:, :-span], values[:, span:]
            far = firm[:, :-span] & firm[:, span:] & (np.abs(left - right) >= 2)
            if not far.any():
                continue
            rows, columns = np.nonzero(far)
            low = np.minimum(left[rows, columns], right[rows, columns])
            high = np.maximum(left[rows, columns], right[rows, columns])
            pairs = np.stack([low, high], -1)
            if width == 0:
                direct += _tally(pairs)
                continue
            inside = [values[rows, columns + k] for k in range(1, span)]
            is_loose = np.logical_and.reduce([~firm[rows, columns + k] for k in range(1, span)])
            between = np.logical_and.reduce([(value > low) & (value < high) for value in inside])
            at_ends = np.logical_and.reduce([(value == low) | (value == high) for value in inside])
            smooth += _tally(pairs[is_loose & between])
            direct += _tally(pairs[is_loose & at_ends])
    return smooth, direct


def _runs(plane: np.ndarray) -> tuple[Counter[tuple[int, ...]], Counter[tuple[int, ...]]]:
    """(runs, contacts), along rows and columns."""
    runs, contacts = Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()
    for values in (plane, plane.T):
        row, column = np.nonzero(values[:, 1:] != values[:, :-1])
        before, after = values[row, column], values[row, column + 1]
        contacts += _tally(np.sort(np.stack([before, after], -1), -1))
        width = np.diff(column)
        low, high = np.minimum(before[:-1], after[1:]), np.maximum(before[:-1], after[1:])
        between = (np.diff(row) == 0) & (width <= WIDEST_RUN) & (low < after[:-1]) & (after[:-1] < high)
        runs += _tally(np.stack([low, after[:-1], high, width], -1)[between])
    return runs, contacts


def _tally(rows: np.ndarray) -> Counter[Any]:
    different, counts = np.unique(rows, axis=0, return_counts=True)
    return Counter({tuple(map(int, row)): int(n) for row, n in zip(different, counts, strict=True)})
