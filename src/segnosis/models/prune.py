"""Cut a deeply supervised U-Net++ down to one of its depths."""

from __future__ import annotations

import re

import keras

from segnosis.core.errors import ArgumentError
from segnosis.models.blocks import check_count
from segnosis.models.freeze import leaves


def prune(model: keras.Model, depth: int) -> keras.Model:
    """The network of `depth` levels inside a U-Net++ that was built with `deep_supervision=True`.

    Its logits equal output `depth` of the whole network, at a fraction of the work: nothing that the head of that
    depth does not see is kept, a backbone's coarser levels neither. Weights are copied, so that training the result
    leaves `model` as it is. A U-Net++ at the end of another model, behind preprocessing say, is found.

    Args:
        model: A U-Net++ with one head per depth.
        depth: From 1 to the number of heads; the last one is the whole network with its best output alone.

    Returns:
        A functional model with one output, `(batch, height, width, num_classes)`.

    Raises:
        ArgumentError: `model` has no head per depth, or none of this depth.

    Example:
        >>> import segnosis as sg
        >>> whole = sg.models.unet_plus_plus((32, 32, 1), num_classes=2, width=4, deep_supervision=True)
        >>> [sg.models.prune(whole, depth).count_params() for depth in (1, 2, 3, 4)]
        [1758, 8462, 35726, 144862]
    """
    count = _heads(model)
    if not count:
        raise ArgumentError(
            "`prune` needs a U-Net++ with one head per depth.",
            received={"model": model.name},
            cure="Build it with `unet_plus_plus(..., deep_supervision=True)`.",
        )
    check_count("depth", depth, most=count)
    return _copy(_cut(model, depth), depth)


def _heads(model: keras.Model) -> int:
    """Number of depths with a head of their own; 0 for any other network."""
    inner = _innermost(model)
    heads = sum(bool(re.fullmatch(r"head\d+", layer.name)) for layer in inner.layers)
    return heads if heads == len(inner.outputs) == len(model.outputs) else 0


def _innermost(model: keras.Model) -> keras.Model:
    """The model nested at the end of `model`, if any, however deep."""
    last = model.outputs[0]._keras_history.operation
    return _innermost(last) if isinstance(last, keras.Model) else model


def _cut(model: keras.Model, depth: int) -> keras.Model:
    """What leads to the output of that depth, on the layers of `model` themselves."""
    output = model.outputs[depth - 1]
    nested, call, _ = output._keras_history
    if isinstance(nested, keras.Model):
        # Cut inside and called anew, or all of it would still be computed.
        output = _cut(nested, depth)(*nested._inbound_nodes[call].input_tensors)
    return keras.Model(model.input, output, name=f"{model.name}_depth{depth}")


def _copy(cut: keras.Model, depth: int) -> keras.Model:
    """`cut` with layers of its own, and of its backbone only the levels down to `depth`."""

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return _copy(_levels(layer, depth) if isinstance(layer.output, dict) else layer, depth)
        return type(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(cut, clone_function=copied)
    sources = dict(leaves(cut))
    for path, layer in leaves(copy):
        if layer.weights:
            layer.set_weights(sources[path].get_weights())
    return copy


def _levels(backbone: keras.Model, depth: int) -> keras.Model:
    """`backbone` down to level `P{depth}`; the levels left keep their order, by which Keras matches outputs."""
    kept = {name: level for name, level in backbone.output.items() if int(name[1:]) <= depth}
    return keras.Model(backbone.input, kept, name=backbone.name)
