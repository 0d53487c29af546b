"""How bright, how varied and how full the samples of each split are, and of which classes, in one number each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.evidence._mask_planes import as_plane, plane_of

PRICE = "data"
MEASURES = ("brightness", "contrast", "mask area", "tint")
_KEPT = 4096
_MOST_CLASSES = 16


@dataclass(frozen=True)
class SplitStatistics:
    """Numbers per independent unit.

    Attributes:
        units: `"group"` where samples come in groups (their mean is one number then), else `"image"`.
        values: Split → `(units, quantities)`.
        quantities: `MEASURES` (mean of the pixels, their standard deviation, share of pixels that are not 0 in the
            mask, how far the third channel lies above the first), and where a few classes share the masks the area of
            each.
    """

    units: str
    values: Mapping[str, np.ndarray]
    quantities: tuple[str, ...] = MEASURES


class Scan:
    """Keeps a few numbers of a bounded number of groups per split."""

    def __init__(self, splits: Mapping[str, Sequence[str]] | None = None) -> None:
        self._split_of = {name: split for split, ids in (splits or {}).items() for name in ids}
        self._sums: dict[str, dict[str, tuple[np.ndarray, Counter[float]]]] = {}
        self._grouped = False

    def add(self, pair: Pair) -> None:
        """Measure one pair."""
        split = self._split_of.get(pair.id, pair.split)
        if not split or pair.image is None or pair.mask is None or pair.image.size == 0 or pair.mask.size == 0:
            return
        self._grouped |= pair.group != pair.id
        groups = self._sums.setdefault(split, {})
        if pair.group not in groups and len(groups) >= _KEPT:
            return
        plane, _ = as_plane(pair.mask)
        row = numbers(pair.image, plane if plane.ndim == 2 else plane_of(plane))
        if row is not None:
            measures, areas = groups.setdefault(pair.group, (np.zeros(len(MEASURES) + 1), Counter()))
            measures += np.append(row[0], 1.0)
            areas.update(row[1])

    def result(self) -> SplitStatistics:
        """The numbers of all pairs added."""
        rows = {
            split: [
                (sums[:-1] / sums[-1], {value: area / sums[-1] for value, area in areas.items()})
                for sums, areas in groups.values()
            ]
            for split, groups in self._sums.items()
            if groups
        }
        values, quantities = tabulated(rows)
        return SplitStatistics("group" if self._grouped else "image", values, quantities)


Numbers = tuple[np.ndarray, Mapping[float, float]]
"""Of one sample: `MEASURES`, and value → share of its pixels, of values that are not 0."""


def numbers(image: np.ndarray, plane: np.ndarray) -> Numbers | None:
    """`MEASURES` of a sample, and the areas of its classes; `None` where one is no number."""
    pixels = image[::2, ::2].astype(np.float32)
    pixels = pixels[..., :3] if pixels.ndim == 3 and pixels.shape[-1] == 4 else pixels
    tint = float((pixels[..., 2] - pixels[..., 0]).mean()) if pixels.ndim == 3 and pixels.shape[-1] == 3 else 0.0
    row = np.array([pixels.mean(), pixels.std(), float((plane != 0).mean()), tint])
    if not np.isfinite(row).all():
        return None
    found, counts = np.unique(plane, return_counts=True)
    return row, {
        float(value): count / plane.size
        for value, count in zip(found[:_MOST_CLASSES], counts[:_MOST_CLASSES], strict=True)
        if value
    }


def tabulated(rows: Mapping[str, Sequence[Numbers]]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Split → `(units, quantities)`, and the names of the quantities.

    Example:
        >>> rows = {"train": [(np.ones(4), {1.0: 0.2}), (np.ones(4), {1.0: 0.4, 2.0: 0.1})]}
        >>> values, quantities = tabulated(rows)
        >>> quantities[4:], values["train"][:, 4:].tolist()
        (('area of class 1', 'area of class 2'), [[0.2, 0.0], [0.4, 0.1]])
    """
    classes = sorted({value for units in rows.values() for _, areas in units for value in areas})
    if not 1 < len(classes) < _MOST_CLASSES:
        classes = []  # one class is the mask itself, and so many are numbers or grey levels
    values = {
        split: np.array([[*row, *(areas.get(value, 0.0) for value in classes)] for row, areas in units])
        for split, units in rows.items()
    }
    return values, (*MEASURES, *(f"area of class {value:g}" for value in classes))
