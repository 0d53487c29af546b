"""The model learns the training set by heart.

## What it looks for
A validation loss whose minimum, the mean of three epochs, lies in the first 60 % of the run and which has risen since
by more than a fifth, while the training loss went on falling, for at least five epochs. One bad epoch is none; a loss
that swings has risen when of two epochs since, the later one is worse in most cases.

## Why the model does not learn
It learns: samples, not what they have in common.

## What to do
`keras.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)`, joint augmentation, more data,
weight decay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from segnosis.doctor.case import Case
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "EVA001", "warning"
EXPLAINED_BY = ("DAT", "PRE", "NRM001", "NRM002")


def check(
    history: Mapping[str, Sequence[float]],
    *,
    min_epochs: int = 8,
    latest_best: float = 0.6,
    min_rise: float = 0.2,
    min_since: int = 5,
    min_worse: float = 0.6,
) -> Verdict:
    train, validation = list(history.get("loss") or ()), list(history.get("val_loss") or ())
    if len(validation) < min_epochs or len(train) != len(validation):
        return NotApplicable(f"{len(validation)} epochs have a validation loss, {min_epochs} are needed")
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
    }
    early = best + 1 <= latest_best * len(validation) and len(since) > min_since
    rose = now - around[best] > min_rise * abs(around[best]) and worse > min_worse
    if not (early and rose and train[-1] < train[best]):
        return Healthy(measured)
    return Finding(
        says=f"The validation loss was best about epoch {best + 1} ({around[best]:.3g}) and has risen to {now:.3g}, "
        f"while the training loss fell from {train[best]:.3g} to {train[-1]:.3g}.",
        measured=measured,
        fix=f"`callbacks=[keras.callbacks.EarlyStopping('val_loss', patience={max(3, best // 2)}, "
        "restore_best_weights=True)]`, and joint augmentation of images and masks.",
    )


def _case(rise: float) -> Case:
    train = [0.8**epoch for epoch in range(20)]
    return Case(history={"loss": train, "val_loss": [0.3 + t + rise * max(0, e - 6) for e, t in enumerate(train)]})


def sick() -> Case:
    return _case(0.1)


def healthy() -> Case:
    return _case(0.0)
