"""Turn the grey curve over: bright becomes dark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Intensity, Photometric


@dataclass(frozen=True)
class Invert(Photometric):
    """Swap dark and bright between the image's darkest and brightest value: other stains, other MR sequences."""

    pointwise: ClassVar[bool] = True

    def pixels(self, rng: np.random.Generator, image: np.ndarray, intensity: Intensity) -> np.ndarray:
        """low + high − image."""
        return np.float32(intensity.low + intensity.high) - image
