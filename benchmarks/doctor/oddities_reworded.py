"""Healthy programs, unpleasant in yet other ways, held out of the mending of checks until they were looked at."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from benchmarks.doctor.catalogue import binary, both, healthy, ids, loads_itself, no_void, validated
from benchmarks.doctor.recipe import Recipe
from keras import ops
from scipy import ndimage as nd

Pair = tuple[np.ndarray, np.ndarray]


@healthy(binary)
def generalized_dice_by_area(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.sigmoid(y_pred) if r.logits else y_pred
        both_truth, both_p = ops.concatenate([1 - y_true, y_true], -1), ops.concatenate([1 - p, p], -1)
        area = ops.sum(both_truth, (0, 1, 2))
        weight = 1 / (area + 50.0)
        overlap = ops.sum(weight * ops.sum(both_truth * both_p, (0, 1, 2)))
        return 1 - 2 * overlap / ops.sum(weight * ops.sum(both_truth + both_p, (0, 1, 2)))

    r.loss = loss


@healthy()
def nadam_with_restarts(r: Recipe) -> None:
    rate = keras.optimizers.schedules.CosineDecayRestarts(2e-3, 60)
    r.optimizer = keras.optimizers.Nadam(rate, clipnorm=1.0)


@healthy()
def lion(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Lion(3e-4)


@healthy()
def median_filtered_and_equalized(r: Recipe) -> None:
    """Every image to the same histogram of ranks, -0.5 to 0.5."""

    def scale(images: np.ndarray) -> np.ndarray:
        flat = images.reshape(len(images), -1, images.shape[-1]).astype("float32")
        ranks = flat.argsort(1).argsort(1) / flat.shape[1] - 0.5
        return ranks.reshape(images.shape).astype("float32")

    r.scale = scale


@healthy(loads_itself)
def elastic_for_both(r: Recipe) -> None:
    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        side = len(x)
        by = nd.gaussian_filter(r.random.normal(size=(2, side, side)), (0, 6, 6)) * 12
        rows, columns = (np.rint(grid + move).clip(0, side - 1).astype(int) for grid, move in
                         zip(np.mgrid[:side, :side], by, strict=True))  # fmt: skip
        return x[rows, columns], y[rows, columns]

    r.augment = augment


@healthy(both(ids, no_void))
def sparse_entropy_by_hand(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        known = ops.expand_dims(ops.cast(y_true, "int32"), -1)
        p = ops.log_softmax(y_pred) if r.logits else ops.log(ops.clip(y_pred, 1e-7, 1.0))
        return -ops.mean(ops.take_along_axis(p, known, axis=-1))

    r.loss = loss


@healthy()
def inverted_pictures(r: Recipe) -> None:
    r.scale = lambda images: ((255.0 - images) / 255).astype("float32")


@healthy(both(binary, validated))
def larger_validation_batches(r: Recipe) -> None:
    r.fit = {"validation_batch_size": 16}
