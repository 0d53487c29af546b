"""One map from every output pixel to the place in the source where it looks, however many transforms made it."""

from __future__ import annotations

import cv2
import numpy as np

from segnosis.data.transforms.base import Size


class CoordinateMap:
    """Composition of homographies and displacement fields.

    Coordinates are continuous, pixel (i, j) has its centre at `(x, y) = (j + 0.5, i + 0.5)`.

    Args:
        size: `(height, width)` of the source.

    Example:
        >>> where = CoordinateMap((4, 6))
        >>> where.then(np.array([[-1.0, 0, 6], [0, 1, 0], [0, 0, 1]]))      # a horizontal flip
        >>> where.points()[0, 0].tolist()                                  # the first pixel looks at the last column
        [5.5, 0.5]
    """

    def __init__(self, size: Size) -> None:
        self.source = size
        self.size = size
        self.forward = np.eye(3)  # source → canvas, displacement fields left out
        self._latest = np.eye(3)  # the last field's canvas, or the source → canvas
        self._earlier: list[tuple[np.ndarray, np.ndarray]] = []  # (homography before the field, field), oldest first

    def then(self, matrix: np.ndarray, size: Size | None = None) -> None:
        """Add a homography `(3, 3)` from the present canvas to the next, whose size is `size`."""
        forward = matrix @ self.forward
        self._latest = matrix @ self._latest if self._earlier else forward
        self.forward = forward
        self.size = self.size if size is None else size

    def displace(self, field: np.ndarray) -> None:
        """Add a displacement field `(height, width, 2)` of `(dx, dy)` on the present canvas."""
        self._earlier.append((self._latest, np.ascontiguousarray(field, np.float32)))
        self._latest = np.eye(3)

    def inverse(self) -> np.ndarray | None:
        """Homography canvas → source, or `None` when a displacement field makes it more than that."""
        return None if self._earlier else invert(self._latest)

    def points(self) -> np.ndarray:
        """Where each output pixel looks: `(height, width, 2)` float32, continuous `(x, y)` in the source."""
        height, width = self.size
        grid = np.empty((height, width, 2), np.float32)
        grid[..., 0] = np.arange(width, dtype=np.float32) + 0.5
        grid[..., 1] = (np.arange(height, dtype=np.float32) + 0.5)[:, None]
        grid = project(invert(self._latest), grid)
        for before, field in reversed(self._earlier):
            at = grid - np.float32(0.5)  # OpenCV counts from pixel centres
            grid += cv2.remap(field, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
            grid = project(invert(before), grid)
        return grid


def invert(matrix: np.ndarray) -> np.ndarray:
    """The inverse homography, its last number 1."""
    if is_affine(matrix):  # the usual one, in a quarter of numpy's time
        (a, b, x), (c, d, y) = matrix[:2].tolist()
        area = a * d - b * c
        if area:
            a, b, c, d = d / area, -b / area, -c / area, a / area
            return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y], [0.0, 0.0, 1.0]])
    inverse = np.linalg.inv(matrix)
    return inverse / inverse[2, 2]


def is_affine(matrix: np.ndarray) -> bool:
    """Whether a homography keeps parallels parallel."""
    return matrix[2, 0] == 0 and matrix[2, 1] == 0 and matrix[2, 2] == 1


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a homography `(3, 3)` to points `(..., 2)`, float32 or float64."""
    flat = points.reshape(-1, 1, 2)
    out = cv2.transform(flat, matrix[:2]) if is_affine(matrix) else cv2.perspectiveTransform(flat, matrix)
    return out.reshape(points.shape)
