"""The model learns the training set by heart.

## What it looks for
A validation loss whose minimum, the mean of three epochs, lies in the first 60 % of the run and which has risen since
by more than a fifth, while the training loss went on falling, for at least five epochs. One bad epoch is none; a loss
that swings has risen when of two epochs since, the later one is worse in most cases. Or a second half of the run that
brought the validation loss nothing while it halved the training loss, which ends below a third of it. Before there is
a history: no more than `few_samples` samples that are to be seen `many_passes` times or more, and twice as many held
out. Of fewer than 50 planned steps a history tells nothing: statistics of BatchNormalization are still on their way.

## Why the model does not learn
It learns: samples, not what they have in common.

## What to do
`keras.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)`, joint augmentation, more data,
weight decay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import median

from segnosis.doctor.batches import sample_count
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.planned_training import PlannedTraining
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "EVA001", "warning"
EXPLAINED_BY = ("DAT", "PRE", "NRM001", "NRM002")


def check(
    history: Mapping[str, Sequence[float]] | None = None,
    validation_batches: Sequence[Batch] | None = None,
    planned_training: PlannedTraining | None = None,
    num_samples: int | None = None,
    *,
    few_samples: int = 10,
    many_passes: int = 20,
    min_epochs: int = 8,
    min_steps: int = 50,
    latest_best: float = 0.6,
    min_rise: float = 0.2,
    min_since: int = 5,
    min_worse: float = 0.6,
    min_gap: float = 3.0,
    max_improved: float = 0.05,
    min_halved: float = 0.5,
) -> Verdict:
    if history is None:
        return _planned(validation_batches, planned_training, num_samples, few_samples, many_passes)
    train, validation = list(history.get("loss") or ()), list(history.get("val_loss") or ())
    if len(validation) < min_epochs or len(train) != len(validation):
        return NotApplicable(f"{len(validation)} epochs have a validation loss, {min_epochs} are needed")
    steps = planned_training.total if planned_training is not None and planned_training.is_said else None
    around = [sum(part) / len(part) for k in range(len(validation)) if (part := validation[max(0, k - 1) : k + 2])]
    best = min(range(len(validation)), key=lambda epoch: around[epoch])
    now = sum(validation[-3:]) / 3
    since = validation[best:]
    later = [after > before for before, after in combinations(since, 2)]
    worse = sum(later) / max(1, len(later))
    measured: dict[str, float | str | None] = {
        "epochs": len(validation),
        "best_epoch": best + 1,
        "best_validation_loss": around[best],
        "validation_loss_at_the_end": now,
        "training_loss_at_best": train[best],
        "training_loss_at_the_end": train[-1],
        "share_of_later_epochs_that_are_worse": worse,
        "improved_in_second_half": None,
        "planned_steps": steps,
    }
    if steps is not None and steps < min_steps:
        return Healthy(measured)
    early = best + 1 <= latest_best * len(validation) and len(since) > min_since
    rose = now - around[best] > min_rise * abs(around[best]) and worse > min_worse
    if early and rose and train[-1] < train[best]:
        return Finding(
            says=f"The validation loss was best about epoch {best + 1} ({around[best]:.3g}) and has risen to "
            f"{now:.3g}, while the training loss fell from {train[best]:.3g} to {train[-1]:.3g}.",
            measured=measured,
            fix=f"`callbacks=[keras.callbacks.EarlyStopping('val_loss', patience={max(3, best // 2)}, "
            "restore_best_weights=True)]`, and joint augmentation of images and masks.",
        )
    if len(validation) < 3 * min_epochs or min(validation) <= 0:
        return Healthy(measured)
    half, width = len(validation) // 2, max(3, len(validation) // 10)
    before, after = (median(part[half - width : half]) for part in (train, validation))
    learned, judged = (median(part[-width:]) for part in (train, validation))
    measured["improved_in_second_half"] = 1 - judged / after
    if judged < (1 - max_improved) * after or not 0 <= learned < min_halved * before or judged < min_gap * learned:
        return Healthy(measured)
    return Finding(
        says=f"From epoch {half} to {len(validation)} the training loss fell from {before:.3g} to {learned:.3g}; "
        f"the validation loss went from {after:.3g} to {judged:.3g}.",
        measured=measured,
        fix="More images, joint augmentation of images and masks, or "
        f"`callbacks=[keras.callbacks.EarlyStopping('val_loss', patience={max(3, half // 2)}, "
        "restore_best_weights=True)]`.",
    )


def _planned(
    held_out: Sequence[Batch] | None, plan: PlannedTraining | None, samples: int | None, few: int, many: int
) -> Verdict:
    """Before there is a history: a handful of samples, seen often, against more that are held out."""
    if not held_out or plan is None or not plan.is_said or samples is None:
        return NotApplicable("there is no history, and no plan of samples, epochs and held-out samples")
    scored = sum(map(sample_count, held_out))
    measured = {"samples": samples, "planned_epochs": plan.epochs, "held_out_samples": scored}
    if samples > few or plan.epochs < many or scored < 2 * samples:
        return Healthy(measured)
    return Finding(
        says=f"{samples} samples are to be seen {plan.epochs} times each, while {scored} or more are held out: they "
        "will be learned by heart.",
        measured=measured,
        fix="Train on the larger part: `train, validation = samples[:-n], samples[-n:]`, with a slice that ends where "
        "you mean it to.",
        level="suspected",
    )


def sick_by_plan() -> Case:
    scenes = squares("ids", count=4, size=32)
    return Case(
        model=segmenter(3, size=32),
        batches=scenes[:1],
        validation_batches=scenes[1:],
        num_samples=4,
        fit_arguments={"epochs": 90},
    )


def _case(rise: float) -> Case:
    train = [0.8**epoch for epoch in range(20)]
    return Case(history={"loss": train, "val_loss": [0.3 + t + rise * max(0, e - 6) for e, t in enumerate(train)]})


def sick() -> Case:
    return _case(0.1)


def healthy_so_far() -> Case:
    """Statistics of BatchNormalization are still on their way: the validation loss says nothing yet."""
    plan = {"epochs": 20, "steps_per_epoch": 2}
    return replace(
        _case(0.1), model=segmenter(3, size=32), fit_arguments=plan, batches=squares("ids", count=4, size=32)
    )


def sick_without_a_rise() -> Case:
    return Case(history={"loss": [0.9**e for e in range(60)], "val_loss": [0.5 + 0.8**e / 2 for e in range(60)]})


def healthy_with_a_gap() -> Case:
    """A run that has settled: the training loss is a third of the validation loss, and neither moves any more."""
    train = [0.1 + 0.8**e for e in range(60)]
    return Case(history={"loss": train, "val_loss": [3 * loss for loss in train]})


def healthy() -> Case:
    return _case(0.0)
