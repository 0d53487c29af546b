"""Shift the colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from segnosis.data.transforms.base import Intensity, Photometric


@dataclass(frozen=True)
class HueSaturation(Photometric):
    """Turn the hue and change the saturation of RGB images; images of other than three channels stay as they are.

    Args:
        degrees: Largest turn of the hue either way.
        saturation: Largest change of the saturation's factor either way: 0.3 draws it from 0.7–1.3.
    """

    degrees: float = 15.0
    saturation: float = 0.3

    neutral: ClassVar[Mapping[str, float] | None] = {"degrees": 0.0, "saturation": 0.0}

    def pixels(self, rng: np.random.Generator, image: np.ndarray, intensity: Intensity) -> np.ndarray:
        """Image with its colour differences (luma kept) turned and scaled."""
        angle = np.radians(rng.uniform(-self.degrees, self.degrees))
        factor = 1 + rng.uniform(-self.saturation, self.saturation)
        if image.shape[2] != 3 or (angle == 0 and factor == 1):
            return image
        cosine, sine = factor * np.cos(angle), factor * np.sin(angle)
        turn = _TO_RGB @ np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ np.linalg.inv(_TO_RGB)
        return cv2.transform(image, turn)


# Columns: grey, and the two colour axes of YIQ, around which hue is an angle. Linear: no branch at grey or at the edge
# of the gamut as HSV has, and right for float images of any range.
_TO_RGB = np.array([[1.0, 0.956, 0.619], [1.0, -0.272, -0.647], [1.0, -1.106, 1.703]])
