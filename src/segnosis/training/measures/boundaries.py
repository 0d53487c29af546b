"""Score at boundaries: IoU of the bands along the contours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from segnosis.training.intervals import intervals
from segnosis.training.measures.base import Scored
from segnosis.training.scores import from_counts

WIDTHS = (0.01, 0.02)
"""Widths of the band, as shares of the image diagonal; the second is the paper's."""


class Boundaries:
    """Boundary IoU at each of `WIDTHS`, counted over all images as `segnosis.metrics.BoundaryIoU` counts it.

    A pixel is in the band of its region when it lies within the width of what is another class, or of the image's
    edge, by the larger of the distances along rows and columns. Ignored pixels make no contour and do not count.

    Reference:
        Cheng et al., Boundary IoU: improving object-centric image segmentation evaluation, CVPR 2021.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = class_names
        self._counts: list[np.ndarray] = []
        self._groups: list[str] = []

    def add(self, sample: Scored) -> None:
        """Count the bands of one image."""
        self._counts.append(band_counts(sample.truth, sample.guess, len(self.class_names)))
        self._groups.append(sample.group)

    def result(self) -> list[dict[str, Any]] | None:
        """An entry a width: `width`, `mean_iou`, `foreground_iou`, `per_class` IoU, and their `intervals`."""
        if not self._counts:
            return None
        out = []
        for number, width in enumerate(WIDTHS):
            counts = np.stack([entry[number] for entry in self._counts])
            scores = from_counts(counts.sum(axis=0), self.class_names)
            sure = intervals(counts, self._groups, self.class_names)
            entry: dict[str, Any] = {"width": width, "intervals": None}
            entry |= {name: scores[name] for name in ("mean_iou", "foreground_iou")}
            entry["per_class"] = {name: scores["per_class"][name]["iou"] for name in self.class_names}
            if sure is not None:
                entry["intervals"] = {name: sure[name] for name in ("mean_iou", "foreground_iou")}
                entry["intervals"]["per_class"] = {name: sure["per_class"][name]["iou"] for name in self.class_names}
            out.append(entry)
        return out


def band_counts(truth: np.ndarray, guess: np.ndarray, num_classes: int) -> np.ndarray:
    """`(widths, num_classes, 3)`: pixels in both bands, in the true band and in the predicted band of each class.

    Args:
        truth: `(height, width)` class ids, −1 where ignored.
        guess: `(height, width)` class ids.
        num_classes: Classes, background included.
    """
    ignored = truth < 0
    steps = [max(1, round(width * float(np.hypot(*truth.shape)))) for width in WIDTHS]
    counts = np.zeros((len(WIDTHS), num_classes, 3), np.int64)
    for k in np.union1d(truth[~ignored], guess[~ignored]):
        true, pred = (_depth(ids == k, ignored) for ids in (truth, guess))
        for number, step in enumerate(steps):
            in_true, in_pred = (true > 0) & (true <= step), (pred > 0) & (pred <= step)
            counts[number, k] = (in_true & in_pred).sum(), in_true.sum(), in_pred.sum()
    return counts


def _depth(region: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Chessboard distance of each pixel of `region` to what is not of it; 0 elsewhere and where ignored."""
    inside = np.pad((region | ignored).astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_C, cv2.DIST_MASK_3)[1:-1, 1:-1]
    return np.where(region & ~ignored, depth, 0.0)
