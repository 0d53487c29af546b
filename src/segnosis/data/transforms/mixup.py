"""Blend each sample with another, image and truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segnosis.data.transforms.base import Mixing


@dataclass(frozen=True)
class Mixup(Mixing):
    """Blend each sample with the one before it in the batch; the truth becomes soft: a share of each class per pixel.

    Blended class *ids* would be other classes (half road, half car is no sky), so the feed writes y as one-hot float32
    `(batch, height, width, classes)` and blends that: losses and metrics of segnosis take it as it is. What is ignored
    in either sample belongs to no class, which they leave out where `ignore_class` is set. Every batch is soft, also
    those that `probability` leaves alone.

    Args:
        alpha: Both parameters of the Beta distribution that the share of the other sample is drawn from, at most one
            half: 0.2 mostly blends little. 0 blends nothing.

    Reference:
        Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """

    alpha: float = 0.2

    neutral: ClassVar[Mapping[str, float] | None] = {"alpha": 0.0}
    soft: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.alpha >= 0, "`alpha` of a Beta distribution is at least 0.", "Pass Mixup(0.2).")

    def mix(self, rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The blended batch; y is one-hot `(batch, height, width, classes)`, 0 everywhere where a pixel is ignored."""
        if not self.alpha:
            return x, y
        share = rng.beta(self.alpha, self.alpha, len(x)).astype(np.float32)
        share = np.minimum(share, 1 - share)[:, None, None, None]
        truth = (1 - share) * y + share * np.roll(y, 1, axis=0)
        known = y.any(axis=-1, keepdims=True) & np.roll(y, 1, axis=0).any(axis=-1, keepdims=True)
        return (1 - share) * x + share * np.roll(x, 1, axis=0), truth * known
