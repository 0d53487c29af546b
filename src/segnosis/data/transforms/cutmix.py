"""Paste a window of one sample into another, with its mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Mixing


@dataclass(frozen=True)
class Cutmix(Mixing):
    """In each sample, replace a random rectangle, image and mask, by the same rectangle of the sample before it.

    Class ids stay whole numbers: nothing is averaged, so every loss can be used.

    Args:
        largest: Largest share of the area that is replaced.

    Reference:
        Yun et al., "CutMix", ICCV 2019; for segmentation French et al., "Semi-supervised semantic segmentation needs
        strong, varied perturbations", BMVC 2020.
    """

    largest: float = 0.5

    neutral: ClassVar[Mapping[str, float] | None] = {"largest": 0.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.largest <= 1, "A share of the area lies between 0 and 1.", "Pass Cutmix(0.5).")

    def mix(self, rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The batch with one rectangle a sample replaced."""
        mixed_x, mixed_y = x.copy(), y.copy()
        height, width = y.shape[1:3]
        for k in range(len(x)):
            side = np.sqrt(rng.uniform(0, self.largest))
            rows, columns = round(height * side), round(width * side)
            top, left = rng.integers(height - rows, endpoint=True), rng.integers(width - columns, endpoint=True)
            window = (slice(top, top + rows), slice(left, left + columns))
            mixed_x[k][window] = x[k - 1][window]
            mixed_y[k][window] = y[k - 1][window]
        return mixed_x, mixed_y
