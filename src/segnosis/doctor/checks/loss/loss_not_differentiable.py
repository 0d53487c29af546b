"""The loss has no gradient, so nothing can be learned from it.

## What it looks for
A loss whose gradient is exactly 0 on soft predictions although its value changes with them: a threshold, an arg-max, a
rounding or a metric used as a loss. And a model whose output passes such an operation: the loss has a gradient, and
not one trainable weight receives any of it. Of a `train_step` of your own one step is made on a copy, and what it gives
to its optimizer is looked at.

## Why the model does not learn
Training moves weights along the gradient. Where that is 0 everywhere the loss stays the same to the last digit. Most
frameworks do not complain.

## What to do
Compute the loss on the probabilities themselves: a soft Dice, a cross-entropy. Threshold in the metric, not in the
loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.gradients import Gradients
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.loss_gradients import LossGradient
from segnosis.doctor.evidence.own_step import OwnStep
from segnosis.doctor.evidence.perfect_prediction import Probe
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LOS001", "error"
EXPLAINED_BY = ("HED003", "HED004", "LOS002")


def check(
    heads: Sequence[Head],
    loss_gradients: Mapping[str, LossGradient] | None = None,
    *,
    min_change: float = 1e-6,
    perfect_prediction: Mapping[str, Probe] | None = None,
    gradients: Gradients | None = None,
    own_step: OwnStep | None = None,
) -> Verdict:
    if own_step is not None and own_step.applied and own_step.trainable and own_step.largest == 0:
        stops = f", and `fit` stops with {own_step.raised}" if own_step.raised else ""
        return Finding(
            says=f"One step of your `train_step` gives the optimizer {own_step.known} gradients for {own_step.given} "
            f"variables, the largest {own_step.largest:g}{stops}: a threshold, rounding or arg-max is inside its loss.",
            measured={"gradients": own_step.known, "variables": own_step.given, "largest_gradient": own_step.largest},
            fix="Compute the loss in `train_step` on the probabilities themselves: a soft Dice, a cross-entropy.",
            where=("train_step",),
        )
    if not loss_gradients:
        return NotApplicable("no output has both a loss and a target")
    norm = gradients.data_norm if gradients is not None and np.isfinite(gradients.data_norm) else None
    measured: dict[str, float | str | None] = {"gradient_norm": norm}
    for head in heads:
        slope = loss_gradients.get(head.name)
        if slope is None or slope.raised:
            continue
        largest = max((float(abs(array).max()) for array in slope.arrays), default=0.0)
        probe = (perfect_prediction or {}).get(head.name)
        known = probe.loss.fitting if probe is not None and probe.loss is not None else None
        measured = {
            "head": head.name,
            "loss": head.loss_name,
            "value": slope.values[0] if np.isfinite(slope.values[0]) else None,
            "largest_gradient_at_output": largest if np.isfinite(largest) else None,
            "gradient_norm": norm,
        }
        changes = known is not None and known.range > min_change
        if changes and largest == 0 and probe is not None and probe.loss is not None and probe.loss.zero_gradient:
            return Finding(
                says=f"The loss {head.loss_name} is {slope.values[0]:.4g} and has a gradient of exactly 0 at every "
                f"pixel of "
                f"{len(slope.arrays)} batches, and on soft predictions too: a threshold, rounding or arg-max is "
                f"inside.",
                measured=measured,
                fix=f"Remove the threshold (`> 0.5`, `round`, `argmax`) from `{head.loss_name}` and compute it on the "
                "probabilities; or `loss=segnosis.losses.Dice(from_logits=False)`.",
                where=(head.loss_name,),
            )
    return _through_the_model(heads, loss_gradients, gradients, measured) or Healthy(measured)


def _through_the_model(
    heads: Sequence[Head],
    loss_gradients: Mapping[str, LossGradient],
    gradients: Gradients | None,
    measured: Mapping[str, Any],
) -> Finding | None:
    pulled = any(slope.arrays and abs(slope.arrays[0]).max() > 0 for slope in loss_gradients.values())
    if gradients is None or not gradients.finite or not pulled or any(s.data for s in gradients.slopes):
        return None
    steps = [step.layer for head in heads for step in head.steps if step.does == "thresholds"]
    if not steps and all(head.known for head in heads):
        return None  # dead units or a frozen head stop it: other checks look there
    place = f"`{steps[-1]}` emits whole numbers" if steps else "the model's own `call` cuts it off"
    return Finding(
        says=f"The loss has a gradient at the model's output, and all {len(gradients.slopes)} trainable weights "
        f"receive "
        f"exactly 0 of it: {place}.",
        measured=measured,
        fix=f"Remove `{steps[-1]}` from the model and take the arg-max when predicting."
        if steps
        else "Remove arg-max, rounding, `stop_gradient` or numpy from the model's `call`.",
        where=tuple(steps) or tuple(head.name for head in heads),
        level="proven" if steps else "suspected",
    )


def sick() -> Case:
    def hard_dice(y_true: Any, y_pred: Any) -> Any:
        import keras

        hard = keras.ops.cast(y_pred > 0.5, "float32")
        return 1 - 2 * keras.ops.sum(y_true * hard) / (keras.ops.sum(y_true) + keras.ops.sum(hard) + 1)

    return Case(model=segmenter(1, "sigmoid"), loss=hard_dice, batches=squares("binary", num_classes=2))


def healthy() -> Case:
    def soft_dice(y_true: Any, y_pred: Any) -> Any:
        import keras

        return 1 - 2 * keras.ops.sum(y_true * y_pred) / (keras.ops.sum(y_true) + keras.ops.sum(y_pred) + 1)

    return Case(model=segmenter(1, "sigmoid"), loss=soft_dice, batches=squares("binary", num_classes=2))
