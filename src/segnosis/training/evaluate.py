"""Scores on whole images: over the data set and for each image, with intervals, and what every measure adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import DataError
from segnosis.data.dataset import harmonise
from segnosis.training.intervals import intervals
from segnosis.training.measures.base import Scored
from segnosis.training.measures.base import measures as new_measures
from segnosis.training.relabel import Relabel
from segnosis.training.scores import confusion, counts_of, from_confusion

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset


class Predicts(Protocol):
    """What gives class probabilities of a whole image."""

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """`(height, width, num_classes)` float32 of `image` `(height, width, channels)`."""


def evaluate(
    predictor: Predicts,
    dataset: Dataset,
    *,
    relabel: Relabel | None = None,
    like: DatasetSpec | None = None,
    measures: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score `predictor` on every sample of `dataset`, whole and at its own size.

    Args:
        predictor: What predicts.
        dataset: Samples with masks.
        relabel: How the masks' classes become the predictor's, where theirs are others or in another order.
        like: What the predictor was trained on, where that is other data: images are given its channels and type.
        measures: Which of `segnosis.training.measures` to take as well; all when left out.
        progress: Called with (done, total).

    Returns:
        What `from_confusion` returns, with `confusion` (rows are the truth), `images`, their number, `unreadable`
        (ids), `samples` (one row each: `id`, `group`, `foreground_iou`, `foreground_dice`, `per_class_iou`,
        `per_class_dice`, and `counts` of each class: pixels right, true, predicted), `intervals` (see
        `segnosis.training.intervals`), `resampled`, the unit that was resampled, and one entry a measure.
    """
    spec = dataset.spec
    relabel = relabel or Relabel.same(spec)
    names = relabel.class_names
    total = np.zeros((len(names), len(names)), np.int64)
    taken = new_measures(names, measures)
    rows: list[dict[str, Any]] = []
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
        truth = relabel.truth(sample.mask)
        image = sample.image if like is None else harmonise(sample.image, like.channels, like.dtype, Path(sample.id))
        probabilities = predictor.probabilities(image)
        guess = probabilities.argmax(axis=-1).astype(np.int32)
        matrix = confusion(truth, guess, len(names), None)
        total += matrix
        rows.append(_row(sample.id, sample.group, matrix, names))
        for measure in taken.values():
            measure.add(Scored(sample.id, sample.group, truth, guess, probabilities))
        if progress is not None:
            progress(index + 1, len(dataset))
    groups = [row["group"] for row in rows]
    return {
        **from_confusion(total, names),
        "images": len(rows),
        "unreadable": unreadable,
        "confusion": total.tolist(),
        "resampled": spec.group_by or "image",
        "intervals": intervals(np.array([row["counts"] for row in rows]), groups, names) if rows else None,
        **{name: measure.result() for name, measure in taken.items()},
        "samples": rows,
    }


def _row(name: str, group: str, matrix: np.ndarray, class_names: tuple[str, ...]) -> dict[str, Any]:
    scores = from_confusion(matrix, class_names)
    return {
        "id": name,
        "group": group,
        "foreground_iou": scores["foreground_iou"],
        "foreground_dice": scores["foreground_dice"],
        "per_class_iou": {name: entry["iou"] for name, entry in scores["per_class"].items()},
        "per_class_dice": {name: entry["dice"] for name, entry in scores["per_class"].items()},
        "counts": counts_of(matrix).tolist(),
    }
