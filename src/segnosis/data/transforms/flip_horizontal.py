"""Mirror left and right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric


@dataclass(frozen=True)
class FlipHorizontal(Geometric):
    """Mirror left and right; `probability=0.5` gives each sample either way.

    Example:
        >>> FlipHorizontal(probability=0.5)
        FlipHorizontal(probability=0.5)
    """

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """x → width − x."""
        return np.array([[-1.0, 0, canvas.size[1]], [0, 1, 0], [0, 0, 1]])
