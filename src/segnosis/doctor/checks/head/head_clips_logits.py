"""The logits are cut off before the loss sees them.

## What it looks for
ReLU, tanh or a clip at the end of a head whose output the loss takes for logits, or in front of the last sigmoid.
What an activation does is told by its answer to numbers, so functions and custom layers count too.

## Why the model does not learn
A logit that cannot be negative is a probability that cannot fall below one half: with a ReLU the background is
impossible, and a binary cross-entropy stays near 0.693. Where the ReLU is 0 its gradient is 0 as well, so wrong
pixels stay wrong. A tanh leaves logits between −1 and 1, where even a perfect prediction is an unsure one.

## What to do
No activation in the last layer when the loss takes logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import e, log

import numpy as np

from segnosis.doctor.case import Case
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.perfect_prediction import Probe
from segnosis.doctor.graph import Step
from segnosis.doctor.patients import segmenter, squares, without_a_graph
from segnosis.doctor.verdict import Finding, Healthy, Verdict

CODE, SEVERITY = "HED004", "error"

_CUTS = ("relu", "relu6", "tanh", "softplus", "clips")
_SEEN_CUTS = {"rectified": "relu", "clipped": "clips"}
"""What outputs look like → what cuts them, for a model without a graph."""


def check(
    heads: Sequence[Head],
    *,
    min_blocked: float = 0.05,
    encodings: Mapping[str, Encoding] | None = None,
    forward: Mapping[str, Output] | None = None,
    perfect_prediction: Mapping[str, Probe] | None = None,
) -> Verdict:
    measured: dict[str, float | str | None] = {}
    for head in heads:
        output, probe = (forward or {}).get(head.name), (perfect_prediction or {}).get(head.name)
        takes = probe.loss.takes if probe and probe.loss else ("logits" if head.from_logits else None)
        blocked = _blocked(output, (encodings or {}).get(head.name))
        measured = {
            "head": head.name,
            "activation": " → ".join(step.does for step in head.activations) or "none",
            "loss": head.loss_name,
            "loss_takes": takes,
            "lowest_output": output.low if output else None,
            "highest_output": output.high if output else None,
            "right_class_cut_to_0": blocked,
        }
        step, what = _cut(head, output, takes)
        if step is None:
            continue
        reach = f" ({output.low:.3g} to {output.high:.3g})" if output else ""
        consequence, sure = _consequence(head, step, what, blocked, min_blocked, reach)
        return Finding(
            says=f"`{step.layer}` {consequence}",
            measured=measured,
            fix=f"`activation=None` in `{step.layer}`: the {what} needs numbers of either sign and any size.",
            where=head.place,
            level="proven" if sure else "suspected",
        )
    return Healthy(measured)


def _cut(head: Head, output: Output | None, takes: str | None) -> tuple[Step | None, str]:
    """The step that cuts logits off, and what comes behind it: the loss, or the last activation."""
    chain = head.activations
    if len(chain) >= 2 and chain[-1].does in ("sigmoid", "softmax") and chain[-2].does in _CUTS:
        return chain[-2], chain[-1].does
    if takes != "logits":
        return None, ""
    if chain and chain[-1].does in _CUTS:
        return chain[-1], "loss"
    seen = output.format if output is not None and output.high > 1e-6 else ""
    if not head.known and seen in _SEEN_CUTS:
        return Step(head.place[0], _SEEN_CUTS[seen]), "loss"
    return None, ""


def _blocked(output: Output | None, encoding: Encoding | None) -> float | None:
    """Share of labelled pixels whose right class has a logit of 0 (one channel: background pixels not below 0)."""
    if output is None or encoding is None or encoding.kind == "other":
        return None
    shares = []
    for array, target in zip(output.arrays, encoding.arrays, strict=False):
        ids = encoding.ids(target[: len(array)])
        if ids.shape != array.shape[:-1]:
            return None
        valid = ids >= 0
        if array.shape[-1] == 1:
            stuck = np.where(ids == 1, array[..., 0] == 0, array[..., 0] >= 0)
        else:
            stuck = np.take_along_axis(array, np.maximum(ids, 0)[..., None], axis=-1)[..., 0] == 0
        shares.append(float(stuck[valid].mean()) if valid.any() else 0.0)
    return float(np.mean(shares)) if shares else None


def _consequence(
    head: Head, step: Step, what: str, blocked: float | None, min_blocked: float, reach: str
) -> tuple[str, bool]:
    channels = head.shape[-1] if head.shape else None
    binary = what == "sigmoid" or (what == "loss" and (channels == 1 or head.family == "binary"))
    if step.does in ("tanh", "clips"):
        floor = log(1 + 1 / e) if binary else log(1 + ((channels or 2) - 1) * e**-2)
        bounds = "keeps logits between −1 and 1" if step.does == "tanh" else f"clips the logits{reach}"
        cost = f": a perfect prediction still costs {floor:.3f}" if step.does == "tanh" else ""
        return f"{bounds} in front of the {what}{cost}, and gradients die at the bounds.", True
    if binary:
        return (
            f"({step.does}) lets no logit below 0: the probability of foreground is at least 0.5 everywhere, "
            "background cannot be predicted, and its loss cannot fall below 0.693.",
            True,
        )
    share = (
        f" At {blocked:.0%} of the pixels that is the right class." if blocked is not None and what == "loss" else ""
    )
    return (
        f"({step.does}) cuts logits off at 0 in front of the {what}; where it does, the gradient is 0 and a wrong "
        f"pixel stays "
        f"wrong.{share}",
        blocked is not None and what == "loss" and blocked >= min_blocked,
    )


def sick() -> Case:
    import keras

    return Case(
        model=segmenter(1, "relu"),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        batches=squares("binary", num_classes=2),
    )


def sick_of_several_classes() -> Case:
    import keras

    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    return Case(model=segmenter(3, "relu"), loss=loss, batches=squares("one-hot"))


def sick_without_a_graph() -> Case:
    import keras

    model = without_a_graph(segmenter(3), lambda x: keras.ops.clip(x, 0.0, 1.0))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    return Case(model=model, loss=loss, batches=squares("one-hot", scale=10.0))


def healthy() -> Case:
    import keras

    return Case(
        model=segmenter(1),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        batches=squares("binary", num_classes=2),
    )
