"""Changing a copy of a model for a counterfactual: the same weights, some layers others."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import keras
from keras.src.models.functional import Functional

from segnosis.doctor.case import Case
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.graph import all_layers
from segnosis.doctor.random_state import random_state_kept, to_host
from segnosis.doctor.snapshot import layer_copy, model_copy

_SATURATING = frozenset({"sigmoid", "tanh", "softsign", "hard_sigmoid", "hard_tanh"})
"""Hidden units whose slope is next to nothing away from 0."""


def relu_inside(model: keras.Model, ends: Collection[str]) -> None:
    """Give hidden layers ReLU where they saturate, and every hidden kernel He's start; the layers `ends` stay."""
    seeds = iter(range(1, 10_000))
    for layer in all_layers(model):
        if layer.name in ends:
            continue
        if getattr(getattr(layer, "activation", None), "__name__", "") in _SATURATING:
            layer.activation = keras.activations.relu
        if isinstance(getattr(layer, "kernel", None), keras.Variable):
            layer.kernel.assign(keras.initializers.HeNormal(seed=next(seeds))(layer.kernel.shape))


def with_settings(case: Case, change: Callable[[keras.layers.Layer], object]) -> Case:
    """The case with a copy of its model, on every layer of which `change` was called."""
    model = model_copy(case.model, case.batches[0].x if case.batches else None)
    for layer in all_layers(model):
        change(layer)
    return replace(case, model=model)


def with_layers(case: Case, instead: Callable[[keras.layers.Layer], keras.layers.Layer | None]) -> Case:
    """The case with a copy of its model, some layers exchanged; the others keep their weights.

    Args:
        case: Of a functional or sequential model.
        instead: A layer → the one to stand in its place, or `None` for a copy of it.

    Raises:
        Unavailable: The model has a `call` of its own, in which layers cannot be exchanged.
    """
    if not isinstance(case.model, Functional | keras.Sequential):
        raise Unavailable(f"layers of `{case.model.name}` cannot be exchanged: it has a `call` of its own")
    with random_state_kept():
        try:
            model = keras.models.clone_model(
                case.model, clone_function=lambda layer: instead(layer) or layer_copy(layer), recursive=True
            )
        except Exception as error:  # anything a user's layer or its config can raise
            raise Unavailable(f"`{case.model.name}` cannot be rebuilt ({type(error).__name__}: {error})") from error
        kept = {layer.name: layer for layer in all_layers(case.model)}
        for layer in all_layers(model):
            old = kept.get(layer.name)
            if old is None or [v.shape for v in old.variables] != [v.shape for v in layer.variables]:
                continue
            layer.trainable = old.trainable
            for new, value in zip(layer.variables, old.variables, strict=True):
                new.assign(to_host(value))
    return replace(case, model=model)
