"""Faults of head, loss, metric, normalization and optimization: one function, one way of making a program sick."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from benchmarks.doctor.catalogue import (
    binary,
    both,
    ids,
    no_void,
    own,
    planted,
    probabilities,
    several,
    sigmoid,
    softmax,
    stock,
)  # fmt: skip
from benchmarks.doctor.recipe import Recipe
from keras import layers, ops

# Head


@planted("HED001", where=both(probabilities, stock))
def activation_and_from_logits(r: Recipe) -> None:
    from benchmarks.doctor import losses

    r.loss = losses.stock(r.target, r.num_classes, True, r.has_void)


@planted("HED001", where=both(probabilities, own))
def activation_again_in_the_own_loss(r: Recipe) -> None:
    from benchmarks.doctor import losses

    r.loss = losses.make(r.choices.loss, r.target, r.num_classes, True, r.has_void)


@planted("HED001", where=probabilities)
def activation_layer_after_an_activation(r: Recipe) -> None:
    r.look.after = [layers.Activation(r.head)]


@planted("HED002", where=lambda way: way.head == "linear")
def no_activation_for_probabilities(r: Recipe) -> None:
    from benchmarks.doctor import losses

    r.loss = losses.make(r.choices.loss, r.target, r.num_classes, False, r.has_void)


@planted("HED002", where=probabilities)
def activation_forgotten(r: Recipe) -> None:
    r.look.activation_of_head, r.metrics = None, []


@planted("HED003", where=sigmoid)
def softmax_on_one_channel(r: Recipe) -> None:
    r.look.activation_of_head = "softmax"


@planted("HED003", where=both(softmax, several))
def softmax_over_the_rows(r: Recipe) -> None:
    r.look.activation_of_head, r.look.after = None, [layers.Softmax(axis=1)]


@planted("HED003", where=both(several, ids, no_void, stock), also=("LAB001",))
def one_channel_too_few(r: Recipe) -> None:
    r.channels = r.num_classes - 1
    r.metrics = []


@planted("HED004", where=lambda way: way.head == "linear")
def relu_before_a_logits_loss(r: Recipe) -> None:
    r.look.activation_of_head = "relu"


# Loss and metric


@planted("LOS001", where=both(binary, probabilities))
def dice_of_a_threshold(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        hard = ops.cast(y_pred > 0.5, "float32")
        return 1 - (2 * ops.sum(y_true * hard) + 1) / (ops.sum(y_true) + ops.sum(hard) + 1)

    r.loss = loss


@planted("LOS001", where=both(several, ids, no_void))
def dice_of_an_argmax(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        hard = ops.one_hot(ops.argmax(y_pred, axis=-1), r.num_classes)
        truth = ops.one_hot(ops.cast(y_true, "int32"), r.num_classes)
        return 1 - ops.sum(truth * hard) / ops.maximum(ops.sum(truth), 1.0)

    r.loss = loss


@planted("LOS002", where=both(binary, probabilities), also=("LAB007",))
def channel_axis_lost(r: Recipe) -> None:
    r.encode = lambda masks: (masks == 1).astype("float32")

    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.clip(y_pred, 1e-6, 1 - 1e-6)
        truth = ops.expand_dims(y_true, 1) if len(y_true.shape) == 3 else y_true
        return -ops.mean(truth * ops.log(p) + (1 - truth) * ops.log(1 - p))

    r.loss, r.metrics = loss, []


@planted("LOS003")
def enormous_weight_decay(r: Recipe) -> None:
    r.look.l2 = 0.1


@planted("LOS004", where=both(several, ids, no_void, lambda way: way.data != "fields"))  # nothing is rare there
def weights_the_wrong_way_round(r: Recipe) -> None:
    share = np.bincount(r.masks.ravel(), minlength=r.num_classes) / r.masks.size
    weights = ops.convert_to_tensor((share / share.max() + 1e-6).astype("float32"))

    def loss(y_true: Any, y_pred: Any) -> Any:
        known = ops.cast(y_true, "int32")
        pixels = ops.sparse_categorical_crossentropy(known, y_pred, from_logits=r.logits)
        return ops.mean(ops.take(weights, known) ** 2 * pixels)

    r.loss = loss


@planted("LOS005", where=binary)
def dice_per_image_on_empty_masks(r: Recipe) -> None:
    empty = np.random.default_rng(0).random(len(r.masks)) < 0.7
    r.masks[empty] = 0
    r.images[empty] = np.random.default_rng(1).normal(90, 6, r.images[empty].shape).clip(0, 255)
    logits = r.logits

    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.sigmoid(y_pred) if logits else y_pred
        overlap, axes = ops.sum(y_true * p, (1, 2, 3)), (1, 2, 3)
        return 1 - ops.mean(2 * overlap / (ops.sum(y_true, axes) + ops.sum(p, axes) + 1e-7))

    r.loss = loss


@planted("MET001", where=several)
def mean_iou_of_probabilities(r: Recipe) -> None:
    if r.target == "one-hot":
        r.metrics = [keras.metrics.MeanIoU(r.num_classes, sparse_y_true=False)]
    else:

        def iou(y_true: Any, y_pred: Any) -> Any:
            truth = ops.cast(ops.expand_dims(y_true, -1), "float32")
            overlap = ops.sum(truth * y_pred)
            return overlap / (ops.sum(truth) + ops.sum(y_pred) - overlap)

        r.metrics = [iou]


@planted("MET001", where=both(binary, probabilities))
def default_mean_iou_of_a_sigmoid(r: Recipe) -> None:
    r.metrics = [keras.metrics.MeanIoU(2)]


# Normalization and transfer


def _layers(model: keras.Model) -> list[layers.Layer]:
    return list(model._flatten_layers(include_self=False))


@planted("NRM001", where=lambda way: way.feed != "tf.data")
def statistics_that_never_arrive(r: Recipe) -> None:
    r.look.normalization, r.look.momentum = "batch", 0.9999


@planted("NRM002", where=lambda way: way.network == "deeplab")
def batches_of_one(r: Recipe) -> None:
    """One number per channel behind the global pooling."""
    r.batch_size = 1
    r.look.normalization, r.look.momentum = "batch", 0.99


@planted("NRM003")
def random_layers_frozen(r: Recipe) -> None:
    def change(model: keras.Model) -> None:
        for layer in _layers(model)[:-1]:
            if layer.name != "head" and not list(getattr(layer, "layers", [])):
                layer.trainable = False

    r.change_model = change


@planted("NRM003")
def the_head_is_frozen(r: Recipe) -> None:
    def change(model: keras.Model) -> None:
        next(layer for layer in _layers(model) if layer.name == "head").trainable = False

    r.change_model = change


# Optimization


@planted("OPT001")
def rate_of_a_hundred(r: Recipe) -> None:
    r.optimizer = keras.optimizers.SGD(100.0, momentum=0.9)


@planted("OPT001")
def adam_at_one(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Adam(1.0)


@planted("OPT002")
def adadelta_with_a_tiny_rate(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Adadelta(1e-5)


@planted("OPT002")
def sgd_with_a_tiny_rate(r: Recipe) -> None:
    r.optimizer = keras.optimizers.SGD(1e-6, momentum=0.9)


@planted("OPT004", where=lambda way: way.network in ("chain", "subclassed", "unet"), also=("NRM003",))
def twelve_sigmoid_layers(r: Recipe) -> None:
    def build() -> keras.Model:
        deep = [
            layers.Conv2D(
                8,
                3,
                padding="same",
                activation="sigmoid",
                kernel_initializer=keras.initializers.RandomNormal(stddev=0.05),
            )
            for _ in range(12)
        ]
        return keras.Sequential([keras.Input(r.images.shape[1:]), *deep, *r.look.head(r.channels)])

    r.build = build


@planted("OPT005")
def units_dead_from_the_start(r: Recipe) -> None:
    r.look.normalization = None

    def change(model: keras.Model) -> None:
        for layer in _layers(model):
            if isinstance(layer, layers.Conv2D) and layer.name != "head" and layer.bias is not None:
                layer.bias.assign(np.full(layer.bias.shape, -20.0))

    r.change_model = change


@planted("OPT006", where=both(binary, probabilities))
def logarithm_of_zero(r: Recipe) -> None:
    r.look.bias_of_head = keras.initializers.Constant(200.0)
    r.loss = lambda y, p: -ops.mean(y * ops.log(p) + (1 - y) * ops.log(1 - p))


@planted("OPT006")
def kernels_far_too_large(r: Recipe) -> None:
    r.look.normalization, r.look.initializer = None, keras.initializers.RandomNormal(stddev=1e6)
    r.look.activation = "exponential"
