"""The scores collapse where the training was changed.

## What it looks for
An epoch where the learning rate at least doubles, or more weights become trainable, after which a score falls by more
than 30 % within two epochs. Before there is a history: a rate that the program's own lines set for a later `fit`, ten
times or more that of this one and far above the usual of its optimizer.

## Why the model does not learn
Freshly unfrozen layers meet large gradients from a head that is not done yet, at a rate meant for the head: what was
pretrained is overwritten in a few steps.

## What to do
Compile again with a tenth of the rate, `optimizer=keras.optimizers.Adam(1e-5)`, warm up, and unfreeze once the head
has settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segnosis.doctor.case import Case, Script
from segnosis.doctor.evidence.planned_training import PlannedTraining
from segnosis.doctor.evidence.stages_ahead import StageAhead, default_rate
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "NRM004", "warning"

_SCORES = ("foreground_iou", "foreground_dice", "iou", "io_u", "jaccard", "dice", "f1", "accuracy", "acc")
"""Parts of names, the most telling first; Keras itself calls its `BinaryIoU` "binary_io_u"."""


def check(
    history: Mapping[str, Sequence[float]] | None = None,
    stages_ahead: tuple[StageAhead, ...] | None = None,
    planned_training: PlannedTraining | None = None,
    optimizer: Any = None,
    *,
    max_drop: float = 0.3,
    min_jump: float = 2.0,
    min_score: float = 0.1,
    max_jump_ahead: float = 10.0,
    max_above_usual: float = 5.0,
) -> Verdict:
    if history is None:
        if stages_ahead and planned_training is not None and planned_training.rate:
            own = type(optimizer).__name__
            return _ahead(stages_ahead, own, planned_training.rate, max_jump_ahead, max_above_usual)
        return NotApplicable("there is no history, and no later stage whose rate the program's text tells")
    rates = next((list(history[name]) for name in ("learning_rate", "lr") if name in history), [])
    counts = list(history.get("trainable_weights", ()))
    name = _score(history)
    if name is None or not (rates or counts):
        return NotApplicable("the history holds no score, or neither learning rates nor counts of trainable weights")
    scores = list(history[name])
    changes = [
        epoch
        for epoch in range(1, len(scores))
        if (len(rates) > epoch and rates[epoch] >= min_jump * rates[epoch - 1] > 0)
        or (len(counts) > epoch and counts[epoch] > counts[epoch - 1])
    ]
    drops = {epoch: 1 - min(scores[epoch : epoch + 2]) / max(1e-12, max(scores[:epoch][-3:])) for epoch in changes}
    worst = max(drops, key=lambda epoch: drops[epoch], default=None)
    measured: dict[str, float | str | None] = {
        "score": name,
        "changes": len(changes),
        "worst_drop": drops[worst] if worst is not None else 0.0,
    }
    if worst is None or drops[worst] <= max_drop or max(scores[:worst][-3:]) < min_score:
        return Healthy(measured)
    after = min(scores[worst : worst + 2])
    what = "the learning rate" if len(rates) > worst and rates[worst] > rates[worst - 1] else "the trainable weights"
    fix = (
        f"`optimizer=keras.optimizers.Adam({rates[worst] / 10:.0e})` from there on" if rates else "A tenth of the rate"
    )
    return Finding(
        says=f"`{name}` falls from {scores[worst - 1]:.3f} to {after:.3f} in epoch {worst + 1}, where {what} rise.",
        measured=measured,
        fix=f"{fix}, with a few warm-up epochs.",
        level="suspected",
    )


def _ahead(
    stages: Sequence[StageAhead], optimizer: str, rate: float, max_jump: float, max_above_usual: float
) -> Verdict:
    """The highest rate of a later stage, in units of what its optimizer usually has."""

    def usual(kind: str) -> float:
        return default_rate(kind or optimizer) or rate

    highest = max(stages, key=lambda stage: stage.rate / usual(stage.optimizer))
    name, above = highest.optimizer or optimizer, highest.rate / usual(highest.optimizer)
    jump = above / (rate / usual(optimizer))
    measured = {"rate": rate, "rate_ahead": highest.rate, "line_ahead": highest.line, "times_usual": above}
    if jump < max_jump or above < max_above_usual:
        return Healthy(measured)
    return Finding(
        says=f"Line {highest.line} goes on with {name} at {highest.rate:g}, after {optimizer} at {rate:g}: {jump:.3g} "
        "times as fast over what will have been learned by then.",
        measured=measured,
        fix=f"Line {highest.line}: `optimizer=keras.optimizers.{name}({usual(highest.optimizer) / 10:.0e})`.",
        level="suspected",
    )


def _score(history: Mapping[str, Sequence[float]]) -> str | None:
    return next((name for part in _SCORES for name in sorted(history, reverse=True) if part in name), None)


def _case(after: float) -> Case:
    return Case(
        history={
            "val_mean_iou": [0.3, 0.5, 0.6, after, after + 0.05],
            "learning_rate": [1e-4, 1e-4, 1e-4, 1e-3, 1e-3],
        }
    )


def _staged(rate: float) -> Case:
    import keras

    script = Script("train.py", 1, source=f"m.fit(x)\nm.compile(keras.optimizers.Adam({rate}))\nm.fit(x)\n")
    return Case(script=script, optimizer=keras.optimizers.Adam(1e-3), fit_arguments={"epochs": 4})


def sick() -> Case:
    return _case(0.2)


def sick_ahead() -> Case:
    return _staged(0.1)


def healthy_ahead() -> Case:
    return _staged(1e-4)


def healthy_above_a_warm_up() -> Case:
    """From a small rate to the usual one: a warm-up by hand."""
    case = _staged(1e-3)
    case.optimizer.learning_rate = 1e-5
    return case


def healthy() -> Case:
    return _case(0.58)
