"""The model is learning: wait.

## What it looks for
A history whose loss still falls at the end: over its last quarter by more than 1 % of itself an epoch, and in most of
those epochs; validation, where there is one, not worse for three epochs. A plan of fewer than 30 steps in all, as
the user said it, for a model that was not trained before. And a callback that ends the training, or keeps an epoch, by
a mode that takes worse for better.

## Why the model does not learn
It does. It was stopped early.

## What to do
More epochs, or `steps_per_epoch` left out. This is a note, not a fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.monitors import Monitor, first_reversed
from segnosis.doctor.evidence.planned_training import PlannedTraining
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "OPT003", "note"
EXPLAINED_BY = ("DAT", "LAB", "PRE", "HED", "LOS", "NRM", "OPT001", "OPT002", "OUT002")


def check(
    history: Mapping[str, Sequence[float]] | None = None,
    planned_training: PlannedTraining | None = None,
    *,
    min_epochs: int = 4,
    min_fall: float = 0.01,
    min_steps: int = 30,
    monitors: tuple[Monitor, ...] | None = None,
) -> Verdict:
    reversed_ = first_reversed(monitors, "EarlyStopping", "ModelCheckpoint")
    if reversed_ is not None:
        return Finding(
            says=f"{reversed_.said} 1 of {len(monitors or ())} that watch a number.",
            measured={"monitor": reversed_.monitor, "mode": reversed_.mode, "monitors": len(monitors or ())},
            fix=f"`mode='{reversed_.better}'` in `{reversed_.callback}`: it ends the training, or keeps the epoch, "
            "where the number is worst.",
            level="suspected",
        )
    planned = planned_training
    steps = planned.total if planned is not None and planned.is_said else None
    if planned is not None and steps is not None and steps < min_steps and (history or not planned.done):
        return Finding(
            says=f"{steps} steps are planned in all ({planned.epochs} epochs of "
            f"{planned.steps_per_epoch}): no network that starts anew learns masks in so few.",
            measured={"planned_steps": steps, "epochs": planned.epochs},
            fix="More `epochs`, and no `steps_per_epoch` smaller than the data set; a few hundred steps are the least.",
            level="suspected",
        )
    if history is None:
        return NotApplicable("no `history` was given")
    loss = list(history.get("data_loss") or history.get("loss") or ())
    if len(loss) < min_epochs:
        return NotApplicable(f"the history has {len(loss)} epochs, {min_epochs} are needed")
    tail = loss[-max(3, len(loss) // 4) :]
    fall = (tail[0] - tail[-1]) / max(1e-12, abs(tail[0])) / (len(tail) - 1)
    falling = sum(after < before for before, after in pairwise(tail)) / (len(tail) - 1)
    validation = list(history.get("val_loss") or ())
    best = min(range(len(validation)), key=validation.__getitem__, default=0)
    since = len(validation) - 1 - best
    worse = len(validation) == len(loss) and since >= 3 and validation[-1] > 1.05 * validation[best]
    measured: dict[str, float | str | None] = {
        "epochs": len(loss),
        "first_loss": loss[0],
        "last_loss": loss[-1],
        "fall_per_epoch_at_the_end": fall,
        "share_of_falling_epochs": falling,
        "planned_steps": planned.total if planned else None,
    }
    if fall > min_fall and falling > 0.5 and not worse:
        return Finding(
            says=f"The loss falls by {fall:.1%} an epoch after {len(loss)} epochs ({loss[0]:.3g} → {loss[-1]:.3g}): "
            "the model is learning, and was stopped early.",
            measured=measured,
            fix=f"`epochs={3 * len(loss)}`.",
        )
    return Healthy(measured)


def sick() -> Case:
    return Case(history={"loss": [0.9**epoch for epoch in range(8)]})


def sick_by_its_mode() -> Case:
    import keras

    stop = keras.callbacks.EarlyStopping(monitor="val_loss", mode="max", patience=5, start_from_epoch=1)
    return Case(fit_arguments={"callbacks": [stop]})


def healthy() -> Case:
    return Case(history={"loss": [0.1 + 0.3**epoch for epoch in range(20)]})
