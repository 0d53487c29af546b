"""Faults of head, loss, normalization and optimization once more, as other people write them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from benchmarks.doctor.catalogue import (
    binary,
    both,
    functional,
    ids,
    many_classes,
    no_void,
    one_hot,
    planted,
    probabilities,
    several,
    sigmoid,
)  # fmt: skip
from benchmarks.doctor.faults_of_models import _layers
from benchmarks.doctor.recipe import Recipe
from keras import layers, ops

# Head


@planted("HED001", where=probabilities)
def activation_in_the_function_and_the_layer(r: Recipe) -> None:
    """The head squashes, and a lambda behind it squashes again."""
    squash = ops.sigmoid if r.head == "sigmoid" else ops.softmax
    r.look.after = [layers.Lambda(lambda x: squash(x), name="probabilities")]


@planted("HED002", where=both(binary, probabilities))
def linear_head_under_dice(r: Recipe) -> None:
    r.look.activation_of_head, r.loss, r.metrics = "linear", keras.losses.Dice(), []


@planted("HED003", where=both(several, many_classes, no_void, ids), also=("LAB001", "LAB007"))
def one_channel_for_several_classes(r: Recipe) -> None:
    r.channels, r.look.activation_of_head, r.metrics = 1, "sigmoid", []
    r.encode = lambda masks: masks[..., None].astype("float32")
    r.loss = keras.losses.BinaryCrossentropy()


@planted("HED003", where=both(several, no_void, lambda way: way.head == "softmax"))
def softmax_over_the_columns(r: Recipe) -> None:
    r.look.activation_of_head, r.look.after = None, [layers.Softmax(axis=2)]


@planted("HED004", where=lambda way: way.head == "linear")
def tanh_before_a_logits_loss(r: Recipe) -> None:
    r.look.activation_of_head = "tanh"


@planted("HED004", where=lambda way: way.head == "linear")
def logits_cut_to_zero_and_one(r: Recipe) -> None:
    r.look.after = [layers.Lambda(lambda x: ops.clip(x, 0.0, 1.0))]


# Loss


@planted("LOS001", where=both(binary, probabilities))
def dice_of_rounded_values(r: Recipe) -> None:
    def dice_loss(y_true: Any, y_pred: Any) -> Any:
        y_pred = ops.round(y_pred)
        return 1 - 2 * ops.sum(y_true * y_pred) / (ops.sum(y_true) + ops.sum(y_pred) + 1e-6)

    r.loss = dice_loss


@planted("LOS001", where=both(one_hot, no_void, lambda way: way.head == "linear"))
def overlap_behind_a_stopped_gradient(r: Recipe) -> None:
    class MyIoULoss(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            p = ops.stop_gradient(ops.softmax(y_pred))
            overlap = ops.sum(y_true * p)
            return 1 - overlap / (ops.sum(y_true + p) - overlap)

    r.loss = MyIoULoss()


@planted("LOS002", where=both(one_hot, no_void, lambda way: way.head == "softmax"))
def flattened_in_another_order(r: Recipe) -> None:
    """Channels first for the prediction, channels last for the truth, both flattened."""

    def dice(y_true: Any, y_pred: Any) -> Any:
        truth = ops.reshape(y_true, (-1,))
        p = ops.reshape(ops.transpose(y_pred, (0, 3, 1, 2)), (-1,))
        return 1 - (2 * ops.sum(truth * p) + 1) / (ops.sum(truth) + ops.sum(p) + 1)

    r.loss = dice


@planted("LOS002", where=both(binary, probabilities))
def error_over_the_wrong_axis(r: Recipe) -> None:
    """Profiles along the rows are compared, not pixels."""

    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.clip(ops.mean(y_pred, axis=1), 1e-6, 1 - 1e-6)
        truth = ops.mean(y_true, axis=1)
        return -ops.mean(truth * ops.log(p) + (1 - truth) * ops.log(1 - p))

    r.loss = loss


@planted("LOS003")
def squares_of_all_weights_added(r: Recipe) -> None:
    def change(model: keras.Model) -> None:
        model(np.zeros((1, *r.images.shape[1:]), "float32"))  # subclasses make their kernels when they are first called
        for layer in _layers(model):
            if isinstance(layer, layers.Conv2D):
                layer.kernel_regularizer = keras.regularizers.L1L2(l1=0.02, l2=0.05)
                layer.kernel.regularizer = layer.kernel_regularizer

    r.change_model = change


class Quiet(layers.Layer):
    """Keeps what passes small, far too eagerly."""

    def call(self, x: Any) -> Any:
        self.add_loss(0.05 * ops.sum(ops.square(x)))
        return x


@planted("LOS003", where=lambda way: way.head == "linear")
def activity_penalty_summed(r: Recipe) -> None:
    r.look.after = [Quiet()]


@planted("LOS004", where=both(binary, probabilities))
def lesion_weighted_down(r: Recipe) -> None:
    def weighted(y_true: Any, y_pred: Any) -> Any:
        p = ops.clip(y_pred, 1e-6, 1 - 1e-6)
        return -ops.mean(0.005 * y_true * ops.log(p) + 1.0 * (1 - y_true) * ops.log(1 - p))

    r.loss = weighted


@planted("LOS004", where=both(ids, no_void, many_classes))
def frequencies_as_sample_weights(r: Recipe) -> None:
    """Weight = frequency to the third, where its inverse was meant."""
    share = np.bincount(r.masks.ravel(), minlength=r.num_classes) / r.masks.size
    weights = ((share / share.max()) ** 3).astype("float32")
    weights[share == share.min()] = 1e-4
    r.weigh = lambda masks: weights[masks]


@planted("LOS005", where=both(one_hot, no_void, many_classes))
def jaccard_per_image_and_class(r: Recipe) -> None:
    """Absent classes count 1, and have no gradient."""
    logits = r.logits

    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.softmax(y_pred) if logits else y_pred
        overlap = ops.sum(y_true * p, (1, 2))
        return ops.mean(1 - overlap / (ops.sum(y_true, (1, 2)) + ops.sum(p, (1, 2)) - overlap + 1e-7))

    r.loss = loss
    r.masks = np.where((r.masks > 1) & (np.arange(len(r.masks)) % 3 > 0)[:, None, None], 0, r.masks)


@planted("MET001", where=both(binary, lambda way: way.head == "linear"))
def threshold_of_probabilities_on_logits(r: Recipe) -> None:
    """A Dice of raw logits, far below 0 where there is nothing."""

    def dice_coef(y_true: Any, y_pred: Any) -> Any:
        return (2 * ops.sum(y_true * y_pred) + 1) / (ops.sum(y_true) + ops.sum(y_pred) + 1)

    r.metrics = [dice_coef]


# Normalization and transfer


@planted("NRM001", where=functional)
def momentum_of_a_longer_training(r: Recipe) -> None:
    r.look.normalization, r.look.momentum, r.look.initializer = "batch", 0.9995, "glorot_uniform"


@planted("NRM002", where=lambda way: way.network in ("deeplab",))
def one_picture_at_a_time(r: Recipe) -> None:
    r.look.normalization, r.look.momentum, r.batch_size = "batch", 0.9, 1


@planted("NRM003")
def everything_frozen_but_the_last_layers(r: Recipe) -> None:
    """`for layer in model.layers[:-3]`, without any weights loaded."""

    def change(model: keras.Model) -> None:
        found = [layer for layer in _layers(model) if not list(getattr(layer, "layers", []))]
        for layer in found[:-3]:
            layer.trainable = False

    r.change_model = change


@planted("NRM003")
def only_biases_and_scales_learn(r: Recipe) -> None:
    def change(model: keras.Model) -> None:
        for layer in _layers(model):
            if isinstance(layer, layers.Conv2D):
                layer.trainable = False

    r.change_model = change


# Optimization


@planted("OPT001")
def rmsprop_at_two(r: Recipe) -> None:
    r.optimizer = keras.optimizers.RMSprop(2.0)


@planted("OPT001")
def decay_that_starts_too_high(r: Recipe) -> None:
    rate = keras.optimizers.schedules.PolynomialDecay(30.0, 2000, power=0.9)
    r.optimizer = keras.optimizers.SGD(rate, momentum=0.99, nesterov=True)


@planted("OPT002")
def adam_at_a_billionth(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Adam(1e-8)


@planted("OPT002")
def rate_halved_every_step(r: Recipe) -> None:
    """`decay_steps` in steps where epochs were meant."""
    r.optimizer = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 1, 0.5))


@planted("OPT004", also=("NRM003",))
def sixteen_layers_that_shrink(r: Recipe) -> None:
    def build() -> keras.Model:
        image = x = keras.Input(r.images.shape[1:])
        for number in range(16):
            small = keras.initializers.RandomUniform(-0.02, 0.02, seed=number)
            x = layers.Conv2D(12, 3, padding="same", activation="tanh", kernel_initializer=small)(x)
        for layer in r.look.head(r.channels):
            x = layer(x)
        return keras.Model(image, x)

    r.build = build


@planted("OPT004", where=sigmoid, also=("NRM003", "OPT005"))
def a_deep_sigmoid_stack_in_a_class(r: Recipe) -> None:
    class Deep(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.convs = [layers.Conv2D(10, 3, padding="same", activation="sigmoid") for _ in range(14)]
            self.ending = r.look.head(r.channels)

        def call(self, x: Any) -> Any:
            for layer in [*self.convs, *self.ending]:
                x = layer(x)
            return x

    r.build = Deep


@planted("OPT005")
def relu_under_a_large_negative_bias(r: Recipe) -> None:
    """The last hidden layer never lights up."""

    def change(model: keras.Model) -> None:
        found = [layer for layer in _layers(model) if isinstance(layer, layers.Conv2D) and layer.use_bias]
        found = [layer for layer in found if layer.name != "head"]
        found[-1].bias.assign(ops.full(found[-1].bias.shape, -50.0))

    r.look.normalization, r.look.activation, r.change_model = None, "relu", change


@planted("OPT005")
def scales_of_normalization_at_zero(r: Recipe) -> None:
    """γ = 0 and β < 0 everywhere, ReLU behind: nothing passes."""

    def change(model: keras.Model) -> None:
        for layer in _layers(model):
            if isinstance(layer, layers.BatchNormalization | layers.GroupNormalization):
                layer.gamma.assign(ops.zeros_like(layer.gamma))
                layer.beta.assign(-ops.ones_like(layer.beta))

    r.change_model = change


@planted("OPT006", where=functional)
def divided_by_a_deviation_of_zero(r: Recipe) -> None:
    """Per-channel standardizing inside the network, of a channel that is constant."""

    def standardize(x: Any) -> Any:
        x = ops.concatenate([x, ops.zeros_like(x[..., :1])], axis=-1)
        return (x - ops.mean(x, (1, 2), keepdims=True)) / ops.std(x, (1, 2), keepdims=True)

    shape = r.images.shape[1:]
    r.look.first = [layers.Lambda(standardize, output_shape=(*shape[:-1], shape[-1] + 1))]


@planted("OPT006", where=both(binary, probabilities))
def square_root_of_no_error(r: Recipe) -> None:
    """√0 has an infinite slope: the loss is fine, the gradient is not."""

    def loss(y_true: Any, y_pred: Any) -> Any:
        wrong = ops.relu(ops.abs(y_true - y_pred) - 0.05)
        return ops.mean(ops.sqrt(wrong)) + ops.mean(ops.sqrt(ops.relu(y_true - 1)))

    r.loss = loss
