"""The output gets its soft-max or sigmoid twice.

## What it looks for
A head that ends in soft-max or sigmoid in front of a loss that applies it again (`from_logits=True`, or a loss of
your own with a soft-max inside), and two such activations in a row inside the model. The graph is walked through
reshapes, casts and functions; of a model without a graph, outputs tell that never leave the range of a soft-max of a
soft-max. What a loss does is told by feeding it the truth itself, once as probabilities and once as logits.

## Why the model does not learn
Probabilities lie between 0 and 1, and as logits that is next to nothing: the best four-class prediction there is costs
0.744 instead of 0, a uniform one 1.386. The loss cannot fall below that floor, and gradients are a fraction of their
size. The TensorFlow backend notices most such losses and takes the logits from in front of the soft-max; JAX and
torch do not.

## What to do
Drop one of the two: `from_logits=False` in the loss, or no activation in the last layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import e, exp
from typing import Any

import numpy as np

from segnosis.doctor.case import Batch, Case
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.perfect_prediction import Probe
from segnosis.doctor.evidence.reference_numbers import numbers
from segnosis.doctor.graph import OUTPUT_LIKE
from segnosis.doctor.patients import segmenter, squares, without_a_graph
from segnosis.doctor.verdict import Finding, Healthy, Verdict

CODE, SEVERITY = "HED001", "error"


def check(
    heads: Sequence[Head],
    *,
    max_floor: float = 0.05,
    encodings: Mapping[str, Encoding] | None = None,
    forward: Mapping[str, Output] | None = None,
    perfect_prediction: Mapping[str, Probe] | None = None,
    repaired_logits: Mapping[str, bool] | None = None,
) -> Verdict:
    measured: dict[str, float | str | None] = {}
    for head in heads:
        measured = {
            "head": head.name,
            "activation": _words(head),
            "loss": head.loss_name,
            "from_logits": head.from_logits,
        }
        probe = (perfect_prediction or {}).get(head.name)
        output = (forward or {}).get(head.name)
        finding = _twice_in_the_model(head, measured) or _twice_by_its_bounds(head, output, measured)
        if finding is not None:
            return finding
        finding = (
            _twice_by_the_loss(head, probe, output, encodings, measured, max_floor, repaired_logits)
            if probe is not None and probe.loss is not None and output is not None
            else _by_configuration(head, measured)
        )
        if finding is not None:
            return finding
    return Healthy(measured)


def _words(head: Head) -> str:
    return " → ".join(step.does for step in head.activations) or ("none" if head.known else "unknown")


def _twice_in_the_model(head: Head, measured: dict[str, float | str | None]) -> Finding | None:
    chain = [step for step in head.activations if step.does in OUTPUT_LIKE]
    if len(chain) >= 2 and chain[0].layer != chain[1].layer:
        first, second = chain[:2]
        return Finding(
            says=f"`{second.layer}` applies {second.does} to what `{first.layer}` already made {first.does}: "
            f"probabilities between 0 and 1 come out nearly uniform, whatever the network says.",
            measured=measured,
            fix=f"Remove `{second.layer}`, or the activation of `{first.layer}`: one {second.does} at the very end.",
            where=head.place,
        )
    if head.fed_by and chain:
        return Finding(
            says=f"`{head.layer}` ends in {chain[0].does} and is fed with nothing but {head.fed_by} outputs, whose "
            f"values "
            f"between 0 and 1 give it little contrast to work with.",
            measured={**measured, "fed_by": head.fed_by},
            fix=f"Feed `{head.layer}` the logits, before {head.fed_by}, and average or weight the outputs' losses "
            f"instead.",
            where=head.place,
            level="suspected",
            severity="warning",
        )
    return None


def _twice_by_its_bounds(head: Head, output: Output | None, measured: dict[str, float | str | None]) -> Finding | None:
    """Of a model without a graph: outputs that fill the range of a soft-max of a soft-max and never leave it.

    Its inputs were stretched until a single activation would have reached 0 or 1.
    """
    ends = [step for step in head.activations if step.does in OUTPUT_LIKE]
    if output is None or ends or (head.known and not any(step.does == "unknown" for step in head.steps)):
        return None
    channels = output.arrays[0].shape[-1]
    if output.format == "probabilities" and channels > 1:
        activation, low, high = "softmax", 1 / (channels - 1 + e), e / (channels - 1 + e)
    elif output.format == "sigmoid":
        activation, low, high = "sigmoid", 0.5, 1 / (1 + exp(-1))
    else:
        return None
    near, beyond = 0.02 * (high - low), 1e-4
    if not (low - beyond < output.low < low + near and high - near < output.high < high + beyond):
        return None
    return Finding(
        says=f"The output `{head.name}` never leaves {low:.3f} to {high:.3f}, however large its inputs: that is what "
        f"{activation} makes of numbers that {activation} already pressed between 0 and 1.",
        measured={**measured, "output": output.format, "lowest_output": output.low, "highest_output": output.high},
        fix=f"One {activation} at the very end of the model: remove the other.",
        where=head.place,
    )


def _by_configuration(head: Head, measured: dict[str, float | str | None]) -> Finding | None:
    """Without a forward pass only Keras' own losses say what they do."""
    ends = [step for step in head.activations if step.does in OUTPUT_LIKE]
    if not (ends and head.family and head.from_logits):
        return None
    return Finding(
        says=f"`{ends[-1].layer}` ends in {ends[-1].does}, and {head.loss_name}(from_logits=True) applies it again.",
        measured=measured,
        fix=_fix(head, ends[-1].does),
        where=head.place,
        level="suspected",
    )


def _twice_by_the_loss(
    head: Head,
    probe: Probe,
    output: Output,
    encodings: Mapping[str, Encoding] | None,
    measured: dict[str, float | str | None],
    max_floor: float,
    repaired_logits: Mapping[str, bool] | None,
) -> Finding | None:
    loss = probe.loss
    if loss is None or loss.takes != "logits" or loss.probabilities is None or loss.logits is None:
        return None
    floor, best, grey = loss.probabilities.perfect, loss.logits.perfect, loss.logits.grey
    measured |= {
        "output": output.format,
        "perfect_probabilities_cost": floor,
        "perfect_logits_cost": best,
        "uniform": grey,
    }
    ends = [step.does for step in head.activations if step.does in OUTPUT_LIKE]
    not_made = head.known and not ends  # a clip at 0 and 1, say, which is no sigmoid
    if output.format not in ("probabilities", "sigmoid") or (not_made and output.sums_to_one_over is None):
        return None
    if not floor - best > max_floor * abs(grey - best):
        return None
    activation = ends[-1] if ends else ("softmax" if output.format == "probabilities" else "sigmoid")
    measured["double_softmax"] = (
        numbers(encodings[head.name].frequencies)["double_softmax"]
        if encodings and head.name in encodings and activation == "softmax"
        else None
    )
    repaired = bool(repaired_logits and repaired_logits.get(head.name))
    says = (
        f"The head already gives {activation} probabilities ({output.low:.3g} to {output.high:.3g}), and the loss "
        f"{head.loss_name} applies {activation} again: a perfect prediction still costs {floor:.3f} where {best:.3f} "
        f"is "
        f"possible and a uniform one costs {grey:.3f}."
    )
    if repaired:
        says = (
            f"The head ends in {activation} and the loss {head.loss_name} takes logits; the TensorFlow backend finds "
            f"the "
            f"logits behind it and repairs this, JAX and torch do not: there a perfect prediction costs {floor:.3f}."
        )
    return Finding(
        says=says,
        measured={**measured, "repaired_by_backend": repaired},
        fix=_fix(head, activation),
        where=head.place,
        level="suspected" if repaired else "proven",
        severity="note" if repaired else "error",
    )


def _fix(head: Head, activation: str) -> str:
    if head.family:
        name = f"keras.losses.{head.loss_name}"
        return (
            f'`loss={name}(from_logits=False)`, or take `activation="{activation}"` off `{head.place[0]}` and keep the '
            "loss as it is."
        )
    return (
        f'Take `activation="{activation}"` off `{head.place[0]}`, or remove the {activation} '
        f"(or `from_logits=True`) inside `{head.loss_name}`."
    )


def sick() -> Case:
    import keras

    return Case(
        model=segmenter(3, after=[keras.layers.Softmax(), keras.layers.Softmax(name="again")]),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        batches=squares(),
    )


def sick_by_its_loss() -> Case:
    def entropy_of_logits(y_true: Any, y_pred: Any) -> Any:
        import keras

        return keras.ops.mean(keras.ops.softplus(y_pred) - y_true * y_pred)

    batches = squares("binary", num_classes=2)
    return Case(model=segmenter(1, "sigmoid"), loss=entropy_of_logits, batches=batches)


def sick_beside_packed_weights() -> Case:
    def weighted_error(y_true: Any, y_pred: Any) -> Any:
        import keras

        mask, weight = y_true[..., :1], y_true[..., 1:]
        return keras.ops.mean(weight * keras.ops.square(mask - keras.ops.sigmoid(y_pred)))

    random = np.random.default_rng(0)
    batches = [
        Batch(batch.x, np.concatenate([batch.y, random.uniform(1, 3, batch.y.shape)], -1).astype("float32"))
        for batch in squares("binary", num_classes=2)
    ]
    return Case(model=segmenter(1, "sigmoid"), loss=weighted_error, batches=batches)


def _without_a_graph(times: int) -> Case:
    import keras

    def softmaxes(x: Any) -> Any:
        for _ in range(times):
            x = keras.ops.softmax(x, axis=-1)
        return x

    model = without_a_graph(segmenter(3), softmaxes)
    return Case(model=model, loss=keras.losses.SparseCategoricalCrossentropy(), batches=squares())


def sick_without_a_graph() -> Case:
    return _without_a_graph(2)


def healthy_without_a_graph() -> Case:
    return _without_a_graph(1)


def healthy() -> Case:
    import keras

    return Case(model=segmenter(3, "softmax"), loss=keras.losses.SparseCategoricalCrossentropy(), batches=squares())
