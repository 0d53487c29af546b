"""Deform the picture like tissue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Geometric, Size


@dataclass(frozen=True)
class Elastic(Geometric):
    """Displace by a smooth random field: a coarse grid of random steps, smoothed by cubic B-splines.

    Args:
        strength: Largest step as a share of a cell; up to 0.45 the picture cannot fold over itself.
        cells: Number of grid cells along each side; more are finer ripples.

    Reference:
        Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document
        Analysis", ICDAR 2003; the grid as in Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015.
        The bound: Choi and Lee, "Injectivity Conditions of 2D and 3D Uniform Cubic B-Spline Functions", 2000.
    """

    strength: float = 0.3
    cells: int = 4

    neutral: ClassVar[Mapping[str, float] | None] = {"strength": 0.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.strength <= 0.45, "Above 0.45 of a cell the picture may fold.", "Pass strength=0.3.")
        self.require(self.cells >= 1, "The grid has at least one cell.", "Pass cells=4.")

    def field(self, rng: np.random.Generator, size: Size) -> np.ndarray | None:
        """Displacement in pixels."""
        height, width = size
        steps = rng.uniform(-self.strength, self.strength, (self.cells + 3, self.cells + 3, 2)).astype(np.float32)
        if not self.strength:
            return None
        steps *= np.array([width / self.cells, height / self.cells], np.float32)
        along = _spline((np.arange(width, dtype=np.float32) + 0.5) * (self.cells / width), self.cells)
        down = _spline((np.arange(height, dtype=np.float32) + 0.5) * (self.cells / height), self.cells)
        return np.stack([down @ steps[..., axis] @ along.T for axis in (0, 1)], axis=-1)


def _spline(at: np.ndarray, cells: int) -> np.ndarray:
    """Weights `(positions, cells + 3)` of cubic B-splines one cell apart, the first centred one cell before 0."""
    distance = np.abs(at[:, None] - np.arange(-1, cells + 2, dtype=np.float32))
    near = 2 / 3 - distance**2 + distance**3 / 2
    return np.where(distance < 1, near, np.clip(2 - distance, 0, None) ** 3 / 6)
