"""How bright, how varied and how full the samples of each split are: one number each per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.evidence._batch_pairs import plane_of
from segnosis.doctor.evidence._mask_look import as_plane

PRICE = "data"
MEASURES = ("brightness", "contrast", "mask area")
_KEPT = 4096


@dataclass(frozen=True)
class SplitStatistics:
    """Numbers per independent unit.

    Attributes:
        units: `"group"` where samples come in groups (their mean is one number then), else `"image"`.
        values: Split → `(units, 3)`: mean of the pixels, their standard deviation, share of pixels that are not 0
            in the mask.
    """

    units: str
    values: Mapping[str, np.ndarray]


class Scan:
    """Keeps three numbers of a bounded number of groups per split."""

    def __init__(self, splits: Mapping[str, Sequence[str]] | None = None) -> None:
        self._split_of = {name: split for split, ids in (splits or {}).items() for name in ids}
        self._sums: dict[str, dict[str, np.ndarray]] = {}
        self._grouped = False

    def add(self, pair: Pair) -> None:
        """Measure one pair."""
        split = self._split_of.get(pair.id, pair.split)
        if not split or pair.image is None or pair.mask is None or pair.image.size == 0 or pair.mask.size == 0:
            return
        self._grouped |= pair.group != pair.id
        sums = self._sums.setdefault(split, {})
        if pair.group not in sums and len(sums) >= _KEPT:
            return
        plane, _ = as_plane(pair.mask)
        row = numbers(pair.image, plane if plane.ndim == 2 else plane_of(plane))
        if row is not None:
            sums[pair.group] = sums.get(pair.group, np.zeros(4)) + np.append(row, 1.0)

    def result(self) -> SplitStatistics:
        """The numbers of all pairs added."""
        values = {
            split: np.array([row[:3] / row[3] for row in sums.values()]) for split, sums in self._sums.items() if sums
        }
        return SplitStatistics("group" if self._grouped else "image", values)


def numbers(image: np.ndarray, plane: np.ndarray) -> np.ndarray | None:
    """Mean and deviation of an image's pixels, and the share of its mask that is not 0; `None` if one is no number."""
    pixels = image[::2, ::2].astype(np.float32)
    pixels = pixels[..., :3] if pixels.ndim == 3 and pixels.shape[-1] == 4 else pixels
    row = np.array([pixels.mean(), pixels.std(), float((plane != 0).mean())])
    return row if np.isfinite(row).all() else None
