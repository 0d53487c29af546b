"""After training the model predicts nothing but one class.

## What it looks for
A model that was trained, for at least 50 steps or through a history of five epochs, whose predictions on all batches
are one class although the masks hold others; where there is a history, its loss must have been flat, within 5 %, over
its second half. A model that was not trained yet is not judged: nobody knows what it will do.

## Why the model does not learn
Predicting background everywhere costs little where background is nearly everything: with a share f of foreground the
cross-entropy of it is −f·ln f − (1−f)·ln(1−f), the best an answer that ignores the image can do. This is an outcome:
whatever is found above it is the cause.

## What to do
`loss=segnosis.losses.Sum([segnosis.losses.CrossEntropy(), segnosis.losses.Dice()])`, batches that hold foreground,
enough resolution for the smallest object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.planned_training import PlannedTraining
from segnosis.doctor.evidence.predictions import Predictions
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "OUT001", "error"
EXPLAINED_BY = ("DAT", "LAB", "PRE", "HED", "LOS", "MET", "NRM", "OPT")


def check(
    predictions: Predictions,
    planned_training: PlannedTraining,
    *,
    min_steps: int = 50,
    min_epochs: int = 5,
    max_change: float = 0.05,
    min_images: int = 4,
    history: Mapping[str, Sequence[float]] | None = None,
    reference_numbers: Mapping[str, Mapping[str, float]] | None = None,
) -> Verdict:
    loss = list((history or {}).get("data_loss") or (history or {}).get("loss") or ())
    if planned_training.done < min_steps and len(loss) < min_epochs:
        trained = f"{len(loss)} epochs" if loss else f"{planned_training.done} steps"
        return NotApplicable(f"the model was trained for {trained} only")
    if len(predictions.images) < min_images:
        return NotApplicable(f"{len(predictions.images)} images are too few to judge by")
    numbers = (reference_numbers or {}).get(predictions.head, {})
    half = loss[len(loss) // 2 :]
    change = abs(half[0] - half[-1]) / max(1e-12, abs(half[0])) if len(loss) >= min_epochs else None
    measured: dict[str, float | str | None] = {
        "predicted_classes": ", ".join(map(str, predictions.classes)),
        "true_classes": ", ".join(map(str, predictions.true_classes)),
        "foreground_share": predictions.foreground,
        "mean_foreground_probability": predictions.mean_probability,
        "class_prior_entropy": numbers.get("class_prior"),
        "all_background_iou": numbers.get("all_background_iou"),
        "last_loss": loss[-1] if loss else None,
        "loss_change_in_second_half": change,
        "steps_trained": planned_training.done,
        "images": len(predictions.images),
    }
    if (
        len(predictions.classes) > 1
        or len(predictions.true_classes) < 2
        or (change is not None and change > max_change)
    ):
        return Healthy(measured)
    what = "background" if predictions.classes == (0,) else f"class {predictions.classes[0]}"
    prior = numbers.get("class_prior")
    return Finding(
        says=f"All pixels of {len(predictions.images)} images are predicted {what}; {predictions.foreground:.1%} are "
        "foreground."
        + (f" An answer that ignores the image costs {prior:.3g} at best" if prior else "")
        + (f", and the loss stands at {loss[-1]:.3g}." if prior and loss else "." if prior else ""),
        measured=measured,
        fix="`loss=segnosis.losses.Sum([segnosis.losses.CrossEntropy(), segnosis.losses.Dice()])` on logits, and "
        "batches of crops that hold foreground.",
        level="suspected",
    )


def mend(case: Case) -> Case:
    """The compiled loss with a soft Dice over foreground added, for models of one output."""
    import keras
    import numpy as np

    from segnosis.doctor.evidence import Unavailable
    from segnosis.doctor.examine import Evidence

    evidence = Evidence(case)
    head = evidence.get("heads")[0]
    encoding = evidence.get("encodings")[head.name]
    if head.count != 1 or head.loss is None or encoding.kind not in ("ids", "binary", "one-hot"):
        raise Unavailable("a Dice term can be added for one output of class ids, one-hot or binary masks")
    classes = max(2, int(encoding.num_classes))
    is_probability = evidence.get("forward")[head.name].format in ("probabilities", "sigmoid")

    def with_dice(y_true: object, y_pred: object) -> object:
        ops = keras.ops
        own = ops.mean(head.loss(y_true, y_pred))
        if encoding.kind == "one-hot" or encoding.channels == 1:
            truth = ops.reshape(ops.cast(y_true, "float32"), ops.shape(y_pred))
        else:
            truth = ops.reshape(ops.one_hot(ops.cast(y_true, "int32"), classes), ops.shape(y_pred))
        p = y_pred
        if not is_probability:
            p = ops.sigmoid(y_pred) if encoding.channels == 1 else ops.softmax(y_pred, axis=-1)
        if encoding.channels != 1:
            truth, p = truth[..., 1:], p[..., 1:]  # type: ignore[index]
        axes = tuple(np.arange(len(p.shape) - 1))  # type: ignore[attr-defined]
        overlap = ops.sum(truth * p, axis=axes)
        dice = (2 * overlap + 1e-3) / (ops.sum(truth, axis=axes) + ops.sum(p, axis=axes) + 1e-3)
        return own + 1 - ops.mean(dice)

    return replace(case, loss=with_dice)


def _case(bias: float) -> Case:
    import keras

    model = segmenter(1, "sigmoid")
    kernel, start = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([20 * kernel, start + bias])
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(500)
    return Case(
        model=model,
        loss="binary_crossentropy",
        optimizer=optimizer,
        batches=squares("binary", num_classes=2),
        history={"loss": [0.5, 0.2, 0.19, 0.19, 0.19, 0.19]},
    )


def sick() -> Case:
    return _case(-50.0)


def healthy() -> Case:
    return _case(0.0)
