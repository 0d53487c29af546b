"""Mirror top and bottom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric


@dataclass(frozen=True)
class FlipVertical(Geometric):
    """Mirror top and bottom: for pictures without an up and a down (microscopy, satellites)."""

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """y → height − y."""
        return np.array([[1.0, 0, 0], [0, -1, canvas.size[0]], [0, 0, 1]])
