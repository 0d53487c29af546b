"""The loss does not compare each pixel with its own target.

## What it looks for
The loss is asked for its value on a perfect prediction, a grey one, and a perfect one with its pixels in another
order: all of them, those along one axis, those of another image. A loss that compares pixel with pixel likes the first
best by far. One that broadcasts, sums over the wrong axis or flattens the two sides differently does not. Nor does
one cost as much for the classes exchanged.

## Why the model does not learn
Tensors of different shapes are stretched until they fit, so every pixel is compared with many: the value looks like a
loss, may be negative, and its gradient says little or nothing about where the object is.

## What to do
Give both sides the same shape before they meet, and look at it once: `print(y_true.shape, y_pred.shape)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.loss_gradients import LossGradient
from segnosis.doctor.evidence.perfect_prediction import Probe
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LOS002", "error"
EXPLAINED_BY = ("LAB007", "HED003", "HED002")


def check(
    heads: Sequence[Head],
    encodings: Mapping[str, Encoding],
    perfect_prediction: Mapping[str, Probe],
    *,
    min_gain: float = 0.1,
    loss_gradients: Mapping[str, LossGradient] | None = None,
) -> Verdict:
    measured: dict[str, float | str | None] = {}
    for head in heads:
        probe = perfect_prediction.get(head.name)
        if probe is None or probe.loss is None:
            continue
        known, slope = probe.loss.fitting, (loss_gradients or {}).get(head.name)
        measured = {
            "head": head.name,
            "loss": head.loss_name,
            "mask_shape": str(encodings[head.name].shape),
            "perfect": known.perfect if known else None,
            "grey": known.grey if known else None,
            "shuffled": known.shuffled if known else None,
            "wrong": known.wrong if known and abs(known.wrong) < float("inf") else None,
            "raised": probe.loss.raised,
        }
        if probe.loss.raised and probe.loss.accepts is None and slope is not None and slope.raised:
            return Finding(
                says=f"{head.loss_name} raises on masks of shape {encodings[head.name].shape}: {slope.raised}",
                measured=measured,
                fix=f"Make both sides of `{head.loss_name}` the same shape first; keep `(batch, height, width, "
                f"channels)` (a "
                "boolean index flattens it) and multiply by a 0/1 mask to leave pixels out.",
                where=(head.loss_name,),
            )
        if known is None:
            continue
        reason = known.blindness(min_gain)
        if reason is not None:
            return Finding(
                says=f"The loss {head.loss_name} does not compare each pixel with its own target: {reason}.",
                measured=measured,
                fix=_fix(head, encodings[head.name]),
                where=(head.loss_name,),
            )
    return Healthy(measured) if measured else NotApplicable("no loss could be asked about a known prediction")


def _fix(head: Head, encoding: Encoding) -> str:
    channels = encoding.channels or 1
    if channels > 1 and (not encoding.has_axis or encoding.shape[-1] == 1):
        flat = "[..., 0]" if encoding.has_axis else ""
        return (
            f'`y_true = keras.ops.one_hot(keras.ops.cast(y_true{flat}, "int32"), {channels})` as the first line of '
            f"`{head.loss_name}`."
        )
    if channels == 1 and not encoding.has_axis:
        return f"`y_true = keras.ops.expand_dims(y_true, -1)` as the first line of `{head.loss_name}`."
    return (
        f"Sum products of `y_true` and `y_pred` over height and width (axes 1 and 2) in `{head.loss_name}`, both of "
        f"shape "
        f"(batch, height, width, {channels})."
    )


def sick() -> Case:
    def dice_of_ids(y_true: Any, y_pred: Any) -> Any:
        import keras

        ids = keras.ops.expand_dims(y_true, -1)
        return 1 - 2 * keras.ops.sum(ids * y_pred) / (keras.ops.sum(ids) + keras.ops.sum(y_pred) + 1e-6)

    return Case(model=segmenter(3, "softmax"), loss=dice_of_ids, batches=squares("ids"))


def sick_along_an_axis() -> Case:
    def profiles(y_true: Any, y_pred: Any) -> Any:
        import keras

        return keras.ops.mean(keras.ops.square(keras.ops.mean(y_true, 1) - keras.ops.mean(y_pred, 1)))

    return Case(model=segmenter(3, "softmax"), loss=profiles, batches=squares("one-hot"))


def sick_of_one_plane() -> Case:
    def overlap(y_true: Any, y_pred: Any) -> Any:
        import keras

        y_true = keras.ops.cast(y_true[..., None], "float32")
        hit = keras.ops.sum(y_true * y_pred)
        edges = keras.ops.mean(keras.ops.abs(y_pred[:, 1:] - y_pred[:, :-1] - y_true[:, 1:] + y_true[:, :-1]))
        return 1 - (2 * hit + 1) / (keras.ops.sum(y_true) + keras.ops.sum(y_pred) + 1) + 0.1 * edges

    return Case(model=segmenter(2, "softmax"), loss=overlap, batches=squares("ids", num_classes=2))


def healthy() -> Case:
    def dice(y_true: Any, y_pred: Any) -> Any:
        import keras

        overlap = keras.ops.sum(y_true * y_pred, axis=(1, 2))
        return 1 - keras.ops.mean(2 * overlap / (keras.ops.sum(y_true + y_pred, axis=(1, 2)) + 1e-6))

    return Case(model=segmenter(3, "softmax"), loss=dice, batches=squares("one-hot"))
