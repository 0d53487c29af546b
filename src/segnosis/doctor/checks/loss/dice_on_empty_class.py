"""The loss is blind on images without foreground, or without one of the classes.

## What it looks for
An image of background alone is put beside one with objects, with false positives predicted on both. When the loss has
no gradient on the first, and such images are a good part of the data, they teach nothing. Of several classes, one is
left out of an image and predicted nowhere in it, which is right: a loss that charges for it there charges always. And
one that pays more for an empty image left empty than 5 times what a wrong answer costs divides by next to nothing.

## Why the model does not learn
An overlap per image is 0 / (something) without foreground: the loss is 1 there, whatever is predicted. With a smoothing
term in the numerator it jumps instead: one thousandth of foreground everywhere scores 0.015, none scores 1. Per image
and class the same holds of every class that an image lacks: its term is 1, and nothing that the model does moves it.

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
    least_charged: float = 0.5,
    most_paid: float = 5.0,
    min_empty_paid: float = 0.05,
) -> Verdict:
    measured: dict[str, float | str | bool | None] = {}
    for head in heads:
        probe = perfect_prediction.get(head.name)
        if probe is None or probe.loss is None or head.name not in encodings:
            continue
        loss, encoding = probe.loss, encodings[head.name]
        empty = encoding.empty
        measured = {
            "head": head.name,
            "loss": head.loss_name,
            "images_without_foreground": empty,
            "gradient_0_on_them": loss.blind_on_empty,
            "loss_there_without_false_positives": _plain(loss.empty_perfect),
            "loss_there_with_0.1%_everywhere": _plain(loss.empty_nearly),
            "classes_absent_of_an_image": encoding.absent,
            "charged_for_an_absent_class": _plain(loss.absent_costs),
        }
        # Each class has its share of a mean over classes: charged half of it or more, its term never came off.
        is_charged = loss.absent_costs >= least_charged / encoding.num_classes
        if is_charged and not loss.zero_gradient and encoding.absent >= min_empty:
            return Finding(
                says=f"A class is absent from {encoding.absent:.0%} of the images, and there {head.loss_name} charges "
                f"{loss.absent_costs:.2f} of its range for it although none is predicted: its term is constant, with "
                "a gradient of 0.",
                measured=measured,
                fix="Sum the overlap over the batch too, or average only over classes that occur: "
                "`loss=segnosis.losses.Sum([segnosis.losses.CrossEntropy(), segnosis.losses.Dice()])`.",
                where=(head.loss_name,),
                level="proven" if encoding.absent >= certain_empty else "suspected",
                severity="warning",
            )
        usual = max(abs(loss.fitting.wrong), abs(loss.empty_nearly)) if loss.fitting else np.inf
        if loss.empty_nearly - loss.empty_perfect > most_paid * usual and min_empty_paid <= empty < 1.0:
            return Finding(
                says=f"{empty:.0%} of the images have no foreground, and there {head.loss_name} falls from "
                f"{loss.empty_nearly:.3g} to {loss.empty_perfect:.3g} when the last 0.1% of false positives go: to "
                "predict nothing pays more than to be right.",
                measured=measured,
                fix="The same smoothing term above and below the line: `(2 * overlap + 1) / (total + 1)`.",
                where=(head.loss_name,),
            )
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


def _dice(axes: tuple[int, ...], above: float = 0.0) -> Any:
    def dice(y_true: Any, y_pred: Any) -> Any:
        import keras

        overlap = keras.ops.sum(y_true * y_pred, axis=axes)
        return 1 - keras.ops.mean((2 * overlap + above) / (keras.ops.sum(y_true + y_pred, axis=axes) + 1e-6))

    return dice


def sick() -> Case:
    batches = squares("binary", num_classes=2, empty=True)
    return Case(model=segmenter(1, "sigmoid"), loss=_dice((1, 2, 3)), batches=batches)


def sick_smoothed_above_the_line_alone() -> Case:
    batches = squares("binary", num_classes=2, empty=True)
    return Case(model=segmenter(1, "sigmoid"), loss=_dice((1, 2, 3), above=1.0), batches=batches)


def healthy() -> Case:
    batches = squares("binary", num_classes=2, empty=True)
    return Case(model=segmenter(1, "sigmoid"), loss=_dice((0, 1, 2, 3)), batches=batches)
