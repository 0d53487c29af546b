"""Turn by a random angle about the centre."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric, about


@dataclass(frozen=True)
class Rotate(Geometric):
    """Turn by an angle drawn evenly from ±`degrees`.

    Args:
        degrees: Largest angle either way.
    """

    degrees: float = 15.0

    neutral: ClassVar[Mapping[str, float] | None] = {"degrees": 0.0}

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """Rotation about the centre."""
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        cosine, sine = math.cos(angle), math.sin(angle)
        return about(canvas.centre, np.array([[cosine, -sine], [sine, cosine]]))
