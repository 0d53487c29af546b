"""The loss is mostly regularization.

## What it looks for
The loss at the start taken apart: the data term, and what regularizers and `add_loss` add. When more than half is
added, the two gradients are compared as well: a large constant share is harmless, a larger pull is not.

## Why the model does not learn
The printed loss is the sum. It can be above 1 where a Dice loss ends at 1, and it falls because weights shrink, while
the overlap with the masks stays what it was. Where the regularization pulls harder than the data, weights go to zero.

## What to do
A smaller factor, 1e-5 say, on convolution kernels only; or `AdamW(weight_decay=…)`, which is not part of the loss.
Watch a metric of overlap, not the loss.
"""

from __future__ import annotations

import math

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.gradients import Gradients
from segnosis.doctor.evidence.loss_parts import LossParts
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "LOS003", "error"


def check(
    loss_parts: LossParts,
    *,
    max_share: float = 0.5,
    max_pull: float = 1.0,
    gradients: Gradients | None = None,
) -> Verdict:
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
    }
    if loss_parts.share <= max_share:
        return Healthy(measured)
    used = sorted(set(loss_parts.regularized.values()))
    by = f"{', '.join(used)} on {len(loss_parts.regularized)} layers adds" if used else "the layers' own losses add"
    split = (
        f"{loss_parts.data:.3f} of the printed loss of {loss_parts.data + loss_parts.penalty:.3f} comes from the data, "
        f"{by} {loss_parts.penalty:.3f}"
    )
    where = tuple(loss_parts.regularized)[:8]
    fix = _fix(loss_parts, max_share)
    if pull is not None and pull > max_pull:
        return Finding(
            says=f"Only {split}, and its gradient is {pull:.1f} times that of the data: training shrinks the weights "
            f"first.",
            measured=measured,
            fix=fix,
            where=where,
        )
    return Finding(
        says=f"Only {split}: the printed loss falls while weights shrink, whatever the masks do.",
        measured=measured,
        fix=fix + " Or leave it and watch a metric of overlap: the data pulls harder than the weights' decay.",
        where=where,
        level="suspected",
        severity="note",
    )


def _fix(parts: LossParts, max_share: float) -> str:
    used = next(iter(sorted(set(parts.regularized.values()))), None)
    if used is None or "=" not in used:
        return "Divide what `add_loss` adds by its size, so that it stays below the data term."
    kind, rest = used.split("(", 1)
    name, value = rest.rstrip(")").split(",")[0].split("=")
    wanted = float(value) * 0.1 * abs(parts.data or 1.0) / parts.penalty
    rounded = 10.0 ** math.floor(math.log10(wanted)) if wanted > 0 else 0.0
    return f"`kernel_regularizer=keras.regularizers.{kind}({rounded:.0e})` in place of {name}={value}."


def _case(factor: float) -> Case:
    model = segmenter(3, "softmax", l2=factor)
    return Case(model=model, loss="categorical_crossentropy", batches=squares("one-hot"))


def sick() -> Case:
    return _case(0.5)


def healthy() -> Case:
    return _case(1e-4)
