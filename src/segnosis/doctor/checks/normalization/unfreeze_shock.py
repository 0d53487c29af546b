"""The scores collapse where the training was changed.

## What it looks for
An epoch where the learning rate at least doubles, or more weights become trainable, after which a score falls by more
than 30 % within two epochs.

## Why the model does not learn
Freshly unfrozen layers meet large gradients from a head that is not done yet, at a rate meant for the head: what was
pretrained is overwritten in a few steps.

## What to do
Compile again with a tenth of the rate, `optimizer=keras.optimizers.Adam(1e-5)`, warm up, and unfreeze once the head
has settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segnosis.doctor.case import Case
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "NRM004", "warning"

_SCORES = ("foreground_iou", "foreground_dice", "iou", "io_u", "jaccard", "dice", "f1", "accuracy", "acc")
"""Parts of names, the most telling first; Keras itself calls its `BinaryIoU` "binary_io_u"."""


def check(
    history: Mapping[str, Sequence[float]], *, max_drop: float = 0.3, min_jump: float = 2.0, min_score: float = 0.1
) -> Verdict:
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


def _score(history: Mapping[str, Sequence[float]]) -> str | None:
    return next((name for part in _SCORES for name in sorted(history, reverse=True) if part in name), None)


def _case(after: float) -> Case:
    return Case(
        history={
            "val_mean_iou": [0.3, 0.5, 0.6, after, after + 0.05],
            "learning_rate": [1e-4, 1e-4, 1e-4, 1e-3, 1e-3],
        }
    )


def sick() -> Case:
    return _case(0.2)


def healthy() -> Case:
    return _case(0.58)
