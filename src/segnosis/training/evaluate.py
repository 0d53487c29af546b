"""Scores on whole images: one confusion matrix over the data set, and one row an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from segnosis.core.errors import DataError
from segnosis.training.predict import Predictor
from segnosis.training.scores import confusion, from_confusion

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score `predictor` on every sample of `dataset`, whole and at its own size.

    Args:
        predictor: What predicts.
        dataset: Samples with masks.
        progress: Called with (done, total).

    Returns:
        What `from_confusion` returns, with `confusion` (rows are the truth), `samples` (one row each: id, group,
        `foreground_iou`, `foreground_dice`, `per_class_dice`) and `images`, their number.
    """
    spec = dataset.spec
    total = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    rows = []
    unreadable = []
    for index in range(len(dataset)):
        try:
            sample = dataset[index]
        except DataError:
            # Counted and told, not scored; whether training may go on at all was decided before it began.
            unreadable.append(dataset.ids[index])
            continue
        if sample.mask is None:
            continue
        mask = predictor.mask(sample.image)
        matrix = confusion(sample.mask, mask, spec.num_classes, spec.ignore_class)
        total += matrix
        scores = from_confusion(matrix, spec.class_names)
        rows.append(
            {
                "id": sample.id,
                "group": sample.group,
                "foreground_iou": scores["foreground_iou"],
                "foreground_dice": scores["foreground_dice"],
                "per_class_dice": {name: entry["dice"] for name, entry in scores["per_class"].items()},
            }
        )
        if progress is not None:
            progress(index + 1, len(dataset))
    return {
        **from_confusion(total, spec.class_names),
        "images": len(rows),
        "unreadable": unreadable,
        "confusion": total.tolist(),
        "samples": rows,
    }
