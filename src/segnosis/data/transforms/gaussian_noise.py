"""Add noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Intensity, Photometric


@dataclass(frozen=True)
class GaussianNoise(Photometric):
    """Add normal noise of a strength drawn evenly up to `strength`.

    Args:
        strength: Largest standard deviation as a share of the image's own range of values.
    """

    strength: float = 0.08

    neutral: ClassVar[Mapping[str, float] | None] = {"strength": 0.0}

    def pixels(self, rng: np.random.Generator, image: np.ndarray, intensity: Intensity) -> np.ndarray:
        """Image plus noise, each channel its own."""
        deviation = np.float32(rng.uniform(0, self.strength) * intensity.span)
        return image + deviation * rng.standard_normal(image.shape, np.float32)
