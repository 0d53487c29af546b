"""Place the whole picture in a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric, Size


@dataclass(frozen=True)
class Pad(Geometric):
    """Centre the whole picture on a canvas of `size`, its shape kept: shrunk if it is larger, never enlarged.

    Args:
        size: `(height, width)` in pixels.
    """

    size: Size

    sets_size: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(min(self.size) >= 1, "A picture has at least one pixel.", "Pass size=(256, 256).")

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """Scaling by at most 1, then a translation by whole pixels."""
        (height, width), (new_height, new_width) = canvas.size, self.size
        factor = min(1.0, new_height / height, new_width / width)
        left, top = np.floor((new_width - factor * width) / 2), np.floor((new_height - factor * height) / 2)
        return np.array([[factor, 0, left], [0, factor, top], [0, 0, 1]])

    def new_size(self, size: Size) -> Size:
        """The one asked for."""
        return self.size
