"""What stored mask values mean: the scheme of classes inferred from a census of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np

from segnosis.core.errors import ArgumentError, DataError
from segnosis.data.census import IGNORE, Census, Counts, plane_of

_MOST_CLASSES = 254
_VOC_VOID = 0xE0E0C0
_VOID_NAMES = {"void", "ignore", "ignored", "don't care", "dontcare", "dont_care"}


@dataclass(frozen=True)
class LabelScheme:
    """Stored value → class id.

    Attributes:
        values: Every value with a meaning; colours are `red << 16 | green << 8 | blue`.
        class_names: Name per class id.
        ignore_class: Class id of ignored pixels, or `None` when no stored value is one.
        colour: Whether masks are stored as colours.
        nearest: Whether values between the known ones are read as the nearest (JPEG and interpolated masks).
        says: What was concluded from what, half a sentence.
    """

    values: Mapping[int, int]
    class_names: tuple[str, ...]
    ignore_class: int | None = None
    colour: bool = False
    nearest: bool = False
    says: str = ""

    def decode(self, mask: np.ndarray) -> np.ndarray:
        """Class ids `(height, width)` uint8; a value without meaning becomes `IGNORE`.

        Raises:
            ValueError: The mask is a colour picture where the data set's masks are not.
        """
        plane, colour = plane_of(mask)
        if colour and not self.colour:
            raise ValueError("the mask is a colour picture, the others hold one value per pixel")
        if self.colour and not colour:
            plane = plane.astype(np.int64) * 0x010101
        if plane.dtype.kind == "f":
            plane = np.rint(np.nan_to_num(plane, nan=-1e6, posinf=1e6, neginf=-1e6)).astype(np.int64)
        if plane.dtype == np.uint8 and plane.size:
            return cv2.LUT(np.ascontiguousarray(plane), self._table).reshape(plane.shape)
        keys, ids = self._keys
        if self.colour and self.nearest:
            distinct, inverse = np.unique(plane, return_inverse=True)
            return _nearest_colour(distinct, keys, ids)[inverse].reshape(plane.shape)
        return _look_up(plane, keys, ids, nearest=self.nearest)

    @cached_property
    def _keys(self) -> tuple[np.ndarray, np.ndarray]:
        """Stored values in order, and their class ids."""
        keys = np.array(sorted(self.values), dtype=np.int64)
        return keys, np.array([self.values[int(key)] for key in keys], dtype=np.uint8)

    @cached_property
    def _table(self) -> np.ndarray:
        """Class id of each value of a byte."""
        return _look_up(np.arange(256), *self._keys, nearest=self.nearest)


def infer(
    census: Census,
    *,
    class_names: Sequence[str] | None = None,
    ignore_value: int | None = None,
    names_by_value: Mapping[int, str] | None = None,
    ignore_told: bool = False,
) -> LabelScheme:
    """The scheme that explains the census.

    Args:
        census: Values of the masks.
        class_names: Names by class id, background first, when the user or the layout tells them.
        ignore_value: Stored value that is no class; where not `ignore_told`, 255 is also found by itself.
        names_by_value: Names by stored value or packed colour, from a file beside the data.
        ignore_told: Whether the user named `ignore_value`.
    """
    colour, counts = census.main
    present = dict(counts.pixels)
    ignored = {value for value in present if value == ignore_value or (value < 0 and not ignore_told)}
    rest = {value: number for value, number in present.items() if value not in ignored}
    said, nearest, merged = "", False, False
    named = dict(names_by_value or {})
    if ignore_value is None and not ignore_told:
        voids = {value for value, name in named.items() if name.lower() in _VOID_NAMES}
        ignored |= voids & set(rest)
        rest = {value: number for value, number in rest.items() if value not in voids}
        named = {value: name for value, name in named.items() if value not in voids}
    if colour:
        if not ignored and not ignore_told and _VOC_VOID in rest and _voc_colours(rest):
            ignored.add(_VOC_VOID)
            rest.pop(_VOC_VOID)
        levels, nearest = _colours(rest, named)
        said = f"{len(levels)} colours"
    elif class_names and _are_ids(rest, len(class_names)):
        levels, said = list(range(len(class_names))), "values are class ids"
    elif (_instances(counts, rest)) and not class_names:
        levels, merged, said = sorted(rest), True, f"values 1 to {max(rest)} number objects, all of one class"
    else:
        levels, nearest = _levels(
            counts, rest, lossy=any(lossy and c is counts for (_, lossy), c in census.kinds.items())
        )
        if ignore_value is None and not ignore_told and IGNORE in levels and _is_void(levels):
            levels.remove(IGNORE)
            ignored.add(IGNORE)
        if not nearest:
            levels = _without_strays(levels, counts)
        said = f"values {_brief(levels)}" + (", those between are read as the nearest" if nearest else "")
    if not colour and not merged and class_names is None and named and all(0 <= key <= IGNORE for key in named):
        levels = sorted(set(levels) | {value for value in named if value not in ignored})
    if ignored:
        said += f"; {', '.join(_show(value, colour) for value in sorted(ignored))} is ignored"
    values = {value: 1 if merged and value else i for i, value in enumerate(levels)}
    names = _names(levels, class_names, named, colour=colour, merged=merged)
    values |= dict.fromkeys(ignored, IGNORE)
    return LabelScheme(values, names, IGNORE if ignored else None, colour, nearest, said)


def _names(
    levels: Sequence[int], told: Sequence[str] | None, named: Mapping[int, str], *, colour: bool, merged: bool
) -> tuple[str, ...]:
    number = 2 if merged else len(levels)
    if told:
        names = tuple(told)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ArgumentError(
                "Every class has a name of its own: scores are told by it.",
                received={"class_names": names, "named twice": ", ".join(twice)},
                cure="Give each another name.",
            )
        if len(names) == number:
            return names
        raise ArgumentError(
            "`class_names` names every class of the masks, background first.",
            received={"class_names": names, "values in the masks": [_show(value, colour) for value in levels]},
            cure=f"Pass {number} names, or `ignore_class` for a value that is no class.",
        )
    if number > _MOST_CLASSES:
        raise ArgumentError(
            f"Masks hold at most {_MOST_CLASSES} classes.",
            received={"distinct values": number, "first": [_show(value, colour) for value in levels[:6]]},
            cure="These look like pictures or object numbers: save masks of class ids as PNG.",
        )
    if merged or (number == 2 and levels[0] == 0 and not named):
        return ("background", "foreground")
    names = tuple(
        named.get(value) or ("background" if value == 0 else _show(value, colour) if colour else f"class {value}")
        for value in levels
    )
    return names or ("background",)


def _are_ids(pixels: Mapping[int, int], number: int) -> bool:
    """Whether nearly all pixels are ids below `number`; a slip elsewhere is for the checks to tell."""
    inside = {value: count for value, count in pixels.items() if 0 <= value < number}
    if len(inside) == len(pixels):
        return True
    return len(inside) >= 2 and sum(inside.values()) > 0.99 * sum(pixels.values())


def _levels(counts: Counts, pixels: Mapping[int, int], *, lossy: bool) -> tuple[list[int], bool]:
    """Values that are classes; `True` when the others are fuzz around them (JPEG, interpolation).

    Fuzz is told by three things together: each file holds many more values than there are peaks, the peaks are far
    apart, and nearly all pixels lie at one of them.
    """
    values = sorted(pixels)
    if len(values) <= 2:
        return values, lossy and len(values) == 2 and values[1] - values[0] > 16
    total, usual = sum(pixels.values()), float(np.median(list(pixels.values())))
    peaks: list[int] = []
    for value, number in sorted(pixels.items(), key=lambda item: (-item[1], item[0])):
        if number < max(0.005 * total, 4 * usual):
            break
        if all(abs(value - peak) > 12 for peak in peaks):
            peaks.append(value)
    if len(peaks) < 2 or max(peaks) - min(peaks) < 64:
        return values, False
    near = sum(number for value, number in pixels.items() if min(abs(value - peak) for peak in peaks) <= 12)
    if counts.distinct / max(counts.mixed, 1) > max(8, 3 * len(peaks)) and near >= 0.85 * total:
        return sorted({0 if peak <= 12 else 255 if peak >= 243 else peak for peak in peaks}), True
    return values, False


def _instances(counts: Counts, pixels: Mapping[int, int]) -> bool:
    """Whether values number objects: 1, 2, 3, … without gap, each in fewer images than the one before."""
    values = sorted(value for value in pixels if value)
    if len(values) < 30 or values != list(range(1, len(values) + 1)) or counts.files < 2:
        return False
    images = [counts.images[value] for value in values]
    return images[0] >= 0.8 * counts.files and images[-1] < images[0] and all(a >= b for a, b in pairwise(images))


def _is_void(levels: Sequence[int]) -> bool:
    """Whether 255 stands apart from class ids counted up from 0, so that it is the customary "no class"."""
    others = [value for value in levels if value != IGNORE]
    return len(others) >= 2 and max(others) < IGNORE - 1 and (max(others) < 64 or 2 * len(others) > max(others))


def _without_strays(levels: list[int], counts: Counts) -> list[int]:
    """Drop a value outside the dense run that only a vanishing part of one file in hundred holds: a slip, no class."""
    total = sum(counts.pixels.values())
    common = [v for v in levels if counts.images[v] > max(1, 0.01 * counts.files) or counts.pixels[v] > 1e-3 * total]
    if counts.files < 10 or not common:
        return levels
    top, kept = max(common), list[int]()
    for value in levels:
        if value <= top or (kept and value == kept[-1] + 1):
            kept.append(value)
    return kept


def _colours(pixels: Mapping[int, int], named: Mapping[int, str]) -> tuple[list[int], bool]:
    """Colours that are classes: the named ones, or those that together hold nearly all pixels."""
    if sum(number for value, number in pixels.items() if value in named) > 0.5 * sum(pixels.values()):
        return sorted(named, key=lambda value: value != 0), len(set(pixels) - set(named)) > 0
    total, kept, covered = sum(pixels.values()), list[int](), 0
    for value, number in sorted(pixels.items(), key=lambda item: (-item[1], item[0])):
        if len(pixels) > 40 and (covered >= 0.98 * total or number < 5e-4 * total):
            break
        if len(pixels) <= 40 or all(_apart(value, other) > 24 for other in kept):
            kept.append(value)
        covered += number
    return sorted(kept), len(kept) < len(pixels)


def _voc_colours(pixels: Mapping[int, int]) -> bool:
    return all(all(channel % 32 == 0 for channel in (v >> 16, v >> 8 & 255, v & 255)) for v in pixels)


def _apart(a: int, b: int) -> int:
    return max(abs((a >> shift & 255) - (b >> shift & 255)) for shift in (16, 8, 0))


def _look_up(plane: np.ndarray, keys: np.ndarray, ids: np.ndarray, *, nearest: bool) -> np.ndarray:
    if len(keys) == 0:
        return np.full(plane.shape, IGNORE, np.uint8)
    at = np.clip(np.searchsorted(keys, plane), 0, len(keys) - 1)
    if nearest:
        below = np.clip(at - 1, 0, None)
        at = np.where(np.abs(keys[below] - plane) < np.abs(keys[at] - plane), below, at)
        return ids[at]
    return np.where(keys[at] == plane, ids[at], IGNORE).astype(np.uint8)


def _nearest_colour(colours: np.ndarray, keys: np.ndarray, ids: np.ndarray) -> np.ndarray:
    split = np.array([16, 8, 0])
    points, centres = (colours[:, None] >> split & 255), (keys[:, None] >> split & 255)
    out = np.empty(len(points), np.uint8)
    for start in range(0, len(points), 4096):
        part = points[start : start + 4096]
        out[start : start + 4096] = ids[((part[:, None] - centres[None]) ** 2).sum(-1).argmin(1)]
    return out


def _show(value: int, colour: bool) -> str:
    return f"#{value:06x}" if colour and value >= 0 else str(value)


def _brief(levels: Sequence[int]) -> str:
    if len(levels) > 4 and list(levels) == list(range(levels[0], levels[-1] + 1)):
        return f"{levels[0]} to {levels[-1]}"
    shown = ", ".join(map(str, levels[:12]))
    return shown + (f", … ({len(levels)} in all)" if len(levels) > 12 else "")


def unreadable(file: object, problem: str) -> DataError:
    """The error of a mask that the scheme cannot read."""
    return DataError(
        "All masks of a data set are stored in one way.",
        file=str(file),
        received={"problem": problem},
        cure="Save it as the others are; `segnosis check` names every such file.",
    )
