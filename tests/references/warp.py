"""Reading an image at given points, pixel by pixel in float64: the definition that the fast way is held to."""

from __future__ import annotations

import math

import numpy as np


def nearest(mask: np.ndarray, points: np.ndarray, outside: int) -> np.ndarray:
    """The pixel that contains each point `(x, y)`; `outside` where none does."""
    out = np.full(points.shape[:2], outside, np.int64)
    for row in range(points.shape[0]):
        for column in range(points.shape[1]):
            x, y = points[row, column]
            if 0 <= x < mask.shape[1] and 0 <= y < mask.shape[0]:
                out[row, column] = mask[math.floor(y), math.floor(x)]
    return out


def linear(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bilinear between the four pixel centres around each point, the edge pixel repeated outward."""
    height, width, channels = image.shape
    out = np.zeros((*points.shape[:2], channels))
    for row in range(points.shape[0]):
        for column in range(points.shape[1]):
            x, y = points[row, column] - 0.5
            left, top = math.floor(x), math.floor(y)
            for i, weight_i in ((top, 1 - (y - top)), (top + 1, y - top)):
                for j, weight_j in ((left, 1 - (x - left)), (left + 1, x - left)):
                    pixel = image[min(max(i, 0), height - 1), min(max(j, 0), width - 1)]
                    out[row, column] += weight_i * weight_j * pixel
    return out
