"""Healthy programs with unpleasant data, targets and losses: one function, one reason to suspect them wrongly."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from benchmarks.doctor.catalogue import (
    binary,
    both,
    healthy,
    ids,
    no_void,
    one_hot,
    probabilities,
    sigmoid,
    softmax,
    void,
)  # fmt: skip
from benchmarks.doctor.recipe import Recipe
from keras import layers, ops


@healthy()
def plain(r: Recipe) -> None:
    """Nothing unusual."""


@healthy(binary)
def one_pixel_in_a_thousand(r: Recipe) -> None:
    for part in (r.masks, r.val_masks):
        part[:] = 0
        for i, mask in enumerate(part):
            mask[5 + i % 30, 7 + i % 20 : 9 + i % 20] = 1
    for images, masks in ((r.images, r.masks), (r.val_images, r.val_masks)):
        images[masks == 1] = 255


@healthy()
def slow_start(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(1e-6, 200, warmup_target=1e-3, warmup_steps=50)
    )


@healthy()
def batches_of_two_with_group_normalization(r: Recipe) -> None:
    r.batch_size, r.look.normalization = 2, "group"


@healthy(sigmoid)
def smoothed_labels(r: Recipe) -> None:
    right = r.encode
    r.encode = lambda masks: 0.05 + 0.9 * right(masks)


@healthy(both(binary, no_void))
def soft_borders(r: Recipe) -> None:
    from scipy import ndimage as nd

    r.encode = lambda masks: nd.uniform_filter((masks == 1).astype("float32"), (0, 3, 3))[..., None].clip(0, 1)


@healthy(one_hot)
def keras_label_smoothing(r: Recipe) -> None:
    r.loss = keras.losses.CategoricalCrossentropy(from_logits=r.logits, label_smoothing=0.1)


@healthy(lambda way: way.data == "organs" and way.target == "one-hot")
def overlapping_labels(r: Recipe) -> None:
    r.channels, r.look.activation_of_head, r.head = 3, "sigmoid", "sigmoid"
    r.encode = lambda masks: np.stack([masks >= 1, masks >= 2, masks == 3], axis=-1).astype("float32")
    r.loss, r.metrics = keras.losses.BinaryCrossentropy(), [keras.metrics.BinaryAccuracy()]


@healthy()
def rescaling_inside(r: Recipe) -> None:
    r.look.first = [layers.Rescaling(1 / 255)]
    r.scale = lambda images: images.astype("float32")


@healthy()
def bytes_into_a_rescaling_layer(r: Recipe) -> None:
    r.look.first = [layers.Rescaling(1 / 127.5, offset=-1)]
    r.scale = lambda images: images


@healthy()
def normalization_layer_adapted(r: Recipe) -> None:
    layer = layers.Normalization(axis=-1)
    layer.adapt(r.images.astype("float32"))
    r.look.first, r.scale = [layer], lambda images: images.astype("float32")


@healthy()
def from_minus_one_to_one(r: Recipe) -> None:
    r.scale = lambda images: (images / 127.5 - 1).astype("float32")


@healthy()
def standardized_by_image(r: Recipe) -> None:
    def scale(images: np.ndarray) -> np.ndarray:
        axes = (1, 2)
        return ((images - images.mean(axes, keepdims=True)) / (images.std(axes, keepdims=True) + 1e-3)).astype(
            "float32"
        )

    r.scale = scale


@healthy()
def sixteen_bits_scaled(r: Recipe) -> None:
    r.scale = lambda images: ((images.astype("uint16") * 16) / 4095).astype("float32")


@healthy(both(void, ids))
def void_by_sample_weights(r: Recipe) -> None:
    right = r.encode
    r.encode = lambda masks: right(np.where(masks == 255, 0, masks))
    r.weigh = lambda masks: (masks != 255).astype("float32")
    r.loss, r.metrics = keras.losses.SparseCategoricalCrossentropy(from_logits=r.logits), []


@healthy(both(void, one_hot))
def void_as_rows_of_zeros(r: Recipe) -> None:
    r.loss = keras.losses.CategoricalCrossentropy(from_logits=r.logits)


@healthy(void)
def void_cut_out_in_the_loss(r: Recipe) -> None:
    r.target, r.encode = "ids", lambda masks: masks[..., None].astype("int32")
    r.metrics = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        known = ops.cast(ops.squeeze(y_true, -1), "int32")
        kept = ops.cast(known < r.num_classes, "float32")
        value = ops.sparse_categorical_crossentropy(
            ops.where(known < r.num_classes, known, 0), y_pred, from_logits=r.logits
        )
        return ops.sum(value * kept) / (ops.sum(kept) + 1e-6)

    r.loss = loss


@healthy(binary)
def half_of_the_images_are_negatives(r: Recipe) -> None:
    r.masks[::2] = 0
    r.images[::2] = np.random.default_rng(0).normal(90, 6, r.images[::2].shape).clip(0, 255)


@healthy(binary)
def tversky(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.sigmoid(y_pred) if r.logits else y_pred
        hit = ops.sum(y_true * p)
        return 1 - (hit + 1) / (hit + 0.3 * ops.sum((1 - y_true) * p) + 0.7 * ops.sum(y_true * (1 - p)) + 1)

    r.loss = loss


@healthy(binary)
def log_cosh_dice(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.sigmoid(y_pred) if r.logits else y_pred
        dice = 1 - (2 * ops.sum(y_true * p) + 1) / (ops.sum(y_true) + ops.sum(p) + 1)
        return ops.log((ops.exp(dice) + ops.exp(-dice)) / 2)

    r.loss = loss


@healthy(lambda way: way.head == "linear" and way.target == "binary")
def weighted_entropy_of_logits(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        positive = y_true * ops.softplus(-y_pred) * 5
        return ops.mean(positive + (1 - y_true) * ops.softplus(y_pred))

    r.loss = loss


@healthy(binary)
def squared_jaccard(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.sigmoid(y_pred) if r.logits else y_pred
        overlap = ops.sum(y_true * p, axis=(1, 2, 3))
        union = ops.sum(y_true**2, axis=(1, 2, 3)) + ops.sum(p**2, axis=(1, 2, 3)) - overlap
        return ops.mean(1 - (overlap + 1) / (union + 1))

    r.loss = loss


@healthy(one_hot)
def keras_categorical_focal(r: Recipe) -> None:
    r.loss = keras.losses.CategoricalFocalCrossentropy(from_logits=r.logits)


@healthy(sigmoid)
def keras_binary_focal(r: Recipe) -> None:
    r.loss = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True)


@healthy(both(binary, probabilities))
def keras_dice(r: Recipe) -> None:
    r.loss = keras.losses.Dice()


@healthy(both(one_hot, softmax, no_void))
def keras_tversky(r: Recipe) -> None:
    r.loss = keras.losses.Tversky(axis=(0, 1, 2))
