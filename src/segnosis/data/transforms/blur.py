"""Blur."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from segnosis.data.transforms.base import Intensity, Photometric


@dataclass(frozen=True)
class Blur(Photometric):
    """Blur by a Gaussian of a width drawn evenly up to `sigma`.

    Args:
        sigma: Largest standard deviation in pixels.
    """

    sigma: float = 1.5

    neutral: ClassVar[Mapping[str, float] | None] = {"sigma": 0.0}

    def pixels(self, rng: np.random.Generator, image: np.ndarray, intensity: Intensity) -> np.ndarray:
        """Blurred image."""
        sigma = rng.uniform(0, self.sigma)
        if sigma < 0.1:  # the kernel's neighbours weigh nothing
            return image
        return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT).reshape(image.shape)
