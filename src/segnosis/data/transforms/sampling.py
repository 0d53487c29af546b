"""Reads image and mask through one coordinate map, once."""

from __future__ import annotations

import math
from typing import Any, Literal

import cv2
import numpy as np

from segnosis.data.transforms.base import Size
from segnosis.data.transforms.coordinate_map import CoordinateMap, project

Fill = float | Literal["mean", "reflect"]
Box = tuple[slice, slice]

_AREA_BELOW = 0.75  # at smaller scales output pixels skip source pixels: the image is averaged down first
_OPENCV_LIMIT = 32_000  # its warps count pixels in 16 bits


def sample(
    where: CoordinateMap, image: np.ndarray, mask: np.ndarray | None, *, fill: Fill = "mean", outside: int = 255
) -> tuple[np.ndarray, np.ndarray | None]:
    """Image and mask as the map shows them.

    The image is interpolated linearly, and averaged where the map shrinks it; the mask takes the nearest pixel. A pixel
    is outside when its nearest source pixel does not exist: the mask says `outside` there and the image `fill`.

    Args:
        where: The map; its `source` is the size of `image`.
        image: `(height, width, channels)`, any real dtype, any number of channels.
        mask: `(height, width)` class ids, bool or any integer dtype, absolute values below 2²⁴; or `None`.
        fill: Image outside: a value, `"mean"` (each channel's mean: what zero padding is to a network that standardises
            its input) or `"reflect"` (mirrored at the edge; the mask is `outside` all the same).
        outside: Class id outside.

    Returns:
        Image in its own dtype if that is uint8, otherwise float32; mask uint8 or int32.

    Example:
        >>> where = CoordinateMap((2, 3))
        >>> where.then(np.diag([1.0, 1, 1]) + [[0, 0, 1], [0, 0, 0], [0, 0, 0]])     # one pixel to the right
        >>> image, mask = sample(where, np.full((2, 3, 1), 7, np.uint8), np.ones((2, 3), np.uint8), fill=0)
        >>> mask.tolist(), image[..., 0].tolist()
        ([[255, 1, 1], [255, 1, 1]], [[0, 7, 7], [0, 7, 7]])
    """
    image = image if image.dtype == np.uint8 else image.astype(np.float32, copy=False)
    mask = None if mask is None else _integer(mask, outside)
    lattice = _lattice(where)
    if lattice is not None and (fill != "reflect" or lattice.covers):
        values = np.zeros(1) if lattice.covers else _fill_values(image, fill)
        return lattice.take(image, values), None if mask is None else lattice.take(mask, np.asarray(outside))

    points = where.points() if where.inverse is None else None
    scale = _scale(where)
    box, inside = _looked_at(where, points, margin=math.ceil(2 / min(scale)) + 1, whole=fill == "reflect")
    to_box = _shift(-box[1].start, -box[0].start)
    region, shrink = _shrink(image[box], scale)
    moved = _warp(region, where, points, shrink @ to_box, cv2.BORDER_REFLECT if fill == "reflect" else None)
    moved_mask = None if mask is None else _warp_mask(mask[box], where, points, to_box, outside)
    if not inside and fill != "reflect":
        ones = np.ones((box[0].stop - box[0].start, box[1].stop - box[1].start), np.uint8)
        moved[_warp_mask(ones, where, points, to_box, 0) == 0] = _fill_values(image, fill)
    return moved, moved_mask


class _Lattice:
    """A map that only moves whole pixels: flips, quarter turns, crops. Exact, and ten times as fast."""

    def __init__(self, steps: np.ndarray, source: Size, size: Size) -> None:
        self.swapped = steps[0, 0] == 0
        rows, columns = (steps[0, [1, 2]], steps[1, [0, 2]]) if self.swapped else (steps[1, [1, 2]], steps[0, [0, 2]])
        lengths = source[::-1] if self.swapped else source
        self.size = size
        self.to_rows, self.from_rows = self._range(int(rows[0]), int(rows[1]), lengths[0], size[0])
        self.to_columns, self.from_columns = self._range(int(columns[0]), int(columns[1]), lengths[1], size[1])
        self.covers = (self.to_rows, self.to_columns) == (slice(0, size[0]), slice(0, size[1]))

    @staticmethod
    def _range(sign: int, offset: int, length: int, count: int) -> tuple[slice, slice]:
        """Outputs k < `count` whose source exists, and those sources: `offset + k`, or `offset - 1 - k` mirrored."""
        low, high = (-offset, length - offset) if sign > 0 else (offset - length, offset)
        low, high = max(0, low), min(count, high)
        if high <= low:
            return slice(0, 0), slice(0, 0)
        first, last = (offset + low, offset + high - 1) if sign > 0 else (offset - 1 - low, offset - high)
        stop = last + sign
        return slice(low, high), slice(first, stop if stop >= 0 else None, sign)

    def take(self, array: np.ndarray, values: np.ndarray) -> np.ndarray:
        """`array` `(height, width, …)` moved, `values` where there is none."""
        array = array.swapaxes(0, 1) if self.swapped else array
        moved = array[self.from_rows, self.from_columns]
        if self.covers:
            return np.ascontiguousarray(moved)
        out = np.empty((*self.size, *array.shape[2:]), array.dtype)
        out[...] = values
        out[self.to_rows, self.to_columns] = moved
        return out


def _lattice(where: CoordinateMap) -> _Lattice | None:
    if where.inverse is None:
        return None
    steps = np.rint(where.inverse).astype(int)
    if np.abs(where.inverse - steps).max() > 1e-6 or abs(steps[2, :2]).any():
        return None
    turn = abs(steps[:2, :2])
    if not (np.array_equal(turn, np.eye(2)) or np.array_equal(turn, np.eye(2)[::-1])):
        return None
    return _Lattice(steps[:2], where.source, where.size)


def _integer(mask: np.ndarray, outside: int) -> np.ndarray:
    """Mask as uint8 where that holds all its values and `outside`, otherwise as int32."""
    fits = mask.dtype in (np.uint8, np.bool_) and 0 <= outside <= 255
    return mask.astype(np.uint8 if fits else np.int32, copy=False)


def _fill_values(image: np.ndarray, fill: Fill) -> np.ndarray:
    if fill == "mean":
        parts = [np.ascontiguousarray(image[..., first : first + 4]) for first in range(0, image.shape[2], 4)]
        values = np.concatenate([cv2.mean(part)[: part.shape[2]] for part in parts])  # cv2.mean: 10 × numpy's speed
        return np.rint(values).astype(np.uint8) if image.dtype == np.uint8 else values.astype(np.float32)
    return np.asarray(fill, image.dtype)


def _scale(where: CoordinateMap) -> tuple[float, float]:
    """Output pixels per source pixel along source `(x, y)`, in the middle of the picture."""
    there = np.linalg.inv(where.forward)
    height, width = where.size
    middle = project(there, np.array([[width / 2, height / 2]]))[0]
    near = project(where.forward, middle + np.array([[0, 0], [1, 0], [0, 1]]))
    across, down = np.hypot(*(near[1:] - near[0]).T)
    return float(across), float(down)


def _looked_at(where: CoordinateMap, points: np.ndarray | None, margin: int, whole: bool) -> tuple[Box, bool]:
    """The part of the source that the output looks at, with a margin, and whether the output stays in the source."""
    if where.inverse is not None:  # the corners tell
        height, width = where.size
        points = project(where.inverse, np.array([[0.0, 0], [width, 0], [0, height], [width, height]]))
    flat = np.reshape(points, (-1, 2))  # type: ignore[arg-type]  # points are given when a homography is not
    (left, top), (right, bottom) = flat.min(axis=0), flat.max(axis=0)
    height, width = where.source
    inside = bool(left >= 0 and top >= 0 and right <= width and bottom <= height)
    if whole and not inside:
        return (slice(0, height), slice(0, width)), inside
    rows, columns = _cut(top, bottom, height, margin), _cut(left, right, width, margin)
    return (rows, columns), inside


def _cut(low: float, high: float, length: int, margin: int) -> slice:
    start = min(max(math.floor(low) - margin, 0), length - 1)
    return slice(start, max(min(math.ceil(high) + margin, length), start + 1))


def _shrink(region: np.ndarray, scale: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Region averaged down to about the output's resolution, and the homography from it to that; or as it is."""
    height, width = region.shape[:2]
    new_width, new_height = (
        max(1, round(length * factor)) if factor < _AREA_BELOW else length
        for length, factor in zip((width, height), scale, strict=True)
    )
    if (new_height, new_width) == (height, width):
        return region, np.eye(3)
    small = cv2.resize(np.ascontiguousarray(region), (new_width, new_height), interpolation=cv2.INTER_AREA)
    return small.reshape(new_height, new_width, -1), np.diag([new_width / width, new_height / height, 1.0])


def _warp_mask(
    mask: np.ndarray, where: CoordinateMap, points: np.ndarray | None, to_mask: np.ndarray, outside: int
) -> np.ndarray:
    if max(mask.shape) > _OPENCV_LIMIT:
        return _gather(mask, project(to_mask, where.points()), outside)
    # OpenCV does not warp int32; float32 holds every class id below 2²⁴ exactly, and nearest does no arithmetic.
    source = mask if mask.dtype == np.uint8 else mask.astype(np.float32)
    moved = _warp(source[..., None], where, points, to_mask, cv2.BORDER_CONSTANT, nearest=True, value=outside)[..., 0]
    return moved if mask.dtype == np.uint8 else moved.astype(np.int32)


def _gather(mask: np.ndarray, points: np.ndarray, outside: int) -> np.ndarray:
    column, row = np.moveaxis(np.floor(points).astype(np.int64), -1, 0)
    exists = (row >= 0) & (row < mask.shape[0]) & (column >= 0) & (column < mask.shape[1])
    out = np.full(points.shape[:2], outside, mask.dtype)
    out[exists] = mask[row[exists], column[exists]]
    return out


def _warp(
    image: np.ndarray,
    where: CoordinateMap,
    points: np.ndarray | None,
    to_image: np.ndarray,
    border: int | None,
    *,
    nearest: bool = False,
    value: float = 0,
) -> np.ndarray:
    """`image` `(height, width, channels)` read at the map's points carried over by `to_image`, four channels at a time.

    The edge pixel is repeated outward unless `border` says otherwise: a pixel whose centre is in the image, but less
    than half a pixel from its edge, must not be blended with the fill.
    """
    how: dict[str, Any] = {
        "borderMode": cv2.BORDER_REPLICATE if border is None else border,
        "borderValue": (value,) * 4,
    }
    flag = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    height, width = where.size
    if points is not None:
        at = project(to_image, points) - np.float32(0.5)  # OpenCV counts from pixel centres
    else:
        matrix = _shift(-0.5, -0.5) @ to_image @ where.inverse @ _shift(0.5, 0.5)
    out = np.empty((height, width, image.shape[2]), image.dtype)
    for first in range(0, image.shape[2], 4):
        part = np.ascontiguousarray(image[..., first : first + 4])
        if points is not None:
            moved = cv2.remap(part, at, None, flag, **how)  # type: ignore[call-overload]  # one map of (x, y) is all
        elif np.any(matrix[2] != (0, 0, 1)):
            moved = cv2.warpPerspective(part, matrix, (width, height), flags=flag | cv2.WARP_INVERSE_MAP, **how)
        else:
            moved = cv2.warpAffine(part, matrix[:2], (width, height), flags=flag | cv2.WARP_INVERSE_MAP, **how)
        out[..., first : first + 4] = moved.reshape(height, width, -1)
    return out


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])
