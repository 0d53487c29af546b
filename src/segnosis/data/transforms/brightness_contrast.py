"""Brighten or darken, and stretch or flatten the contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Intensity, Photometric


@dataclass(frozen=True)
class BrightnessContrast(Photometric):
    """Multiply the distance to the mean by a contrast factor, then add a brightness step.

    Args:
        brightness: Largest step either way, as a share of the image's own range of values.
        contrast: Largest change of the factor either way: 0.25 draws it from 0.75–1.25.
    """

    brightness: float = 0.15
    contrast: float = 0.25

    neutral: ClassVar[Mapping[str, float] | None] = {"brightness": 0.0, "contrast": 0.0}

    pointwise: ClassVar[bool] = True

    def pixels(self, rng: np.random.Generator, image: np.ndarray, intensity: Intensity) -> np.ndarray:
        """factor · (image − mean) + mean + step."""
        factor = 1 + rng.uniform(-self.contrast, self.contrast)
        step = rng.uniform(-self.brightness, self.brightness) * intensity.span
        return image * np.float32(factor) + np.float32(intensity.mean * (1 - factor) + step)
