"""The loss is blind on images without foreground.

## What it looks for
An image of background alone is put beside one with objects, with false positives predicted on both. When the loss has
no gradient on the first, and such images are a good part of the data, they teach nothing.

## Why the model does not learn
An overlap per image is 0 / (something) without foreground: the loss is 1 there, whatever is predicted. With a smoothing
term in the numerator it jumps instead: one thousandth of foreground everywhere scores 0.015, none scores 1.

## What to do
Cross-entropy added to the Dice, or the overlap summed over the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.perfect_prediction import Probe
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LOS005", "warning"
EXPLAINED_BY = ("LAB", "HED", "LOS001", "LOS002", "DAT003")


def check(
    heads: Sequence[Head],
    encodings: Mapping[str, Encoding],
    perfect_prediction: Mapping[str, Probe],
    *,
    min_empty: float = 0.2,
    certain_empty: float = 0.4,
) -> Verdict:
    measured: dict[str, float | str | bool | None] = {}
    for head in heads:
        probe = perfect_prediction.get(head.name)
        if probe is None or probe.loss is None or head.name not in encodings:
            continue
        loss, empty = probe.loss, encodings[head.name].empty
        measured = {
            "head": head.name,
            "loss": head.loss_name,
            "images_without_foreground": empty,
            "gradient_0_on_them": loss.blind_on_empty,
            "loss_there_without_false_positives": _plain(loss.empty_perfect),
            "loss_there_with_0.1%_everywhere": _plain(loss.empty_nearly),
        }
        if not loss.blind_on_empty or loss.zero_gradient or empty < min_empty or empty == 1.0:
            continue
        return Finding(
            says=f"{empty:.0%} of the images have no foreground, and {head.loss_name} has a gradient of 0 there: "
            f"false positives "
            "on them cost nothing.",
            measured=measured,
            fix="`loss=segnosis.losses.Sum([segnosis.losses.CrossEntropy(), segnosis.losses.Dice()])`, or sum the "
            "overlap "
            f"over the batch too in `{head.loss_name}`.",
            where=(head.loss_name,),
            level="proven" if empty >= certain_empty else "suspected",
            severity="warning",
        )
    return Healthy(measured) if measured else NotApplicable("no loss could be asked about a known prediction")


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _dice(axes: tuple[int, ...]) -> Any:
    def dice(y_true: Any, y_pred: Any) -> Any:
        import keras

        overlap = keras.ops.sum(y_true * y_pred, axis=axes)
        return 1 - keras.ops.mean(2 * overlap / (keras.ops.sum(y_true + y_pred, axis=axes) + 1e-6))

    return dice


def sick() -> Case:
    batches = squares("binary", num_classes=2, empty=True)
    return Case(model=segmenter(1, "sigmoid"), loss=_dice((1, 2, 3)), batches=batches)


def healthy() -> Case:
    batches = squares("binary", num_classes=2, empty=True)
    return Case(model=segmenter(1, "sigmoid"), loss=_dice((0, 1, 2, 3)), batches=batches)
