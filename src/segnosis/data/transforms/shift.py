"""Move the picture sideways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric


@dataclass(frozen=True)
class Shift(Geometric):
    """Move by a share of the canvas drawn evenly from ±`share`, each axis its own.

    Args:
        share: Largest shift as a share of height and width.
    """

    share: float = 0.1

    neutral: ClassVar[Mapping[str, float] | None] = {"share": 0.0}

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """Translation."""
        height, width = canvas.size
        along, down = rng.uniform(-self.share, self.share, 2)
        return np.array([[1.0, 0, along * width], [0, 1, down * height], [0, 0, 1]])
