"""The masks are written in another way than the loss reads them.

## What it looks for
Class ids under a loss for one-hot masks, one-hot masks under a sparse loss, one plane of 0 and 1 under several
channels. Shapes alone decide for Keras' own losses; a loss of your own is given the same masks in the other encoding,
and a loss that raises on one and works on the other tells which it wants. A mask with a channel axis counts as
one-hot when at least `min_share` of its values are 0 or 1.

## Why the model does not learn
Mostly `fit()` raises, with a message about ranks. An overlap loss does not: it multiplies the plane of class ids with
every channel (broadcasting), and reads a class id of 3 as "three times foreground"; its value may well be negative.

## What to do
The loss of the same name for the other encoding, or `keras.utils.to_categorical(masks, num_classes)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from segnosis.doctor.case import Case
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

if TYPE_CHECKING:
    from segnosis.doctor.evidence.encodings import Encoding
    from segnosis.doctor.evidence.heads import Head
    from segnosis.doctor.evidence.perfect_prediction import Probe

CODE, SEVERITY = "LAB007", "error"

_SPARSE = {
    "categorical_crossentropy": "sparse_categorical_crossentropy",
    "CategoricalCrossentropy": "SparseCategoricalCrossentropy",
}


def check(
    heads: Sequence[Head],
    encodings: Mapping[str, Encoding],
    *,
    min_share: float = 0.5,
    perfect_prediction: Mapping[str, Probe] | None = None,
) -> Verdict:
    judged = [(head, encodings[head.name]) for head in heads if head.loss is not None and head.name in encodings]
    if not judged:
        return NotApplicable("no output has both a loss and a target")
    measured: dict[str, float | str | None] = {}
    for head, encoding in judged:
        probe = (perfect_prediction or {}).get(head.name)
        probed = probe.loss if probe is not None else None
        channels = encoding.channels or 1
        one_plane = not encoding.has_axis or encoding.shape[-1] == 1
        measured = {
            "head": head.name,
            "mask_encoding": encoding.kind,
            "mask_shape": str(encoding.shape),
            "channels": encoding.channels,
            "loss": head.loss_name,
            "perfect_prediction_costs": probed.fitting.perfect if probed and probed.fitting else None,
            "loss_raised": probed.raised if probed else None,
        }
        whole = sum(count for value, count in encoding.values.items() if value in (0.0, 1.0))
        mostly_bits = whole >= min_share * max(1, sum(encoding.values.values()))
        if head.family == "sparse" and not one_plane and mostly_bits:
            return Finding(
                says=f"The masks are one-hot, shape {encoding.shape}, and {head.loss_name} wants one plane of class "
                f"ids: "
                "`fit()` stops with an error about ranks.",
                measured=measured,
                fix=f"`loss={_dense(head)}`, or `masks.argmax(axis=-1)`.",
                where=head.place,
            )
        if one_plane and channels > 1 and head.family in ("one-hot", "binary", "overlap"):
            return Finding(
                says=f"The masks are one plane of class ids, shape {encoding.shape}, and {head.loss_name} compares "
                f"them "
                f"with each of the {channels} channels of `{head.place[0]}`{_effect(head, measured)}.",
                measured=measured,
                fix=_fix_plane(head, channels),
                where=head.place,
            )
        if probed is not None and probed.raised and probed.accepts:
            return Finding(
                says=f"{head.loss_name} raises on masks of shape {encoding.shape} ({encoding.kind}) against {channels} "
                f"channels ({probed.raised}), and takes the same masks as {probed.accepts}.",
                measured=measured,
                fix=f"`keras.utils.to_categorical(masks, {channels})` for the masks."
                if probed.accepts == "one-hot"
                else "`masks.argmax(axis=-1)` for the masks.",
                where=head.place,
            )
    return Healthy(measured)


def _effect(head: Head, measured: Mapping[str, float | str | None]) -> str:
    perfect = measured["perfect_prediction_costs"]
    if head.family == "overlap":
        return f" by broadcasting; a perfect prediction then costs {perfect:.2f}" if isinstance(perfect, float) else ""
    return ": `fit()` stops with an error about shapes"


def _dense(head: Head) -> str:
    written = {"sparse_categorical_crossentropy": '"categorical_crossentropy"'}
    logits = "from_logits=True" if head.from_logits else ""
    return written.get(head.loss_name) or f"keras.losses.CategoricalCrossentropy({logits})"


def _fix_plane(head: Head, channels: int) -> str:
    to_one_hot = f"`keras.utils.to_categorical(masks, {channels})` for the masks"
    if head.family == "one-hot" and head.loss_name in _SPARSE:
        name = _SPARSE[head.loss_name]
        logits = "from_logits=True" if head.from_logits else ""
        return (
            f'`loss="{name}"`, or {to_one_hot}.'
            if name.islower()
            else (f"`loss=keras.losses.{name}({logits})`, or {to_one_hot}.")
        )
    if head.family == "binary" and channels == 2:
        return (
            "`loss=keras.losses.SparseCategoricalCrossentropy()`, or a head of one channel: "
            '`Conv2D(1, 1, activation="sigmoid")`.'
        )
    return f"{to_one_hot[0].upper()}{to_one_hot[1:]}."


def sick() -> Case:
    return Case(model=segmenter(3, "softmax"), loss="categorical_crossentropy", batches=squares("ids"))


def healthy() -> Case:
    return Case(model=segmenter(3, "softmax"), loss="categorical_crossentropy", batches=squares("one-hot"))
