"""The loss is mostly regularization.

## What it looks for
The loss at the start taken apart: the data term, and what regularizers, `add_loss` and a loss or step of one's own add
for the size of kernels. When more than half is added, the two gradients are compared as well: a large constant share is
harmless, a larger pull is not. And the best that this loss can have is counted: with all kernels at 0 it costs the data
term alone, so at its best the penalty is no larger than the data term is now. Where it is more than 10 times that,
kernels must shrink below a third of their length; without a normalization behind them nothing else than that can
happen, with one it is suspected above a share of 0.95.

Weight decay inside the optimizer (`AdamW(weight_decay=…)`) is no part of the loss, so it is held against the steps:
what it takes off a kernel in each step against the most that a gradient, always pulling outwards, could add. Above
`max_pull` it is suspected and above `certain_pull` proven, where the whole plan would shrink a kernel `min_shrinks`
times by e.

## Why the model does not learn
The printed loss is the sum. It can be above 1 where a Dice loss ends at 1, and it falls because weights shrink, while
the overlap with the masks stays what it was. Where the regularization pulls harder than the data, weights go to zero.

## What to do
A smaller factor, 1e-5 say, on convolution kernels only; or `AdamW(weight_decay=…)`, which is not part of the loss.
Watch a metric of overlap, not the loss.
"""

from __future__ import annotations

import math
from dataclasses import replace

from segnosis.doctor.case import Case
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.gradients import Gradients
from segnosis.doctor.evidence.loss_parts import LossParts
from segnosis.doctor.evidence.planned_movement import PlannedMovement
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.shown import parts
from segnosis.doctor.snapshot import model_copy, optimizer_copy
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LOS003", "error"


def check(
    loss_parts: LossParts,
    *,
    max_share: float = 0.5,
    max_pull: float = 1.0,
    max_times: float = 10.0,
    large_share: float = 0.95,
    certain_pull: float = 2.0,
    min_shrinks: float = 1.0,
    gradients: Gradients | None = None,
    planned_movement: PlannedMovement | None = None,
) -> Verdict:
    if planned_movement is not None:
        finding = _decays(planned_movement, max_pull, certain_pull, min_shrinks)
        if finding is not None:
            return finding
    if loss_parts.data is None or loss_parts.share is None:
        return NotApplicable("the data term of the loss could not be computed")
    if not math.isfinite(loss_parts.data + loss_parts.penalty):
        return NotApplicable("the loss is not finite")
    pull = None
    if gradients is not None and gradients.finite and gradients.data_norm > 0:
        pull = gradients.penalty_norm / gradients.data_norm
    measured: dict[str, float | str | None] = {
        "data_loss": loss_parts.data,
        "added_loss": loss_parts.penalty,
        "printed_loss": loss_parts.data + loss_parts.penalty,
        "added_share": loss_parts.share,
        "gradient_ratio": pull,
        "regularized_layers": len(loss_parts.regularized),
        "kernels_at_best": _at_best(loss_parts),
        "normalized": str(loss_parts.is_normalized).lower(),
    }
    if loss_parts.share <= max_share:
        return Healthy(measured)
    used, own = sorted(set(loss_parts.regularized.values())), loss_parts.own
    by = f"{', '.join(used)} on {len(loss_parts.regularized)} layers adds" if used else "the layers' own losses add"
    by = f"`{own}` itself, for the size of kernels, adds" if own else by
    split = (
        f"{loss_parts.data:.3f} of the printed loss of {loss_parts.data + loss_parts.penalty:.3f} comes from the data, "
        f"{by} {loss_parts.penalty:.3f}"
    )
    where = (own,) if own else tuple(loss_parts.regularized)[:8]
    fix = _fix(loss_parts, max_share)
    seen = (parts("The printed loss at the start", {"data": loss_parts.data, "penalty": loss_parts.penalty}),)
    if pull is not None and pull > max_pull:
        return Finding(
            says=f"Only {split}, and its gradient is {pull:.1f} times that of the data: training shrinks the weights "
            f"first.",
            measured=measured,
            fix=fix,
            where=where,
            pictures=seen,
        )
    if loss_parts.of_weights > max_times * abs(loss_parts.data) and not loss_parts.is_normalized:
        return Finding(
            says=f"Only {split}: at the best this loss can be, kernels are at most {_at_best(loss_parts):.0%} as long "
            "as now, and little of the image passes through.",
            measured=measured,
            fix=fix,
            where=where,
            pictures=seen,
        )
    if loss_parts.share > large_share:
        return Finding(
            says=f"Only {split}: training shrinks the weights long after the data would have them grow.",
            measured=measured,
            fix=fix,
            where=where,
            pictures=seen,
            level="suspected",
            severity="warning",
        )
    return Finding(
        says=f"Only {split}: the printed loss falls while weights shrink, whatever the masks do.",
        measured=measured,
        fix=fix + " Or leave it and watch a metric of overlap: the data pulls harder than the weights' decay.",
        where=where,
        pictures=seen,
        level="suspected",
        severity="note",
    )


def _decays(moved: PlannedMovement, max_pull: float, certain_pull: float, min_shrinks: float) -> Finding | None:
    """The finding on weight decay in the optimizer, if its pull is too strong."""
    shrinks = moved.decay * moved.mean_share * moved.steps
    if not moved.knows_gradients or moved.decay <= max_pull * moved.per_step or shrinks < min_shrinks:
        return None
    pull = moved.decay / moved.per_step
    decay = moved.decay / moved.rate
    wanted = min(1e-2, 10.0 ** math.floor(math.log10(decay / pull / 50)))
    return Finding(
        says=f"Each step of {moved.optimizer} takes {moved.decay:.2g} of itself off every weight "
        f"(weight_decay={decay:g} at a rate of {moved.rate:g}), and the gradient adds {moved.per_step:.2g} of a kernel "
        f"at most: kernels shrink to {1 / pull:.0%} of what they are, whatever the masks say.",
        measured={
            "weight_decay": decay,
            "decay_per_step": moved.decay,
            "step_per_kernel": moved.per_step,
            "ratio": pull,
        },
        fix=f"`keras.optimizers.{moved.optimizer}(…, weight_decay={wanted:.0e})` in place of {decay:g}.",
        level="proven" if pull > certain_pull else "suspected",
    )


def mend(case: Case) -> Case:
    """No penalty on weights and no decay of them."""
    model = model_copy(case.model, case.batches[0].x if case.batches else None)
    regularized = [variable for variable in model.trainable_variables if variable.regularizer is not None]
    if getattr(case.optimizer, "weight_decay", None):
        optimizer = optimizer_copy(case.optimizer)
        optimizer.weight_decay = None
        case = replace(case, optimizer=optimizer)
    elif not regularized:
        raise Unavailable("the penalty comes from the layers' own code")
    for variable in regularized:
        variable.regularizer = None
    return replace(case, model=model)


def _at_best(found: LossParts) -> float:
    """Length of the kernels at the best this loss can be, at most, in lengths of now."""
    data = abs(found.data or 0.0)
    return math.sqrt(data / found.of_weights) if found.of_weights > data else 1.0


def _fix(found: LossParts, max_share: float) -> str:
    used = min(found.regularized.values(), default=None)
    if found.own:
        less = 0.1 * max_share * abs(found.data or 1.0) / found.penalty
        return f"Multiply what it adds for the size of kernels by {less:.0e}, or leave it out."
    if used is None or "=" not in used:
        return "Divide what `add_loss` adds by its size, so that it stays below the data term."
    kind, rest = used.split("(", 1)
    name, value = rest.rstrip(")").split(",")[0].split("=")
    wanted = float(value) * 0.1 * abs(found.data or 1.0) / found.penalty
    rounded = 10.0 ** math.floor(math.log10(wanted)) if wanted > 0 else 0.0
    return f"`kernel_regularizer=keras.regularizers.{kind}({rounded:.0e})` in place of {name}={value}."


def _case(factor: float, *, wide: bool = False, normalized: bool = False) -> Case:
    """With wide layers, whose penalty is large before it pulls hard, and normalized at will."""
    import keras

    before: list[keras.layers.Layer] = [
        keras.layers.Conv2D(
            64,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(seed=seed),
            kernel_regularizer=keras.regularizers.L2(factor),
        )
        for seed in (3, 4)
    ]
    normalization = [keras.layers.BatchNormalization()] if normalized else []
    model = segmenter(3, "softmax", l2=factor, before=[*before, *normalization] if wide else ())
    return Case(model=model, loss="categorical_crossentropy", batches=squares("one-hot", scale=4.0 if wide else 1.0))


def sick() -> Case:
    return _case(0.5)


def sick_crushing() -> Case:
    return _case(0.1, wide=True)


def sick_crushing_before_a_normalization() -> Case:
    return _case(0.14, wide=True, normalized=True)


def _decaying(weight_decay: float) -> Case:
    import keras

    return replace(_case(0.0), optimizer=keras.optimizers.AdamW(1e-3, weight_decay=weight_decay))


def sick_by_decay() -> Case:
    return _decaying(100.0)


def healthy() -> Case:
    return _case(1e-4)


def healthy_with_decay() -> Case:
    return _decaying(0.1)
