"""The loss expects probabilities and gets raw numbers.

## What it looks for
A head without soft-max or sigmoid (a ReLU, which has no upper bound, is neither) in front of a loss that takes its
output for probabilities: Keras' own with `from_logits=False` (the default), and losses of your own whose value goes
below that of a perfect prediction, becomes NaN or loses its gradient once predictions leave 0 to 1. Losses that stay
sensible there, squared errors say, are left alone.

Of a model without a graph, at least the share `min_outside` of its outputs must lie outside 0 to 1.

## Why the model does not learn
A Dice of −3 and 5 is no overlap: it can fall without end while the mask gets worse. A cross-entropy clips such values
to 0 or 1, where its gradient is 0, so pixels that are wrong at the start stay wrong.

## What to do
`from_logits=True` in the loss, or the activation in the last layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.perfect_prediction import Probe, Probed
from segnosis.doctor.graph import OUTPUT_LIKE
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, Verdict

CODE, SEVERITY = "HED002", "error"

_UNBOUNDED = {"relu", "softplus", "elu"}


def check(
    heads: Sequence[Head],
    *,
    min_outside: float = 0.05,
    forward: Mapping[str, Output] | None = None,
    perfect_prediction: Mapping[str, Probe] | None = None,
) -> Verdict:
    measured: dict[str, float | str | None] = {}
    for head in heads:
        measured = {"head": head.name, "loss": head.loss_name, "from_logits": head.from_logits}
        ends = [step for step in head.activations if step.does in OUTPUT_LIKE]
        unknown = not head.known or any(step.does == "unknown" for step in head.steps)
        if ends or head.loss is None:
            continue
        output, probe = (forward or {}).get(head.name), (perfect_prediction or {}).get(head.name)
        if output is not None:
            outside = float(
                np.mean([np.mean((a < -1e-3) | (a > 1 + 1e-3)) for a in (*output.arrays, *output.stretched)])
            )
            measured |= {"lowest_output": output.low, "highest_output": output.high, "outside_0_to_1": outside}
            unbounded = head.known and not unknown and {step.does for step in head.activations} <= _UNBOUNDED
            if output.format == "log-probabilities" or (outside < min_outside and not unbounded):
                continue
        elif unknown:
            continue
        reason = _contradiction(head, probe.loss if probe else None)
        if reason is None:
            continue
        seen = f" ({output.low:.2f} to {output.high:.2f})" if output is not None else ""
        ends_in = f" behind {head.activations[-1].does}" if head.activations else ""
        return Finding(
            says=f"The head `{head.place[0]}` gives raw numbers{ends_in}{seen}, and the loss {head.loss_name} takes "
            f"them for probabilities{reason}.",
            measured=measured,
            fix=_fix(head, output.arrays[0].shape[-1] if output is not None else None),
            where=head.place,
            level="proven" if output is not None else "suspected",
        )
    return Healthy(measured)


def _contradiction(head: Head, probed: Probed | None) -> str | None:
    """Why numbers outside 0 to 1 cannot be what this loss is for; `None` when nothing says so."""
    if probed is not None and probed.takes == "logits":
        return None
    if head.family in ("sparse", "one-hot", "binary"):
        return " (`from_logits=False` is its default)" if head.from_logits is False else None
    if probed is None or probed.takes != "probabilities" or probed.probabilities is None:
        return None
    if probed.probabilities.blindness(0.0) is not None:  # LOS002: its values say nothing of what it takes
        return None
    perfect, span = probed.probabilities.perfect, abs(probed.probabilities.grey - probed.probabilities.perfect)
    if not np.isfinite(probed.lowest_outside) or probed.logits is None:
        return ": on numbers outside 0 to 1 it is not finite"
    if probed.lowest_outside < perfect - 0.05 * span:
        return (
            f": outside 0 to 1 it falls to {probed.lowest_outside:.2f}, below the {perfect:.2f} of a perfect prediction"
        )
    if probed.blind_outside and not probed.zero_gradient:
        return ": a wrong answer outside 0 to 1 has gradient 0 there, so it stays wrong"
    return None


def _fix(head: Head, channels: int | None) -> str:
    channels = channels or (head.shape[-1] if head.shape else None)
    activation = "sigmoid" if channels == 1 or head.family == "binary" else "softmax"
    off = f'`activation="{activation}"` in `{head.layer or "the last layer"}`'
    if head.family in ("sparse", "one-hot", "binary"):
        names = {
            "sparse": "SparseCategoricalCrossentropy",
            "one-hot": "CategoricalCrossentropy",
            "binary": "BinaryCrossentropy",
        }
        name = names[head.family] if "ocal" not in head.loss_name else head.loss_name
        return f"`loss=keras.losses.{name}(from_logits=True)`, or {off}."
    return f"{off}, or `y_pred = keras.ops.{activation}(y_pred)` as the first line of `{head.loss_name}`."


def sick() -> Case:
    import keras

    return Case(model=segmenter(3), loss=keras.losses.SparseCategoricalCrossentropy(), batches=squares())


def sick_behind_relu() -> Case:
    return Case(model=segmenter(3, "relu"), loss="sparse_categorical_crossentropy", batches=squares())


def healthy() -> Case:
    import keras

    return Case(
        model=segmenter(3), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), batches=squares()
    )
