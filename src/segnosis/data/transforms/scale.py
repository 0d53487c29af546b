"""Enlarge or shrink about the centre."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Canvas, Geometric, about


@dataclass(frozen=True)
class Scale(Geometric):
    """Enlarge by a factor drawn evenly on a logarithmic scale, so that halving is as likely as doubling.

    Args:
        low: Smallest factor; below 1 shows more of the source.
        high: Largest factor.
        stretch: Height and width are drawn apart by up to this factor; 1 keeps shapes.
    """

    low: float = 0.7
    high: float = 1.4
    stretch: float = 1.0

    neutral: ClassVar[Mapping[str, float] | None] = {"low": 1.0, "high": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(
            0 < self.low <= self.high, "Factors are positive, `low` no larger than `high`.", "Pass Scale(0.7, 1.4)."
        )
        self.require(self.stretch >= 1, "`stretch` is at least 1.", "Pass stretch=1.2, or 1 to keep shapes.")

    def matrix(self, rng: np.random.Generator, canvas: Canvas) -> np.ndarray:
        """Scaling about the centre."""
        factor = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        apart = math.exp(rng.uniform(-0.5, 0.5) * math.log(self.stretch))
        return about(canvas.centre, np.diag([factor * apart, factor / apart]))
