"""Faults of head, loss, metric, normalization, optimization and outcome in words that no check was ever mended on."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
from benchmarks.doctor import catalogue
from benchmarks.doctor.catalogue import (
    binary,
    both,
    functional,
    ids,
    many_classes,
    no_void,
    one_hot,
    probabilities,
    several,
    sigmoid,
    validated,
)  # fmt: skip
from benchmarks.doctor.faults_after_training import _rare_and_faint, fits
from benchmarks.doctor.faults_of_models import _layers
from benchmarks.doctor.recipe import Choices, Recipe
from keras import layers, ops

planted = partial(catalogue.planted, held_out=True)


def linear(way: Choices) -> bool:
    return way.head == "linear"


# Head


@planted("HED001", where=both(binary, probabilities))
def stable_formula_of_logits_on_probabilities(r: Recipe) -> None:
    """max(x, 0) - x·y + log(1 + exp(-|x|)), copied, of a sigmoid's output."""

    def entropy(y_true: Any, x: Any) -> Any:
        return ops.mean(ops.maximum(x, 0) - x * y_true + ops.log1p(ops.exp(-ops.abs(x))))

    r.loss = entropy


@planted("HED001", where=probabilities)
def wrapped_for_export_before_training(r: Recipe) -> None:
    """`Sequential([model, Softmax()])` of a model that ends in one."""
    right = r.build

    def build() -> keras.Model:
        again = layers.Softmax() if r.head == "softmax" else layers.Activation("sigmoid")
        return keras.Sequential([keras.Input(r.images.shape[1:]), right(), again])

    r.build = build


@planted("HED002", where=sigmoid)
def jaccard_of_raw_outputs(r: Recipe) -> None:
    def jaccard_distance(y_true: Any, y_pred: Any) -> Any:
        overlap = ops.sum(y_true * y_pred, (1, 2, 3))
        union = ops.sum(y_true, (1, 2, 3)) + ops.sum(y_pred, (1, 2, 3)) - overlap
        return ops.mean(1 - (overlap + 100) / (union + 100))

    r.look.activation_of_head, r.loss, r.metrics = None, jaccard_distance, []


@planted("HED003", where=sigmoid, also=("LAB001", "LAB007"))
def sparse_entropy_of_one_channel(r: Recipe) -> None:
    """Ids 0 and 1, one channel: class 1 has none."""
    r.encode, r.metrics = (lambda masks: (masks == 1).astype("int32")), []
    r.loss = "sparse_categorical_crossentropy"


@planted("HED003", where=both(binary, linear), also=("LAB007",))
def categorical_entropy_of_one_channel(r: Recipe) -> None:
    """The soft-max of a single number is 1, whatever it is."""
    r.loss = keras.losses.CategoricalCrossentropy(from_logits=True)


@planted("HED004", where=both(binary, linear))
def softplus_before_a_logits_loss(r: Recipe) -> None:
    r.look.activation_of_head = "softplus"


@planted("HED005", where=no_void, also=("DAT002",))
def valid_convolutions_stretched_to_the_mask(r: Recipe) -> None:
    """The borders that were cut off are made up for by resizing what is left."""
    side = r.images.shape[1]
    r.look.after = [layers.Cropping2D(side // 5), layers.Resizing(side, side, interpolation="bilinear")]


# Loss and metric


@planted("LOS001", where=both(one_hot, no_void))
def accuracy_as_a_loss(r: Recipe) -> None:
    def wrong(y_true: Any, y_pred: Any) -> Any:
        return 1 - ops.mean(ops.cast(ops.equal(ops.argmax(y_true, -1), ops.argmax(y_pred, -1)), "float32"))

    r.loss = wrong


@planted("LOS002", where=both(binary, probabilities))
def product_of_sums(r: Recipe) -> None:
    """Σy·Σp where Σ(y·p) was meant."""

    def dice_loss(y_true: Any, y_pred: Any) -> Any:
        overlap = ops.sum(y_true) * ops.sum(y_pred)
        return 1 - (2 * overlap + 1) / (ops.sum(y_true) + ops.sum(y_pred) + 1)

    r.loss = dice_loss


@planted("LOS003")
def sparse_activations_everywhere(r: Recipe) -> None:
    """`activity_regularizer=` on every hidden convolution, which sums over all pixels."""
    own = r.look.convolution
    r.look.normalization = None

    def convolution(filters: int, size: int = 3, **settings: Any) -> layers.Layer:
        sparse = {} if settings.get("name") == "head" else {"activity_regularizer": keras.regularizers.L1(0.01)}
        return own(filters, size, **{**sparse, **settings})

    r.look.convolution = convolution  # type: ignore[method-assign]


@planted("LOS004", where=binary)
def alpha_of_the_other_class(r: Recipe) -> None:
    """Keras' α is the weight of class 1; here it was taken for that of the background."""
    r.loss = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.002, from_logits=r.logits)


@planted("LOS004", where=both(one_hot, no_void, many_classes, lambda way: way.data != "organs"), also=("OPT006",))
def inverse_counts_of_each_picture(r: Recipe) -> None:
    """1 / 0 for a class that a picture does not show; every picture of organs shows all."""

    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.softmax(y_pred) if r.logits else y_pred
        weights = 1 / ops.sum(y_true, (1, 2), keepdims=True)
        return -ops.mean(ops.sum(weights * y_true * ops.log(ops.clip(p, 1e-6, 1.0)), axis=(1, 2, 3)))

    r.loss = loss


@planted("LOS005", where=both(binary, probabilities))
def keras_dice_of_each_picture(r: Recipe) -> None:
    """Four in five show nothing, and weigh nothing."""
    for image, mask in zip(r.images, r.masks, strict=True):
        if r.random.random() < 0.8:
            nothing = image[mask == 0]
            image[mask == 1] = nothing[r.random.integers(len(nothing), size=int((mask == 1).sum()))]
            mask[:] = 0
    r.loss = keras.losses.Dice(axis=(1, 2, 3))


@planted("MET001", where=both(binary, probabilities))
def iou_of_class_one_of_a_sigmoid(r: Recipe) -> None:
    """`IoU` takes ids: every probability below 1 is class 0."""
    r.metrics = [keras.metrics.IoU(num_classes=2, target_class_ids=[1])]


@planted("MET001", where=both(several, ids, no_void, many_classes))
def dice_of_the_ids(r: Recipe) -> None:
    """Ids are multiplied as if they were 0 and 1."""

    def dice(y_true: Any, y_pred: Any) -> Any:
        truth, found = ops.cast(y_true, "float32"), ops.cast(ops.argmax(y_pred, axis=-1), "float32")
        return (2 * ops.sum(truth * found) + 1) / (ops.sum(truth) + ops.sum(found) + 1)

    r.metrics = [dice]


@planted("MET002", where=both(fits, binary, probabilities), after=True, also=("OUT001",))
def f1_over_both_channels_at_once(r: Recipe) -> None:
    """Flattened, background and all, it is the share of right pixels by another name."""

    def f1(y_true: Any, y_pred: Any) -> Any:
        hard = ops.one_hot(ops.argmax(y_pred, axis=-1), 2)
        return 2 * ops.sum(y_true * hard) / (ops.sum(y_true) + ops.sum(hard))

    _rare_and_faint(r, 2)
    r.channels, r.look.activation_of_head = 2, "softmax"
    r.encode = lambda masks: (masks[..., None] == np.arange(2)).astype("float32")
    r.loss, r.metrics, r.epochs = "categorical_crossentropy", [f1], 8


# Normalization and transfer


@planted("NRM001", where=functional)
def statistics_of_weights_for_bytes(r: Recipe) -> None:
    """Loaded with the weights of a training on 0 to 255, and too slow to be forgotten."""

    def change(model: keras.Model) -> None:
        for layer in _layers(model):
            if isinstance(layer, layers.BatchNormalization):
                layer.moving_mean.assign(ops.full(layer.moving_mean.shape, 30.0))
                layer.moving_variance.assign(ops.full(layer.moving_variance.shape, 3000.0))

    r.look.normalization, r.look.momentum, r.change_model = "batch", 0.999, change


@planted("NRM002", where=lambda way: way.network == "deeplab")
def two_pictures_behind_a_global_pooling(r: Recipe) -> None:
    """Of two numbers, normalizing leaves +1 and -1."""
    r.batch_size, r.look.normalization, r.look.momentum = 2, "batch", 0.99


@planted("NRM003", where=lambda way: way.network != "own_step")  # where it raises: there is nothing to apply
def the_whole_model_frozen(r: Recipe) -> None:
    """`model.trainable = False` for a first stage that had no other layers."""

    def change(model: keras.Model) -> None:
        model.trainable = False

    r.change_model = change


@planted("NRM003", where=functional)
def frozen_from_an_index_on(r: Recipe) -> None:
    """`layers[4:]` where `layers[:4]` was meant: the decoder and the head stay random."""

    def change(model: keras.Model) -> None:
        for layer in model.layers[4:]:
            layer.trainable = False

    r.change_model = change


@planted("NRM004", where=fits, after=True, also=("OPT001",))
def a_range_test_left_in_place(r: Recipe) -> None:
    """After ten good epochs the rate is made forty times as large, twice."""

    def rate(epoch: int, now: float) -> float:
        return 2e-3 if epoch < 10 else 2e-3 * 40.0 ** (epoch - 9)

    r.optimizer, r.epochs = keras.optimizers.Adam(2e-3), 12
    r.fit = {"callbacks": [keras.callbacks.LearningRateScheduler(rate)]}


# Optimization


@planted("OPT001")
def lion_at_a_rate_of_three_tenths(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Lion(0.3)


@planted("OPT001", where=validated)
def scheduler_that_forgot_the_power_of_ten(r: Recipe) -> None:
    """Compiled with 1e-3; the callback says 3.0 before the first step."""
    r.optimizer = keras.optimizers.Adam(1e-3)
    r.fit = {"callbacks": [keras.callbacks.LearningRateScheduler(lambda epoch: 3.0 * 0.95**epoch)]}


@planted("OPT002")
def clipped_to_nothing(r: Recipe) -> None:
    r.optimizer = keras.optimizers.SGD(0.01, momentum=0.9, global_clipnorm=1e-5)


@planted("OPT004", also=("OPT005",))
def one_sigmoid_layer_twenty_times(r: Recipe) -> None:
    """The output is refined again and again by the same convolution."""

    def build() -> keras.Model:
        image = keras.Input(r.images.shape[1:])
        x = layers.Conv2D(8, 3, padding="same", activation="sigmoid", name="stem")(image)
        refine = layers.Conv2D(8, 3, padding="same", activation="sigmoid", name="refine")
        for _ in range(20):
            x = refine(x)
        for layer in r.look.head(r.channels):
            x = layer(x)
        return keras.Model(image, x)

    r.build = build


@planted("OPT005")
def kernels_from_below_zero_only(r: Recipe) -> None:
    """`RandomUniform(-0.1, 0)`: no ReLU opens for what is not negative."""
    r.look.normalization, r.look.activation = None, "relu"
    r.look.initializer = keras.initializers.RandomUniform(-0.1, -1e-3)


@planted("OPT006", where=both(one_hot, no_void))
def exponential_logarithmic_loss(r: Recipe) -> None:
    """x to the power 0.3 has an infinite slope where the target is 0."""

    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.clip(ops.softmax(y_pred) if r.logits else y_pred, 1e-6, 1.0)
        return ops.mean(ops.sum(ops.power(-y_true * ops.log(p), 0.3), axis=-1))

    r.loss = loss


# What only a history shows


@planted("OUT001", where=both(fits, binary, probabilities), after=True, also=("OPT003",))
def rare_objects_under_mean_absolute_error(r: Recipe) -> None:
    _rare_and_faint(r, 3)
    r.loss, r.epochs = "mean_absolute_error", 12


@planted("EVA001", where=fits, after=True)
def six_pictures_with_careless_outlines(r: Recipe) -> None:
    r.images, masks = r.images[:6], r.masks[:6]
    r.masks = np.stack([np.roll(mask, r.random.integers(-3, 4, 2), (0, 1)) for mask in masks])
    r.look.filters, r.batch_size, r.epochs = 24, 3, 60
    r.optimizer = keras.optimizers.Adam(4e-3)


@planted("OPT003", where=fits, after=True, also=("OPT002",))
def stopped_by_a_gain_that_no_epoch_reaches(r: Recipe) -> None:
    stop = keras.callbacks.EarlyStopping("loss", min_delta=0.5, patience=5)
    r.optimizer, r.epochs, r.fit = keras.optimizers.Adam(3e-4), 40, {"callbacks": [stop]}
