"""Bend the grey curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Intensity, Photometric


@dataclass(frozen=True)
class Gamma(Photometric):
    """Raise values, between the image's darkest and brightest, to a power drawn evenly on a logarithmic scale.

    Args:
        low: Smallest power; below 1 brightens.
        high: Largest power.
    """

    low: float = 0.7
    high: float = 1.5

    neutral: ClassVar[Mapping[str, float] | None] = {"low": 1.0, "high": 1.0}

    pointwise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(
            0 < self.low <= self.high, "Powers are positive, `low` no larger than `high`.", "Pass Gamma(0.7, 1.5)."
        )

    def pixels(self, rng: np.random.Generator, image: np.ndarray, intensity: Intensity) -> np.ndarray:
        """low + span · ((image − low) / span) ^ power."""
        power = np.float32(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        if power == 1 or not intensity.span:
            return image
        low, span = np.float32(intensity.low), np.float32(intensity.span)
        return low + span * ((image - low) / span).clip(0, 1) ** power
