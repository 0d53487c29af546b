"""Show the picture as a coarser camera would have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from segnosis.data.transforms.base import Intensity, Photometric
from segnosis.data.transforms.sampling import resize


@dataclass(frozen=True)
class LowResolution(Photometric):
    """Average down by a factor drawn evenly from `smallest`–1, and enlarge again; the mask keeps its resolution.

    Args:
        smallest: Smallest factor.
    """

    smallest: float = 0.5

    neutral: ClassVar[Mapping[str, float] | None] = {"smallest": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.smallest <= 1, "The factor lies above 0 and up to 1.", "Pass LowResolution(0.5).")

    def pixels(self, rng: np.random.Generator, image: np.ndarray, intensity: Intensity) -> np.ndarray:
        """Image without its fine detail."""
        height, width = image.shape[:2]
        factor = rng.uniform(self.smallest, 1)
        coarse = (max(1, round(height * factor)), max(1, round(width * factor)))
        if coarse == (height, width):
            return image
        return resize(resize(image, coarse, cv2.INTER_AREA), (height, width), cv2.INTER_LINEAR)
