"""The printed loss taken apart at the start: each output's data term, and what the layers add to it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras

from segnosis.doctor.ask import Raised, ask_loss
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output, few
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.graph import all_layers
from segnosis.doctor.own_loss import OwnLoss
from segnosis.doctor.random_state import to_host
from segnosis.doctor.snapshot import untouched

PRICE = "batch"

NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
)
_REGULARIZERS = ("kernel_regularizer", "bias_regularizer", "depthwise_regularizer", "pointwise_regularizer")


@dataclass(frozen=True)
class LossParts:
    """The parts of the first loss.

    Attributes:
        data: Weighted sum of the outputs' losses on the first batch; `None` when none could be computed.
        outputs: Output name → its unweighted loss, or what it raised.
        penalty: Sum of the losses that layers add, regularizers first.
        regularized: Layer name → its regularizer, as in `L2(0.0001)`.
        of_weights: What of the penalty comes from the regularizers of weights.
        is_normalized: Whether a normalization takes the scale of kernels away.
        own: Name of the loss or step of the program's own that itself adds for the size of kernels; else empty.
    """

    data: float | None
    outputs: Mapping[str, float | Raised]
    penalty: float
    regularized: Mapping[str, str]
    of_weights: float = 0.0
    is_normalized: bool = False
    own: str = ""

    @property
    def share(self) -> float | None:
        """Share of the penalty in the printed loss."""
        if self.data is None or self.penalty <= 0:
            return 0.0 if self.data is not None else None
        return self.penalty / (abs(self.data) + self.penalty)


def measure(
    model: keras.Model,
    heads: Sequence[Head],
    encodings: Mapping[str, Encoding],
    forward: Mapping[str, Output],
    batches: Sequence[Batch] | None = None,
) -> LossParts:
    """On the first batch, in inference mode."""
    outputs: dict[str, float | Raised] = {}
    total: float | None = None
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Keras warns of, a check says in full
        for head in heads:
            if head.loss is None or head.name not in encodings or head.name not in forward:
                continue
            y_pred, encoding = forward[head.name].arrays[0], encodings[head.name]
            weight = None if encoding.weights[0] is None else encoding.weights[0][: len(y_pred)]
            value = ask_loss(head.loss, encoding.arrays[0][: len(y_pred)], y_pred, weight)
            outputs[head.name] = value
            if not isinstance(value, Raised):
                total = (total or 0.0) + head.loss_weight * value
        if batches:  # what a layer adds for its inputs, it adds while it is called
            model(keras.tree.map_structure(keras.ops.convert_to_tensor, few(batches[0], model).x), training=False)
        penalty = float(sum(float(keras.ops.convert_to_numpy(keras.ops.sum(loss))) for loss in model.losses))
        of_weights = sum(
            float(to_host(v.regularizer(v.value))) for v in model.trainable_variables if v.regularizer is not None
        )
    adding = [head for head in heads if isinstance(head.loss, OwnLoss) and head.loss.penalty]
    of_own = sum(head.loss_weight * head.loss.penalty for head in adding)
    is_normalized = any(isinstance(layer, NORMALIZATIONS) for layer in all_layers(model))
    own = adding[0].loss_name if adding else ""
    penalty, of_weights = penalty + of_own, of_weights + of_own
    return LossParts(total, outputs, penalty, _regularized(model), of_weights, is_normalized, own)


def _regularized(model: keras.Model) -> dict[str, str]:
    found = {}
    for layer in all_layers(model):
        for setting in _REGULARIZERS:
            regularizer = getattr(layer, setting, None)
            if regularizer is not None:
                found[layer.name] = _written(regularizer)
    return found


def _written(regularizer: object) -> str:
    config = regularizer.get_config() if hasattr(regularizer, "get_config") else {}
    numbers = ", ".join(
        f"{name}={float(value):.3g}" for name, value in config.items() if isinstance(value, int | float)
    )
    return f"{type(regularizer).__name__}({numbers})"
