"""Point in polygon by counting crossings, pixel by pixel in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def fill(points: list[tuple[float, float]], size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre a ray to the right leaves the polygon from an odd number of times."""
    corners = [(Fraction(x), Fraction(y)) for x, y in points]
    out = np.zeros(size, bool)
    for i in range(size[0]):
        for j in range(size[1]):
            x, y = Fraction(2 * j + 1, 2), Fraction(2 * i + 1, 2)
            for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
                if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x:
                    out[i, j] = not out[i, j]
    return out
