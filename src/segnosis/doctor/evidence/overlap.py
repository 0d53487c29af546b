"""An overlap of our own: per-class IoU and Dice of the model as it stands, from arg-max or threshold, void left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.graph import OUTPUT_LIKE

PRICE = "batch"


@dataclass(frozen=True)
class Overlap:
    """One output on the first batches.

    Attributes:
        iou: Per class over all pixels; NaN where a class is neither there nor predicted.
        accuracy: Share of labelled pixels that are right.
        predicted: Share of pixels predicted as each class.
        dice_pooled: Foreground Dice from all pixels of all images together.
        dice_per_image: Mean of the images' own foreground Dice; an image right to have none counts 1.
    """

    iou: tuple[float, ...]
    accuracy: float
    predicted: tuple[float, ...]
    dice_pooled: float
    dice_per_image: float


def measure(
    heads: Sequence[Head], encodings: Mapping[str, Encoding], forward: Mapping[str, Output]
) -> Mapping[str, Overlap]:
    """Output name → overlap, for outputs of mutually exclusive classes."""
    found = {}
    for head in heads:
        encoding, output = encodings.get(head.name), forward.get(head.name)
        if encoding is None or output is None or encoding.kind in ("other", "multilabel"):
            continue
        pairs = [
            (encoding.ids(y[: len(p)]), predicted_ids(p, head, output))
            for y, p in zip(encoding.arrays, output.arrays, strict=False)
        ]
        if all(true.shape == predicted.shape for true, predicted in pairs):
            found[head.name] = _overlap(pairs, encoding.num_classes)
    return found


def predicted_ids(array: np.ndarray, head: Head, output: Output) -> np.ndarray:
    """Class ids of an output: the largest channel, or one channel past the middle of its format."""
    if array.shape[-1] > 1:
        return array.argmax(axis=-1)
    ends = any(step.does in OUTPUT_LIKE for step in head.activations)
    as_logits = not ends and (head.known or output.format == "logits")
    return (array[..., 0] > (0.0 if as_logits else 0.5)).astype("int64")


def _overlap(pairs: Sequence[tuple[np.ndarray, np.ndarray]], classes: int) -> Overlap:
    confusion = np.zeros((classes, classes))
    per_image = []
    for true, predicted in pairs:
        for one_true, one_predicted in zip(true, predicted, strict=True):
            valid = one_true >= 0
            counts = np.bincount(one_true[valid] * classes + one_predicted[valid], minlength=classes**2)
            one = counts[: classes**2].reshape(classes, classes).astype("float64")
            confusion += one
            per_image.append(_foreground_dice(one))
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    total = max(1.0, confusion.sum())
    return Overlap(
        iou=tuple(float(h / u) if u else float("nan") for h, u in zip(hits, union, strict=True)),
        accuracy=float(hits.sum() / total),
        predicted=tuple(float(value) for value in confusion.sum(0) / total),
        dice_pooled=_foreground_dice(confusion),
        dice_per_image=float(np.mean(per_image)),
    )


def _foreground_dice(confusion: np.ndarray) -> float:
    """Mean over foreground classes that are there or predicted; 1 when none is."""
    hits, sizes = np.diag(confusion)[1:], (confusion.sum(0) + confusion.sum(1))[1:]
    there = sizes > 0
    return float(np.mean(2 * hits[there] / sizes[there])) if there.any() else 1.0
