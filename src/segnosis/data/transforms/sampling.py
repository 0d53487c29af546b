"""Reads image and mask through one coordinate map, once."""

from __future__ import annotations

import math
from typing import Any, Literal

import cv2
import numpy as np

from segnosis.data.transforms.base import Size
from segnosis.data.transforms.coordinate_map import CoordinateMap, invert, is_affine, project

Fill = float | Literal["mean", "reflect"]
Box = tuple[slice, slice]

_AREA_BELOW = 2 / 3  # at smaller scales linear interpolation skips source pixels: the image is averaged down first
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
    inverse = where.inverse()
    lattice = _lattice(where, inverse)
    if lattice is not None and (fill != "reflect" or lattice.covers):
        values = np.zeros(1) if lattice.covers else _fill_values(image, fill)
        return lattice.take(image, values), None if mask is None else lattice.take(mask, np.asarray(outside))

    points = where.points() if inverse is None else None
    edges = _edges_of(points) if points is not None else _edges(np.asarray(inverse), where.size)
    scale = _scale(where)
    margin = math.ceil(2 / min(scale)) + 1  # interpolation, also between averaged pixels, never meets the cut
    box, inside = _looked_at(edges, where.source, margin, whole=fill == "reflect")
    left, top = box[1].start, box[0].start
    region, shrink = _shrink(image[box], scale)
    look = _Look(where.size, inverse, points, (1.0, 1.0, left, top))
    look_image = look if shrink == (1.0, 1.0) else _Look(where.size, inverse, points, (*shrink, left, top))
    moved = look_image.at(region, mirrored=fill == "reflect")
    moved_mask = None if mask is None else look.at_nearest(mask[box], outside)
    if not inside and fill != "reflect":
        if mask is None or moved_mask is None or (mask == outside).any():
            ones = np.ones((box[0].stop - box[0].start, box[1].stop - box[1].start), np.uint8)
            exists = look.at_nearest(ones, 0)
        else:  # `outside` is no class of this mask, so the mask itself tells
            exists = (moved_mask != outside).astype(np.uint8)
        filled = _filled(moved.shape, _fill_values(image, fill), moved.dtype)
        moved = cv2.copyTo(moved, exists, filled).reshape(moved.shape)
    return moved, moved_mask


class _Lattice:
    """A map that only moves whole pixels: flips, quarter turns, crops. Exact, and ten times as fast."""

    def __init__(self, steps: np.ndarray, source: Size, size: Size) -> None:
        self.swapped = steps[0, 0] == 0
        rows, columns = (steps[0, [1, 2]], steps[1, [0, 2]]) if self.swapped else (steps[1, [1, 2]], steps[0, [0, 2]])
        lengths = source[::-1] if self.swapped else source
        self.size = size
        self.flips = bool(rows[0] < 0), bool(columns[0] < 0)
        self.to_rows, self.from_rows = self._range(int(rows[0]), int(rows[1]), lengths[0], size[0])
        self.to_columns, self.from_columns = self._range(int(columns[0]), int(columns[1]), lengths[1], size[1])
        self.covers = (self.to_rows, self.to_columns) == (slice(0, size[0]), slice(0, size[1]))

    @staticmethod
    def _range(sign: int, offset: int, length: int, count: int) -> tuple[slice, slice]:
        """Outputs k < `count` whose source exists, and those sources: `offset + k`, or mirrored `offset - 1 - k`."""
        low, high = (-offset, length - offset) if sign > 0 else (offset - length, offset)
        low, high = max(0, low), min(count, high)
        if high <= low:
            return slice(0, 0), slice(0, 0)
        return slice(low, high), slice(offset + low, offset + high) if sign > 0 else slice(offset - high, offset - low)

    def take(self, array: np.ndarray, values: np.ndarray) -> np.ndarray:
        """`array` `(height, width, …)` moved, `values` where there is none."""
        array = array.swapaxes(0, 1) if self.swapped else array
        moved = np.ascontiguousarray(array[self.from_rows, self.from_columns])
        if any(self.flips) and moved.size:  # OpenCV's flip has ten times the speed of a negative step
            code = -1 if all(self.flips) else int(self.flips[1])
            moved = cv2.flip(moved, code).reshape(moved.shape)
        if self.covers:
            return moved
        out = _filled((*self.size, *array.shape[2:]), values, array.dtype)
        out[self.to_rows, self.to_columns] = moved
        return out


def _lattice(where: CoordinateMap, inverse: np.ndarray | None) -> _Lattice | None:
    if inverse is None or _is_slanted(inverse):
        return None
    steps = np.rint(inverse).astype(int)
    if np.abs(inverse - steps).max() > 1e-6 or steps[2, :2].any():
        return None
    turn = abs(steps[:2, :2])
    if not (np.array_equal(turn, np.eye(2)) or np.array_equal(turn, np.eye(2)[::-1])):
        return None
    return _Lattice(steps[:2], where.source, where.size)


def _is_slanted(inverse: np.ndarray) -> bool:
    """Whether a map surely does not move whole pixels, told by one number; most maps are told so."""
    first = float(inverse[0, 0])
    return abs(first - round(first)) > 1e-6


class _Look:
    """The map onto one array, a part of the source.

    Args:
        size: Height and width of what is looked at.
        inverse: Homography from there to the source, or `None`.
        points: The places themselves, where the map is more than a homography.
        place: `(x, y, left, top)`: the array shows the source from `(left, top)` on, at `x` and `y` times its scale.
    """

    def __init__(
        self,
        size: Size,
        inverse: np.ndarray | None,
        points: np.ndarray | None,
        place: tuple[float, float, float, float],
    ) -> None:
        self.size = size
        x, y, left, top = place
        self.map = self.matrix = None
        # OpenCV counts from pixel centres: half a pixel less here, half a pixel more there.
        if points is not None:
            self.map = project(np.array([[x, 0, -x * left - 0.5], [0, y, -y * top - 0.5], [0.0, 0.0, 1.0]]), points)
        elif inverse is not None and is_affine(inverse):
            (a, b, c), (d, e, f) = inverse[:2].tolist()
            c, f = c + (a + b) / 2 - left, f + (d + e) / 2 - top
            self.matrix = np.array([[x * a, x * b, x * c - 0.5], [y * d, y * e, y * f - 0.5], [0.0, 0.0, 1.0]])
        elif inverse is not None:
            to_array = np.array([[x, 0, -x * left - 0.5], [0, y, -y * top - 0.5], [0.0, 0.0, 1.0]])
            self.matrix = to_array @ inverse @ _shift(0.5, 0.5)

    def at(self, array: np.ndarray, *, mirrored: bool) -> np.ndarray:
        """What is seen of `array` `(height, width, channels)`, by linear interpolation.

        Up to the edge of the image its edge pixel is repeated: blending it with the fill would falsify its outer half.
        Farther out the values mean nothing, unless `mirrored`.
        """
        parts = []
        for k in range(0, array.shape[2], 4):  # OpenCV's borders know four channels at a time
            part = array[..., k : k + 4]
            three = part.shape[2] == 3
            if three:  # a fourth channel, idle: OpenCV moves four in half the time of three, to the same bits
                part = cv2.cvtColor(part, cv2.COLOR_BGR2BGRA)
            if mirrored:
                seen = self._at(np.ascontiguousarray(part), 0, cv2.BORDER_REFLECT, cv2.INTER_LINEAR, 0)
            else:
                # A frame of one repeated pixel, nothing behind it: 0.6 of the time of OpenCV's repeating border.
                framed = cv2.copyMakeBorder(part, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
                seen = self._at(framed, 1, cv2.BORDER_CONSTANT, cv2.INTER_LINEAR, 0)
            parts.append(cv2.cvtColor(seen, cv2.COLOR_BGRA2BGR) if three else seen)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def at_nearest(self, mask: np.ndarray, outside: int) -> np.ndarray:
        """The nearest pixel of `mask` `(height, width)`, uint8 or int32; `outside` where there is none."""
        if max(mask.shape) > _OPENCV_LIMIT:
            return self._gather(mask, outside)
        # OpenCV does not warp int32; float32 holds every class id below 2²⁴ exactly, and nearest does no arithmetic.
        source = np.ascontiguousarray(mask if mask.dtype == np.uint8 else mask.astype(np.float32))
        seen = self._at(source, 0, cv2.BORDER_CONSTANT, cv2.INTER_NEAREST, outside)
        return seen[..., 0].astype(mask.dtype, copy=False)

    def _at(self, part: np.ndarray, frame: int, border: int, flag: int, value: float) -> np.ndarray:
        """What is seen of an array that lies within a frame of so many pixels."""
        height, width = self.size
        how: dict[str, Any] = {"borderMode": border, "borderValue": (value,) * 4}
        if self.map is not None:
            where = self.map + np.float32(frame) if frame else self.map
            seen = cv2.remap(part, where, None, flag, **how)  # type: ignore[call-overload]  # one map of (x, y) is all
        else:
            matrix = np.asarray(self.matrix)
            if is_affine(matrix):
                warp, matrix = cv2.warpAffine, np.add(matrix[:2], (0.0, 0.0, frame))
            else:
                warp, matrix = cv2.warpPerspective, _shift(frame, frame) @ matrix
            seen = warp(part, matrix, (width, height), flags=flag | cv2.WARP_INVERSE_MAP, **how)
        return seen.reshape(height, width, -1)

    def _gather(self, mask: np.ndarray, outside: int) -> np.ndarray:
        rows, columns = np.mgrid[: self.size[0], : self.size[1]]
        centres = np.stack([columns, rows], axis=-1).astype(np.float64)
        at = self.map if self.matrix is None else project(self.matrix, centres)
        column, row = np.moveaxis(np.floor(np.asarray(at) + 0.5).astype(np.int64), -1, 0)
        exists = (row >= 0) & (row < mask.shape[0]) & (column >= 0) & (column < mask.shape[1])
        out = np.full(self.size, outside, mask.dtype)
        out[exists] = mask[row[exists], column[exists]]
        return out


def _filled(shape: tuple[int, ...], values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array of `values` everywhere, written row by row: ten times the speed of pixel by pixel."""
    out = np.empty(shape, dtype)
    row = np.empty(shape[1:], dtype)
    row[...] = values
    out[...] = row
    return out


def _integer(mask: np.ndarray, outside: int) -> np.ndarray:
    """Mask as uint8 where that holds all its values and `outside`, otherwise as int32."""
    fits = mask.dtype in (np.uint8, np.bool_) and 0 <= outside <= 255
    return mask.astype(np.uint8 if fits else np.int32, copy=False)


def _fill_values(image: np.ndarray, fill: Fill) -> np.ndarray:
    if fill == "mean":
        parts = [np.ascontiguousarray(image[..., first : first + 4]) for first in range(0, image.shape[2], 4)]
        values = np.concatenate([cv2.mean(part)[: part.shape[2]] for part in parts])  # cv2.mean: 10 × numpy's speed
        return np.rint(values).astype(np.uint8) if image.dtype == np.uint8 else values.astype(np.float32)
    return np.asarray(np.clip(fill, 0, 255) if image.dtype == np.uint8 else fill, image.dtype)


Edges = tuple[float, float, float, float]


def _edges(inverse: np.ndarray, size: Size) -> Edges:
    """Left, top, right and bottom of what a canvas of `size` sees through a homography, in the source."""
    height, width = size
    if not is_affine(inverse):
        return _edges_of(project(inverse, np.array([[0.0, 0], [width, 0], [0, height], [width, height]])))
    (a, b, x), (c, d, y) = inverse[:2].tolist()
    across, down = (x, x + a * width, x + b * height, x + a * width + b * height), (
        y, y + c * width, y + d * height, y + c * width + d * height,
    )  # fmt: skip
    return min(across), min(down), max(across), max(down)


def _edges_of(points: np.ndarray) -> Edges:
    flat = points.reshape(-1, 2)
    (left, top), (right, bottom) = (cv2.reduce(flat, 0, how)[0] for how in (cv2.REDUCE_MIN, cv2.REDUCE_MAX))
    return float(left), float(top), float(right), float(bottom)


def _scale(where: CoordinateMap) -> tuple[float, float]:
    """Output pixels per source pixel along source `(x, y)`, in the middle of the picture."""
    if is_affine(where.forward):
        (a, b), (c, d) = where.forward[:2, :2].tolist()
        return math.hypot(a, c), math.hypot(b, d)
    height, width = where.size
    middle = project(invert(where.forward), np.array([[width / 2, height / 2]]))[0]
    near = project(where.forward, middle + np.array([[0, 0], [1, 0], [0, 1]]))
    across, down = np.hypot(*(near[1:] - near[0]).T)
    return float(across), float(down)


def _looked_at(edges: Edges, source: Size, margin: int, whole: bool) -> tuple[Box, bool]:
    """The part of the source within `edges`, with a margin, and whether they lie in the source."""
    left, top, right, bottom = edges
    height, width = source
    inside = bool(left >= 0 and top >= 0 and right <= width and bottom <= height)
    if whole and not inside:
        return (slice(0, height), slice(0, width)), inside
    rows, columns = _cut(top, bottom, height, margin), _cut(left, right, width, margin)
    return (rows, columns), inside


def _cut(low: float, high: float, length: int, margin: int) -> slice:
    start = min(max(math.floor(low) - margin, 0), length - 1)
    return slice(start, max(min(math.ceil(high) + margin, length), start + 1))


def _shrink(region: np.ndarray, scale: tuple[float, float]) -> tuple[np.ndarray, tuple[float, float]]:
    """Region averaged down to about the output's resolution, and by how much in x and y; or as it is."""
    height, width = region.shape[:2]
    new_width, new_height = (
        max(1, round(length * factor)) if factor < _AREA_BELOW else length
        for length, factor in zip((width, height), scale, strict=True)
    )
    if (new_height, new_width) == (height, width):
        return region, (1.0, 1.0)
    return resize(region, (new_height, new_width), cv2.INTER_AREA), (new_width / width, new_height / height)


def resize(image: np.ndarray, size: Size, interpolation: int) -> np.ndarray:
    """`cv2.resize` to `(height, width)` for any number of channels; OpenCV's own takes four."""
    parts = (np.ascontiguousarray(image[..., k : k + 4]) for k in range(0, image.shape[2], 4))
    resized = [cv2.resize(part, size[::-1], interpolation=interpolation).reshape(*size, -1) for part in parts]
    return resized[0] if len(resized) == 1 else np.concatenate(resized, axis=-1)


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])
