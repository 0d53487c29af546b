"""Masks from what annotation tools store instead of pixels: polygons and run lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

_CROSSINGS_AT_ONCE = 1 << 22
_MOST_CROSSINGS = 1 << 26
_KEPT_BYTES = 1 << 27


class Patch(NamedTuple):
    """Pixels of an object within its own rectangle of the picture."""

    top: int
    left: int
    pixels: np.ndarray
    """`(height, width)` bool."""

    @property
    def where(self) -> tuple[slice, slice]:
        """The rectangle, as an index into the picture."""
        height, width = self.pixels.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def polygon(points: np.ndarray, size: tuple[int, int]) -> Patch:
    """Pixels whose centre lies inside a polygon by the even-odd rule.

    Args:
        points: Corners `(n, 2)` as `(x, y)`, pixel (i, j) covering `[j, j + 1] × [i, i + 1]`; closed by itself.
        size: `(height, width)` of the picture.

    Raises:
        ValueError: A corner is no number, or the outline crosses more rows than any drawing does.

    Example:
        >>> patch = polygon(np.array([[1, 0], [3, 0], [3, 2], [1, 2]]), (2, 4))
        >>> patch.left, patch.pixels.astype(int).tolist()
        (1, [[1, 1], [1, 1]])
    """
    corners = np.asarray(points, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise ValueError("a polygon is a list of points (x, y)")
    # A pixel is met when its centre lies between two ends: the lower end counts, the upper does not.
    met = np.ceil(corners - 0.5).clip(0, (size[1], size[0])).astype(np.int64)
    (left, top), (right, bottom) = (met.min(0), met.max(0)) if len(met) > 2 else ((0, 0), (0, 0))
    height, width = int(bottom - top), int(right - left)
    if not height or not width:
        return Patch(int(top), int(left), np.zeros((0, 0), bool))
    corners, rows = corners.clip(-1e9, 1e9), met[:, 1] - top
    following = np.roll(np.arange(len(corners)), -1)
    first, last = np.minimum(rows, rows[following]), np.maximum(rows, rows[following])
    counts = last - first
    if counts.sum() > _MOST_CROSSINGS:
        raise ValueError(f"a polygon whose outline crosses {counts.sum()} rows")
    crossings = np.zeros((height, width + 1), np.int32)
    for low, high in _batches(counts):
        part = counts[low:high]
        edge = np.repeat(np.arange(low, high), part)
        row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(part) - part, part)
        (x0, y0), (x1, y1) = corners[edge].T, corners[following[edge]].T
        x = x0 + (row + top + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        column = (np.ceil(x - 0.5).clip(0, size[1]).astype(np.int64) - left).clip(0, width)
        np.add.at(crossings, (row, column), 1)
    return Patch(int(top), int(left), np.cumsum(crossings[:, :-1], axis=1) % 2 == 1)


def runs(counts: Sequence[int] | np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mask `(height, width)` bool from run lengths down the columns, zeros first (COCO's uncompressed RLE).

    Raises:
        ValueError: The runs do not cover the picture exactly.

    Example:
        >>> runs([1, 2, 3], (2, 3)).astype(int).tolist()
        [[0, 1, 0], [1, 0, 0]]
    """
    height, width = size
    lengths = np.asarray(counts)
    if lengths.size and (lengths.ndim != 1 or lengths.dtype.kind not in "iu" or lengths.min() < 0):
        raise ValueError("run lengths are whole numbers of at least 0")
    if (lengths.size and lengths.max() > height * width) or lengths.sum(dtype=np.float64) != height * width:
        raise ValueError(f"runs of {lengths.sum(dtype=np.float64):.0f} pixels in a picture of {height * width}")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths.astype(np.int64)).reshape(width, height).T


def compressed_runs(text: str, size: tuple[int, int]) -> np.ndarray:
    """Mask from COCO's compressed RLE: five bits a letter, from the third run on the difference to the last but one.

    Example:
        >>> compressed_runs("123", (2, 3)).astype(int).tolist()
        [[0, 1, 0], [1, 0, 0]]
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise ValueError(f"the letter {letter!r} in run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("run lengths that are cut off")
    return runs(counts, size)


def cropped(mask: np.ndarray) -> Patch:
    """A whole picture's mask as a patch."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return Patch(0, 0, np.zeros((0, 0), bool))
    top, left = int(rows[0]), int(columns[0])
    return Patch(top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())


def paint(objects: Sequence[tuple[int, Callable[[], list[Patch]]]], size: tuple[int, int], ignore: int) -> np.ndarray:
    """Class ids `(height, width)` uint8 of objects painted from the largest to the smallest, ignored ones first.

    Args:
        objects: Class id, and what draws the object; it is called again where there are too many to keep.
        size: `(height, width)`.
        ignore: Class id of what is no class.
    """
    kept: dict[int, list[Patch]] = {}
    room, order = _KEPT_BYTES, []
    for number, (class_id, draw) in enumerate(objects):
        patches = draw()
        order.append((class_id != ignore, -sum(int(patch.pixels.sum()) for patch in patches), number))
        room -= sum(patch.pixels.nbytes for patch in patches)
        if room > 0:
            kept[number] = patches
    mask = np.zeros(size, np.uint8)
    for _, _, number in sorted(order):
        class_id, draw = objects[number]
        for patch in kept.get(number) or draw():
            mask[patch.where][patch.pixels] = class_id
    return mask


def _batches(counts: np.ndarray) -> list[tuple[int, int]]:
    """Runs of edges that together cross a bounded number of rows."""
    starts = np.flatnonzero(np.diff(np.cumsum(counts) // _CROSSINGS_AT_ONCE, prepend=0))
    return list(pairwise([0, *starts.tolist(), len(counts)]))
