"""Shade the picture unevenly, as a receive coil or a lamp at one side does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from segnosis.data.transforms.base import Intensity, Photometric

_GRID = 4  # random numbers along each side; the field between them is cubic


@dataclass(frozen=True)
class BiasField(Photometric):
    """Multiply by a smooth random field, above the image's darkest value.

    Args:
        strength: Standard deviation of the field's logarithm at its grid points: 0.3 is ±30 %.

    Reference:
        Van Leemput et al., "Automated model-based tissue classification of MR images of the brain", IEEE TMI 1999.
    """

    strength: float = 0.3

    neutral: ClassVar[Mapping[str, float] | None] = {"strength": 0.0}

    def pixels(self, rng: np.random.Generator, image: np.ndarray, intensity: Intensity) -> np.ndarray:
        """low + (image − low) · exp(field)."""
        if not self.strength:
            return image
        grid = rng.standard_normal((_GRID, _GRID), np.float32) * np.float32(self.strength)
        field = np.exp(cv2.resize(grid, image.shape[1::-1], interpolation=cv2.INTER_CUBIC))[..., None]
        low = np.float32(intensity.low)
        return low + (image - low) * field
