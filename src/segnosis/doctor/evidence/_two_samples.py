"""Whether two sets of numbers come from one distribution: the test of Kolmogorov and Smirnov."""

from __future__ import annotations

import numpy as np
from scipy.special import kolmogorov


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The largest gap between the shares of both that lie below a value, 0 to 1.

    Example:
        >>> distance(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])).__round__(3)
        0.333
    """
    one, other = np.sort(one), np.sort(other)
    every = np.concatenate([one, other])
    below = np.searchsorted(one, every, "right") / one.size, np.searchsorted(other, every, "right") / other.size
    return float(np.abs(below[0] - below[1]).max())


def chance(gap: float, one: float, other: float) -> float:
    """How likely chance alone sets samples of `one` and `other` independent numbers `gap` or more apart.

    By the limit for large samples, with the correction for small ones.

    Reference:
        Stephens (1970). Use of the Kolmogorov-Smirnov, Cramér-von Mises and related statistics without extensive
        tables. Journal of the Royal Statistical Society B 32.

    Example:
        >>> chance(1.0, 12, 12) < 1e-5 < chance(0.5, 12, 12)
        True
    """
    root = np.sqrt(one * other / (one + other))
    return float(kolmogorov((root + 0.12 + 0.11 / root) * gap))
