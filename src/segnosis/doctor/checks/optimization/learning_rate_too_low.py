"""The steps are too small to get anywhere in the planned time.

## What it looks for
First the optimizer alone: a copy of it moves one number per kernel, along the measured gradient, all steps in one
direction. When no kernel can change by more than 1 % in all planned steps, even were the gradient ten times as large,
that is proof; where the same holds for any gradient, as with Adam and Adadelta, no fault of data or loss explains it.
Schedules count with all their steps. Otherwise, where a step is shorter than 0.002 of the kernel on average over the
plan, copies are trained: the whole plan in a few dozen steps, each as many times larger, against at most 60 steps of
Adam(1e-3), on three batches. The plan must come to less than half of what Adam does, or, where Adam gets well below
what guessing by class frequency costs, hardly below it. Suspected at least: a schedule that is over after a few of the
planned steps, and a `ReduceLROnPlateau` whose mode takes worse for better.

## Why the model does not learn
It does, by a little: the loss falls monotonically and slowly, often no further than what guessing the commonest class
costs. Adadelta expects rates near 1; SGD on a mean over many pixels expects 0.01 and more.

## What to do
`optimizer=keras.optimizers.Adam(1e-3)`; or a rate ten to a hundred times larger; or a schedule that decays over the
whole training, not over its first steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.monitors import Monitor, first_reversed
from segnosis.doctor.evidence.planned_movement import PlannedMovement
from segnosis.doctor.evidence.planned_training import PlannedTraining
from segnosis.doctor.evidence.rate_trials import RateTrials
from segnosis.doctor.evidence.trainable_map import TrainableMap
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "OPT002", "error"
EXPLAINED_BY = ("DAT", "LAB", "PRE", "HED", "LOS", "NRM")


def check(
    planned_movement: PlannedMovement,
    planned_training: PlannedTraining,
    trainable_map: TrainableMap,
    *,
    max_moved: float = 0.01,
    max_progress: float = 0.5,
    max_progress_of_schedule: float = 0.8,
    min_fall: float = 0.3,
    max_against_guessing: float = 0.7,
    max_gain_over_guessing: float = 0.2,
    min_steps_that_count: int = 60,
    min_share_that_counts: float = 0.15,
    rate_trials: RateTrials | None = None,
    reference_numbers: Mapping[str, Mapping[str, float]] | None = None,
    monitors: tuple[Monitor, ...] | None = None,
) -> Verdict:
    moved = planned_movement
    prior = min((numbers["class_prior"] for numbers in (reference_numbers or {}).values()), default=None)
    measured: dict[str, float | str | None] = {
        "optimizer": moved.optimizer,
        "learning_rate": moved.rate,
        "planned_steps": moved.steps,
        "steps_are_known": str(planned_training.is_said).lower(),
        "step_per_kernel": moved.per_step,
        "mean_rate": moved.mean_share * moved.rate,
        "steps_that_count": moved.steps_that_count,
        "planned_change_at_most": moved.at_most if moved.knows_gradients else None,
        "class_prior_entropy": prior,
    }
    decays = moved.mean_share < 0.5 and moved.steps_that_count < moved.steps / 2
    name = f"{moved.optimizer}({moved.rate:g})"
    fix = f"`optimizer=keras.optimizers.Adam(1e-3)` in place of {name}."
    if decays:
        name += f", whose schedule ends at step {moved.steps_that_count} for all that weights notice,"
        fix = (
            f"`keras.optimizers.schedules.CosineDecay({moved.rate:g}, decay_steps={moved.steps})` in place of the "
            "schedule, or no schedule at all."
        )
    if (moved.at_most if moved.knows_gradients else moved.regardless) < max_moved:
        fresh = any(part.is_trainable and part.is_drawn for part in trainable_map.parts)
        return Finding(
            says=f"{name} can change no kernel by more than {min(moved.at_most, moved.regardless):.2g} of its "
            f"size in {moved.steps} steps, were every step in one direction: nothing can be learned.",
            measured=measured,
            fix=fix,
            level="proven" if fresh else "suspected",
            independent=moved.regardless < max_moved,
        )
    if not moved.knows_gradients:
        return NotApplicable("the rate is no contradiction, and no gradient could be measured")
    suspicion: Finding | None = None
    plateau = first_reversed(monitors, "ReduceLROnPlateau")
    if plateau is not None:
        suspicion = Finding(
            says=plateau.said,
            measured={**measured, "monitor": plateau.monitor, "mode": plateau.mode},
            fix=f"`mode='{plateau.better}'` in `ReduceLROnPlateau`: it lowers the rate while the model learns.",
            level="suspected",
        )
    elif (
        decays
        and moved.steps_that_count < min(min_steps_that_count, min_share_that_counts * moved.steps)
        and planned_training.is_said
        and not planned_training.done
    ):
        suspicion = Finding(
            says=f"{name} leaves {moved.steps - moved.steps_that_count} of {moved.steps} planned steps to a rate of "
            "next to nothing: the schedule counts in other steps than the training.",
            measured=measured,
            fix=fix,
            level="suspected",
        )
    if rate_trials is None or rate_trials.asks != "too-low":
        return suspicion or Healthy(measured)
    if rate_trials.gave_up:
        because = f"the steps are small, but {rate_trials.gave_up}; `--prove` takes the time"
        return suspicion or NotApplicable(because)
    if not rate_trials.faithful:  # the plan moves the kernels by more than their own size
        return suspicion or Healthy(measured)
    planned, reference = rate_trials.trials
    progress = [
        (start - end) / (start - best) if start > best else 1.0
        for start, end, best in zip(planned.start, planned.end, reference.end, strict=True)
    ]
    falls = [1 - best / start for start, best in zip(reference.start, reference.end, strict=True) if start > 0]
    measured |= {
        "loss_at_start": _mean(planned.start),
        "loss_after_the_plan": _mean(planned.end),
        "loss_after_reference": _mean(reference.end),
        "reference_steps": reference.steps,
        "trials": len(progress),
    }
    guesses = (
        all(
            best < max_against_guessing * guess and guess - end < max_gain_over_guessing * (guess - best)
            for end, best, guess in zip(planned.end, reference.end, rate_trials.guessing, strict=True)
        )
        if rate_trials.guessing
        else False
    )
    if (
        falls
        and min(falls) > min_fall
        and (max(progress) < (max_progress_of_schedule if decays else max_progress) or guesses)
    ):
        sure = len(progress) >= 3 and planned_training.is_said
        return Finding(
            says=f"All {moved.steps} planned steps of {name} take the loss from "
            f"{_mean(planned.start):.3g} to about {_mean(planned.end):.3g}; {reference.steps} steps of Adam(0.001) "
            f"take it to {_mean(reference.end):.3g} ({len(progress)} of {len(progress)} batches)."
            + (f" Guessing by class frequency costs {prior:.3g}." if prior is not None else ""),
            measured=measured,
            fix=fix,
            level="confirmed" if sure else "suspected",
        )
    return suspicion or Healthy(measured)


def mend(case: Case) -> Case:
    """Adam at 1e-3 in place of the user's optimizer."""
    import keras

    return replace(case, optimizer=keras.optimizers.Adam(1e-3))


def _mean(values: tuple[float, ...]) -> float:
    mean = sum(values) / len(values)
    return mean if mean - mean == 0 else 1e38


def _case(optimizer: str, rate: Any) -> Case:
    """Bright squares behind three wide layers, which Adam learns within 40 steps."""
    import keras

    given = {"Adadelta": keras.optimizers.Adadelta, "Adam": keras.optimizers.Adam, "SGD": keras.optimizers.SGD}
    wide = [
        keras.layers.Conv2D(
            48, 3, padding="same", activation="relu", kernel_initializer=keras.initializers.HeNormal(seed=seed)
        )
        for seed in (3, 4)
    ]
    return Case(
        model=segmenter(3, "softmax", before=wide),
        loss="categorical_crossentropy",
        optimizer=given[optimizer](rate),
        batches=squares("one-hot", count=1),
        fit_arguments={"epochs": 20, "steps_per_epoch": 50},
    )


def sick() -> Case:
    return _case("Adadelta", 1e-5)


def sick_by_trial() -> Case:
    return _case("SGD", 1e-4)


def sick_by_its_schedule() -> Case:
    import keras

    return _case("Adam", keras.optimizers.schedules.ExponentialDecay(2e-4, decay_steps=1, decay_rate=0.5))


def sick_by_a_schedule_in_epochs() -> Case:
    import keras

    return _case("Adam", keras.optimizers.schedules.CosineDecay(1e-2, decay_steps=20))


def sick_though_the_loss_raises() -> Case:
    return replace(_case("Adam", 1e-9), loss="sparse_categorical_crossentropy")


def healthy() -> Case:
    return _case("Adam", 1e-3)


def healthy_in_many_small_steps() -> Case:
    return _case("Adam", 1e-4)
