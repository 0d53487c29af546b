"""Look at the picture from a slant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric


@dataclass(frozen=True)
class Perspective(Geometric):
    """Move each corner by a share of the canvas drawn evenly from ±`share`.

    Args:
        share: Largest move of a corner as a share of height and width, below 0.25: corners must not change places.
    """

    share: float = 0.08

    neutral: ClassVar[Mapping[str, float] | None] = {"share": 0.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(
            abs(self.share) < 0.25, "Corners keep their order only below a quarter.", "Pass Perspective(0.08)."
        )

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """Homography from the old corners to the new."""
        if not self.share:
            return np.eye(3)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
        moved = corners + rng.uniform(-self.share, self.share, (4, 2)).astype(np.float32)
        size = np.array(canvas.size[::-1], np.float32)
        return cv2.getPerspectiveTransform(corners * size, moved * size)
