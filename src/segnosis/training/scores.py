"""Scores from one int64 confusion matrix: dataset-level, per class, ignored pixels left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def confusion(y_true: np.ndarray, y_pred: np.ndarray, num_classes: int, ignore_class: int | None) -> np.ndarray:
    """Count pixels by (true class, predicted class).

    Args:
        y_true: Class ids, any shape; values outside `0 … num_classes − 1` and `ignore_class` are left out.
        y_pred: Class ids of the same shape.
        num_classes: Classes, background included.
        ignore_class: Value in `y_true` that is no class.

    Returns:
        `(num_classes, num_classes)` int64, rows are the truth.

    Example:
        >>> confusion(np.array([0, 1, 255]), np.array([0, 0, 1]), 2, 255).tolist()
        [[1, 0], [1, 0]]
    """
    truth, guess = y_true.ravel().astype(np.int64), y_pred.ravel().astype(np.int64)
    keep = (truth >= 0) & (truth < num_classes)
    if ignore_class is not None:
        keep &= truth != ignore_class
    cells = np.bincount(truth[keep] * num_classes + guess[keep], minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def from_confusion(matrix: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """IoU and Dice per class and their means; a class neither present nor predicted has no score (`None`).

    Args:
        matrix: `(num_classes, num_classes)` pixel counts, rows are the truth.
        class_names: Name per class id; class 0 is the background.

    Returns:
        `mean_iou`, `mean_dice` over all classes, `foreground_iou`, `foreground_dice` over all but class 0,
        `pixel_accuracy`, and `per_class`: name → `iou`, `dice`, `pixels`.

    Example:
        >>> scores = from_confusion(np.array([[8, 1], [0, 3]]), ["background", "cell"])
        >>> scores["foreground_iou"], round(scores["foreground_dice"], 3)
        (0.75, 0.857)
    """
    scores = from_counts(counts_of(matrix), class_names)
    total = matrix.sum()
    scores["pixel_accuracy"] = float(np.trace(matrix) / total) if total else None
    return scores


def counts_of(matrix: np.ndarray) -> np.ndarray:
    """`(num_classes, 3)`: pixels right, true and predicted of each class; all that overlap scores need.

    Example:
        >>> counts_of(np.array([[8, 1], [0, 3]])).tolist()
        [[8, 9, 8], [3, 3, 4]]
    """
    return np.stack([np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)], axis=-1)


def from_counts(counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """`from_confusion` from `counts_of` a matrix, where exchanged classes are not of interest.

    Args:
        counts: `(num_classes, 3)`.
        class_names: Name per class id; class 0 is the background.
    """
    hit, truth, guess = np.asarray(counts, np.float64).T
    per_class: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(class_names):
        union, both = truth[index] + guess[index] - hit[index], truth[index] + guess[index]
        seen = both > 0
        per_class[name] = {
            "iou": float(hit[index] / union) if seen else None,
            "dice": float(2 * hit[index] / both) if seen else None,
            "pixels": int(truth[index]),
        }

    def mean(key: str, names: Sequence[str]) -> float | None:
        values = [per_class[name][key] for name in names if per_class[name][key] is not None]
        return float(np.mean(values)) if values else None

    return {
        "mean_iou": mean("iou", class_names),
        "mean_dice": mean("dice", class_names),
        "foreground_iou": mean("iou", class_names[1:]),
        "foreground_dice": mean("dice", class_names[1:]),
        "per_class": per_class,
    }
