"""Slant the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric, about


@dataclass(frozen=True)
class Shear(Geometric):
    """Slant along each axis by an angle drawn evenly from ±`degrees`.

    Args:
        degrees: Largest angle either way, below 45.
    """

    degrees: float = 8.0

    neutral: ClassVar[Mapping[str, float] | None] = {"degrees": 0.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(
            abs(self.degrees) < 45, "A shear stays below 45°, where the picture folds flat.", "Pass Shear(8.0)."
        )

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """Shear about the centre."""
        along, down = np.tan(np.radians(rng.uniform(-self.degrees, self.degrees, 2)))
        return about(canvas.centre, np.array([[1.0, along], [down, 1.0]]) / math.sqrt(1 - along * down))
