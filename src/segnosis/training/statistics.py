"""BatchNormalization statistics of the final weights, which training leaves those of the last few steps behind for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

Kept = list[tuple[Any, np.ndarray]]


def recompute(model: keras.Model, batches: Iterable[Any]) -> Kept:
    """Set the statistics of every BatchNormalization that learns to their mean over `batches`.

    Reference: Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021.

    Args:
        model: Built model; nothing else in it changes.
        batches: `(x, y)` with x as in training.

    Returns:
        The statistics as they were, for `put_back`; empty where the model has none.
    """
    from segnosis.models.freeze import leaves

    layers = [
        layer for _, layer in leaves(model) if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not layers:
        return []
    momenta = [layer.momentum for layer in layers]
    variables = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
    kept = [(variable, keras.ops.convert_to_numpy(variable)) for variable in variables]
    for count, batch in enumerate(batches):
        for layer in layers:
            layer.momentum = count / (count + 1)  # of `count` batches so far: their plain mean
        model(batch[0], training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return kept


def put_back(kept: Kept) -> None:
    """Undo `recompute`."""
    for variable, value in kept:
        variable.assign(value)
