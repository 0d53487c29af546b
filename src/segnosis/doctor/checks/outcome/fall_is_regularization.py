"""The loss fell because weights shrank, not because masks are met.

## What it looks for
A history that has the loss in its parts, as `segnosis.Watch` keeps them: data loss and regularization. The printed
loss must have fallen by more than 10 % while the data loss fell by less than a fifth of that, and by less than
5 % of itself.

## Why the model does not learn
Weight penalties fall by themselves when training starts. A printed loss of 1.9 that becomes 1.7 looks like learning,
and is above 1, where a Dice loss alone cannot be: the penalty is on top.

## What to do
A penalty ten to a hundred times smaller, `kernel_regularizer=keras.regularizers.L2(1e-5)`, and a metric of overlap.
Then look for what keeps the data loss where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segnosis.doctor.case import Case
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "OUT002", "warning"
EXPLAINED_BY = ("DAT", "LAB", "PRE", "HED", "LOS", "MET", "NRM", "OPT")


def check(
    history: Mapping[str, Sequence[float]],
    *,
    min_epochs: int = 3,
    min_fall: float = 0.1,
    max_data_share: float = 0.2,
    max_data_fall: float = 0.05,
) -> Verdict:
    data, penalty = list(history.get("data_loss") or ()), list(history.get("regularization") or ())
    epochs = min(len(data), len(penalty))
    if epochs < min_epochs:
        return NotApplicable(f"{epochs} epochs have data loss and regularization apart, {min_epochs} are needed")
    start, end = data[0] + penalty[0], data[-1] + penalty[-1]
    fall, of_data = start - end, data[0] - data[-1]
    measured: dict[str, float | str | None] = {
        "epochs": epochs,
        "printed_loss_first": start,
        "printed_loss_last": end,
        "data_loss_first": data[0],
        "data_loss_last": data[-1],
        "regularization_first": penalty[0],
        "regularization_last": penalty[-1],
        "data_share_of_the_fall": of_data / fall if fall > 0 else None,
    }
    if fall <= min_fall * start or of_data >= max_data_share * fall or of_data >= max_data_fall * abs(data[0]):
        return Healthy(measured)
    return Finding(
        says=f"The printed loss fell from {start:.3g} to {end:.3g}; {fall - max(0.0, of_data):.3g} of that is "
        f"regularization ({penalty[0]:.3g} → {penalty[-1]:.3g}), the data loss went from {data[0]:.3g} to "
        f"{data[-1]:.3g}.",
        measured=measured,
        fix="`kernel_regularizer=keras.regularizers.L2(1e-5)`, and `metrics=[segnosis.metrics.MeanDice(...)]` to see "
        "what is learned.",
    )


def _case(data: float) -> Case:
    epochs = range(6)
    return Case(
        history={"data_loss": [0.70 - data * e for e in epochs], "regularization": [1.06 - 0.1 * e for e in epochs]}
    )


def sick() -> Case:
    return _case(0.001)


def healthy() -> Case:
    return _case(0.08)
