"""The metric is fed with something it cannot read.

## What it looks for
Every score (IoU, Dice, accuracy, precision, recall, by class or name) is given a perfect prediction in the format of
the head, then a grey, a shuffled and a wrong one. Perfect must be 1, and better than the others. Synthetic masks with
every class in every image are used, so absent classes and smoothing terms excuse nothing and blame nobody. What a
`test_step` of the model's own reports is asked in the same way, the model answering the prediction.

## Why the model does not learn
It may learn all the same, and nobody sees it: `MeanIoU` rounds probabilities down to class 0 and stays at one constant;
an accuracy that compares ids with channels means nothing. Callbacks that watch such a metric keep the wrong epoch or
stop early.

## What to do
`keras.metrics.BinaryIoU` for one sigmoid channel, `sparse_y_pred=False` for a channel per class,
`sparse_y_true=False` for one-hot masks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segnosis.doctor.case import Case
from segnosis.doctor.evidence._probed_metric import ProbedMetric
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.perfect_prediction import Probe
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "MET001", "error"
EXPLAINED_BY = ("HED003", "HED002", "LAB007")

_SCORE = re.compile(r"dice|iou|i_o_u|jaccard|f1|f_?beta|f_?score|acc|overlap|precision|recall|sensitivity|specificity")
_NO_SCORE = re.compile(r"loss|error|distance|hausdorff|entropy|coef_?neg")


def check(
    heads: Sequence[Head],
    encodings: Mapping[str, Encoding],
    perfect_prediction: Mapping[str, Probe],
    *,
    max_gap: float = 0.06,
) -> Verdict:
    measured: dict[str, Any] = {}
    worst: Finding | None = None
    suspected: Finding | None = None
    for head in heads:
        probe = perfect_prediction.get(head.name)
        for metric in probe.metrics if probe is not None else ():
            key = f"{head.name}/{metric.name}" if len(heads) > 1 else metric.name
            measured[key] = _plain(metric.values.perfect) if metric.values else "raises"
            if not _is_score(metric):
                suspected = suspected or _above_one(metric, measured, max_gap)
                continue
            problem = _problem(metric, max_gap)
            if problem is not None and worst is None:
                worst = Finding(
                    says=f"The metric {metric.name} {problem}.",
                    measured=measured,
                    fix=_fix(head, encodings[head.name], metric),
                    where=(metric.name,),
                )
    if worst is not None or suspected is not None:
        return worst or suspected  # type: ignore[return-value]
    return Healthy(measured) if measured else NotApplicable("no metric could be asked about a known prediction")


def _above_one(metric: ProbedMetric, measured: dict[str, Any], max_gap: float) -> Finding | None:
    """Of a name that tells nothing: what is 0 for background alone and little above 1 for a perfect prediction."""
    known = metric.values
    if known is None or not (1 + max_gap < known.perfect < 2 and abs(metric.background) < max_gap):
        return None
    if not max(known.wrong, known.shuffled) < known.perfect - max_gap:
        return None
    return Finding(
        says=f"{metric.name} is {metric.background:.3f} for background alone and {known.perfect:.3f} for a perfect "
        "prediction: a share of more than 1.",
        measured=measured,
        fix=f"In `{metric.of}`, compare 0 and 1 with 0 and 1: `keras.ops.cast(ids > 0, 'float32')` of class ids.",
        where=(metric.name,),
        level="suspected",
    )


def _plain(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def _is_score(metric: ProbedMetric) -> bool:
    words = f"{metric.name} {metric.of}".lower()
    return bool(_SCORE.search(words)) and not _NO_SCORE.search(words)


def _problem(metric: ProbedMetric, max_gap: float) -> str | None:
    if metric.raised:
        return f"raises on these masks and outputs: {metric.raised}"
    known = metric.values
    if known is None:
        return None
    others = [known.grey, known.shuffled, known.wrong, metric.background]
    if not np.isfinite(known.perfect):
        return f"is {known.perfect} for a perfect prediction"
    if max(abs(value - known.perfect) for value in others) < 1e-6:
        return f"is {known.perfect:.3f} for a perfect prediction, and the same for a grey, a shuffled and a wrong one"
    if known.wrong > known.perfect + max_gap:
        return (
            f"is {known.perfect:.3f} for a perfect prediction and {known.wrong:.3f} for a wrong one: it moves the "
            "other way"
        )
    if abs(known.perfect - 1) > max_gap and known.perfect > -0.5:
        return f"is {known.perfect:.3f} for a perfect prediction, where 1 is right"
    return None


def _fix(head: Head, encoding: Encoding, metric: ProbedMetric) -> str:
    channels, classes = encoding.channels or 1, encoding.num_classes
    if metric.of in ("MeanIoU", "IoU", "OneHotMeanIoU", "OneHotIoU", "BinaryIoU"):
        if channels == 1:
            logits = not any(step.does == "sigmoid" for step in head.activations) and head.known
            return f"`keras.metrics.BinaryIoU(target_class_ids=[1], threshold={0.0 if logits else 0.5})`."
        one_hot = encoding.kind in ("one-hot", "soft", "multilabel")
        true = "sparse_y_true=False, " if one_hot else ""
        return f"`keras.metrics.MeanIoU(num_classes={classes}, {true}sparse_y_pred=False)`."
    if "acc" in metric.of.lower():
        name = "SparseCategoricalAccuracy" if encoding.kind == "ids" else "CategoricalAccuracy"
        return f'`keras.metrics.{"BinaryAccuracy" if channels == 1 else name}()`, or `metrics=["accuracy"]`.'
    shape = "keras.ops.cast(y_pred > 0.5, y_true.dtype)" if channels == 1 else "keras.ops.argmax(y_pred, axis=-1)"
    return (
        f"Bring both sides of `{metric.of}` to one form first, with `{shape}` for the prediction; or "
        f"`segnosis.metrics.MeanIoU(num_classes={classes})`."
    )


def sick() -> Case:
    import keras

    return Case(
        model=segmenter(1, "sigmoid"),
        loss="binary_crossentropy",
        metrics=["accuracy", keras.metrics.MeanIoU(num_classes=2)],
        batches=squares("binary", num_classes=2),
    )


def healthy() -> Case:
    import keras

    return Case(
        model=segmenter(1, "sigmoid"),
        loss="binary_crossentropy",
        metrics=["accuracy", keras.metrics.BinaryIoU(target_class_ids=[1])],
        batches=squares("binary", num_classes=2),
    )
