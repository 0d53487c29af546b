"""Cut a window out of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric, Size


@dataclass(frozen=True)
class Crop(Geometric):
    """Cut a window of `size`; where the picture is smaller, the window reaches outside it.

    Args:
        size: `(height, width)` of the window in pixels.
        position: `"random"` or `"centre"`.
        foreground_share: Share of the random windows that must contain a foreground pixel: first a class is drawn,
            all present ones alike, then a pixel of it, then a window around it. So rare classes are seen often.
    """

    size: Size
    position: Literal["random", "centre"] = "random"
    foreground_share: float = 0.0

    sets_size: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(min(self.size) >= 1, "A window has at least one pixel.", "Pass size=(256, 256).")
        self.require(self.position in ("random", "centre"), "A window lies at random or central.", 'Pass "random".')
        self.require(0 <= self.foreground_share <= 1, "A share lies between 0 and 1.", "Pass foreground_share=0.33.")

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """Translation by whole pixels."""
        room = [have - want for have, want in zip(canvas.size, self.size, strict=True)]
        if self.position == "centre":
            top, left = (spare // 2 for spare in room)
        else:
            ranges = [(min(spare, 0), max(spare, 0)) for spare in room]
            if canvas.foreground and rng.random() < self.foreground_share:
                points = canvas.foreground[rng.integers(len(canvas.foreground))]
                x, y = np.floor(points[rng.integers(len(points))]).astype(int)
                ranges = [self._around(*item) for item in zip((y, x), self.size, ranges, strict=True)]
            top, left = (int(rng.integers(low, high, endpoint=True)) for low, high in ranges)
        return np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])

    @staticmethod
    def _around(pixel: int, length: int, allowed: tuple[int, int]) -> tuple[int, int]:
        """First and last start of a window of `length` that contains `pixel`, within `allowed`."""
        low, high = allowed
        return max(low, min(pixel - length + 1, high)), min(high, max(pixel, low))

    def new_size(self, size: Size) -> Size:
        """The window's."""
        return self.size
