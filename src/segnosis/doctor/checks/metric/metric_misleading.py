"""The metric looks good whatever the model does.

## What it looks for
A history that watches accuracy alone, and a high one, where one class fills nearly all pixels and the foreground IoU of
the model is nearly 0. Overlaps pooled over all images are shown beside the mean of the images' own. Before there is a
history: a callback of one's own that ends the training at an accuracy which one class everywhere has already.

## Why the model does not learn
With 3 % foreground an empty mask is right at 97 % of the pixels. A Dice pooled over a batch has the same weakness one
floor up: it can read 0.995 where the mean over images is 0.55, because large objects count for small ones.

## What to do
Watch the IoU of the foreground: `keras.metrics.BinaryIoU(target_class_ids=[1])`, or `segnosis.metrics.MeanIoU`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.overlap import Overlap
from segnosis.doctor.evidence.own_stops import Stop
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "MET002", "warning"


def check(
    heads: Sequence[Head],
    encodings: Mapping[str, Encoding],
    overlap: Mapping[str, Overlap],
    *,
    min_prior: float = 0.9,
    min_accuracy: float = 0.9,
    max_iou: float = 0.05,
    history: Mapping[str, Sequence[float]] | None = None,
    own_stops: Sequence[Stop] | None = None,
) -> Verdict:
    measured: dict[str, float | str | None] = {}
    for head in heads:
        if head.name not in overlap:
            continue
        ours = overlap[head.name]
        prior = max(encodings[head.name].frequencies)
        iou = float(np.nanmean(ours.iou[1:])) if np.isfinite(ours.iou[1:]).any() else 0.0
        for stop in own_stops or ():
            if "acc" in stop.watched.lower() and prior > max(stop.above, min_prior):
                return Finding(
                    says=f"`{stop.callback}` ends the training when `{stop.watched}` is above {stop.above:g}: "
                    f"predicting one class everywhere gives an accuracy of {prior:.3f}.",
                    measured={"head": head.name, "commonest_class": prior, "stops_above": stop.above},
                    fix=f"Let it wait for an overlap: `metrics=[segnosis.metrics.MeanIoU(num_classes="
                    f'{encodings[head.name].num_classes})]`, `logs["mean_iou"]`.',
                    where=(stop.where,),
                )
        watched = _watched(head, history or {})
        accuracies = [name for name in watched if "acc" in name.lower()]
        last = float((history or {})[accuracies[0]][-1]) if accuracies else None
        measured = {
            "head": head.name,
            "commonest_class": prior,
            "accuracy": last,
            "our_accuracy": ours.accuracy,
            "our_foreground_iou": iou,
            "dice_pooled": ours.dice_pooled,
            "dice_per_image": ours.dice_per_image,
        }
        only_accuracy = bool(accuracies) and len(accuracies) == len(watched)
        if only_accuracy and last is not None and prior > min_prior and iou < max_iou and last > min_accuracy:
            return Finding(
                says=f"The accuracy is {last:.3f} and the foreground IoU {iou:.3f}: predicting one class everywhere "
                f"gives an accuracy of {prior:.3f}.",
                measured=measured,
                fix="`metrics=[segnosis.metrics.MeanIoU(num_classes="
                f"{encodings[head.name].num_classes})]`, and watch it in the callbacks.",
                where=(accuracies[0],),
                severity="note",
            )
    return Healthy(measured) if measured else NotApplicable("no output of exclusive classes to score")


def _watched(head: Head, history: Mapping[str, Sequence[float]]) -> list[str]:
    """Columns of the history that the user's own metrics fill, not a callback."""
    if not head.metrics:
        return [name for name in history if name not in ("loss", "val_loss", "learning_rate", "lr")]
    ends = tuple(str(metric.name) for metric in head.metrics)
    return [name for name in history if name.endswith(ends) and not name.startswith("val_")]


def _case(history: Mapping[str, Sequence[float]]) -> Case:
    import keras

    model = segmenter(2, "softmax")
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([0 * kernel, bias + np.array([9.0, 0.0])])
    batches = squares("ids", num_classes=2, foreground=0.2)
    return Case(model=model, loss=keras.losses.SparseCategoricalCrossentropy(), batches=batches, history=history)


def _stopping(above: float) -> Case:
    import keras

    class GoodEnough(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.enough = above

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            accuracy = (logs or {}).get("accuracy")
            if accuracy is not None and accuracy > self.enough:
                self.model.stop_training = True

    batches = squares("ids", num_classes=2, foreground=0.05)
    case = replace(_case({}), history=None, batches=batches)
    return replace(case, fit_arguments={"epochs": 20, "callbacks": [GoodEnough()]})


def sick_before_it_begins() -> Case:
    return _stopping(above=0.93)


def healthy_before_it_begins() -> Case:
    return _stopping(above=0.999)


def sick() -> Case:
    return _case({"loss": [0.3, 0.2], "accuracy": [0.96, 0.965]})


def healthy() -> Case:
    return _case({"loss": [0.3, 0.2], "accuracy": [0.96, 0.965], "mean_iou": [0.48, 0.48]})
