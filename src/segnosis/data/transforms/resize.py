"""Stretch the picture to a size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric, Size


@dataclass(frozen=True)
class Resize(Geometric):
    """Stretch to `size`, height and width each by its own factor.

    Args:
        size: `(height, width)` in pixels.
    """

    size: Size

    sets_size: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(min(self.size) >= 1, "A picture has at least one pixel.", "Pass size=(256, 256).")

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """Scaling from corner to corner."""
        (height, width), (new_height, new_width) = canvas.size, self.size
        return np.diag([new_width / width, new_height / height, 1.0])

    def new_size(self, size: Size) -> Size:
        """The one asked for."""
        return self.size
