"""What BatchNormalization does on these batches: statistics per batch, and the loss before and after they settle."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import loss_tensor, raised
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.forward import few
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.graph import all_layers
from segnosis.doctor.random_state import to_host
from segnosis.doctor.snapshot import borrowed

PRICE = "batch"

_BATCHES = 4
_PATIENCE = 6.0
_NOISE = {"rate": (keras.layers.Dropout, keras.layers.SpatialDropout2D), "stddev": (keras.layers.GaussianNoise,)}


@dataclass(frozen=True)
class Normalization:
    """One live BatchNormalization layer.

    Attributes:
        name: Its name.
        momentum: Its momentum.
        values: Numbers that one batch averages per channel: batch × height × width.
        is_fresh: Whether its moving statistics are exactly those it was made with, 0 and 1.
        spread: How far the means of single batches lie from their common mean, in standard deviations, typically.
    """

    name: str
    momentum: float
    values: int
    is_fresh: bool
    spread: float


@dataclass(frozen=True)
class BatchStatistics:
    """All live BatchNormalization layers, and what they do to the loss.

    Attributes:
        layers: The layers, in the model's order.
        batch_size: Samples of a batch as trained.
        batches: Batches looked at.
        training: Loss with the batches' own statistics, dropout off.
        inference: Loss with the stored statistics.
        settled: Loss with statistics gathered from these batches.
        shift: How far outputs with the stored statistics lie from those with settled ones, in standard deviations of
            the latter.
    """

    layers: tuple[Normalization, ...]
    batch_size: int
    batches: int
    training: float
    inference: float
    settled: float
    shift: float


def measure(model: keras.Model, heads: Sequence[Head], batches: Sequence[Batch]) -> BatchStatistics:
    """Forward passes on a copy, nothing trained."""
    judged = [head for head in heads if head.loss is not None]
    full = int(np.shape(keras.tree.flatten(batches[0].x)[0])[0])
    given = [few(batch, model) for batch in list(batches)[:_BATCHES]]
    if not judged:
        raise Unavailable("no loss was given")
    with borrowed(model, given[0].x) as copy, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN is an answer here
        norms = [layer for layer in all_layers(copy) if isinstance(layer, keras.layers.BatchNormalization)]
        live = [layer for layer in norms if layer.trainable]
        if not live:
            raise Unavailable("no BatchNormalization of the model moves")
        try:
            return _measured(copy, judged, given, live, full)
        except Exception as error:  # anything that anyone's model or loss can raise; fit() raises the same
            raise Unavailable(f"a forward pass raises ({raised(error).error})") from error


def _measured(
    model: keras.Model, heads: Sequence[Head], batches: Sequence[Batch], live: Sequence[Any], full: int
) -> BatchStatistics:
    start = time.perf_counter()
    stored = [(to_host(layer.moving_mean), to_host(layer.moving_variance)) for layer in live]
    first = keras.tree.map_structure(keras.ops.convert_to_tensor, batches[0].x)
    before = keras.tree.flatten(model(first, training=False))
    inference = _loss(heads, before, batches[0])
    gathered: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in live]
    training, sizes = [], [0] * len(live)
    with _without_noise(model, live), _sizes_noted(live, sizes):
        for batch in batches:
            x = keras.tree.map_structure(keras.ops.convert_to_tensor, batch.x)
            training.append(_loss(heads, keras.tree.flatten(model(x, training=True)), batch))
            for layer, found in zip(live, gathered, strict=True):
                found.append((to_host(layer.moving_mean), to_host(layer.moving_variance)))
            if time.perf_counter() - start > _PATIENCE:
                break
    spreads = []
    for layer, found in zip(live, gathered, strict=True):
        means, variances = (np.stack([pair[index] for pair in found]) for index in (0, 1))
        mean, variance = means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
        spreads.append(float(np.median(np.abs(means - mean).mean(axis=0) / np.sqrt(variance + 1e-12))))
    after = keras.tree.flatten(model(first, training=False))
    kept = len(keras.tree.flatten(batches[0].x)[0])
    return BatchStatistics(
        layers=tuple(
            Normalization(
                layer.name,
                float(layer.momentum),
                size * full // max(1, kept),
                bool(not mean.any() and (variance == 1).all()),
                spread,
            )
            for layer, size, (mean, variance), spread in zip(live, sizes, stored, spreads, strict=True)
        ),
        batch_size=full,
        batches=len(training),
        training=training[0],
        inference=inference,
        settled=_loss(heads, after, batches[0]),
        shift=max(_distance(to_host(a), to_host(b)) for a, b in zip(before, after, strict=True)),
    )


def _loss(heads: Sequence[Head], outputs: Sequence[Any], batch: Batch) -> float:
    total = 0.0
    for head in heads:
        y = head.pick(batch.y)
        if y is not None:
            weight = head.pick(batch.sample_weight)
            total += head.loss_weight * float(
                to_host(loss_tensor(head.loss, np.asarray(y), outputs[head.index], weight))
            )
    return total


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first.astype("float64"), second.astype("float64")
    return float(np.sqrt(np.mean((a - b) ** 2)) / (b.std() + 1e-12))


@contextmanager
def _without_noise(model: keras.Model, live: Sequence[Any]) -> Iterator[None]:
    """Dropout off, and moving statistics that take over each batch's own at once."""
    noisy = [
        (layer, name, getattr(layer, name))
        for layer in all_layers(model)
        for name, kinds in _NOISE.items()
        if isinstance(layer, kinds)
    ]
    kept = [*noisy, *((layer, "momentum", layer.momentum) for layer in live)]
    for layer, name, _ in kept:
        setattr(layer, name, 0.0)
    try:
        yield
    finally:
        for layer, name, value in kept:
            setattr(layer, name, value)


@contextmanager
def _sizes_noted(live: Sequence[Any], sizes: list[int]) -> Iterator[None]:
    """Note how many numbers per channel each layer is given."""

    def noting(call: Any, index: int) -> Any:
        def noted(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            sizes[index] = int(np.prod(inputs.shape) // inputs.shape[-1])
            return call(inputs, *args, **kwargs)

        return noted

    for index, layer in enumerate(live):
        layer.__dict__["call"] = noting(layer.call, index)
    try:
        yield
    finally:
        for layer in live:
            layer.__dict__.pop("call", None)
