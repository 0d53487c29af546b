"""Healthy programs with unpleasant networks, optimizers and feeds: one function, one reason to suspect them wrongly."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from benchmarks.doctor import losses
from benchmarks.doctor.catalogue import (
    binary,
    both,
    functional,
    healthy,
    ids,
    loads_itself,
    no_void,
    own,
    probabilities,
    several,
    softmax,
)  # fmt: skip
from benchmarks.doctor.recipe import Recipe
from keras import layers, ops


@healthy(lambda way: way.network in ("unet", "unet++", "deeplab"))
def encoder_frozen_on_purpose(r: Recipe) -> None:
    """With the weights of an earlier training, then frozen whole, normalization too."""
    random = np.random.default_rng(1)

    def change(model: keras.Model) -> None:
        pool = next(layer for layer in model.layers if "pool" in layer.name or "average" in layer.name)
        encoder = model.layers[: model.layers.index(pool)]
        for weight in (weight for layer in encoder for weight in layer.trainable_weights):
            weight.assign(weight + 0.1 * random.normal(size=weight.shape))
        for start in range(0, 40, 8):
            model(r.scale(r.images[start : start + 8]), training=True)  # statistics follow
        for layer in encoder:
            layer.trainable = False

    r.change_model = change


@healthy()
def a_high_rate_that_works(r: Recipe) -> None:
    r.optimizer = keras.optimizers.SGD(0.1, momentum=0.9)


@healthy()
def adam_at_a_hundredth(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Adam(1e-2)


@healthy()
def adam_at_a_ten_thousandth(r: Recipe) -> None:
    r.optimizer, r.epochs = keras.optimizers.Adam(1e-4), 200


@healthy()
def clipped_gradients_and_decay(r: Recipe) -> None:
    r.optimizer = keras.optimizers.AdamW(1e-3, weight_decay=1e-2, global_clipnorm=1.0)


@healthy()
def averaged_weights(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Adam(1e-3, use_ema=True)


@healthy()
def mixed_precision(r: Recipe) -> None:
    right = r.build

    def build() -> keras.Model:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            r.look.dtype_of_head = "float32"
            return right()
        finally:
            keras.config.set_dtype_policy(before)

    r.build = build


@healthy(ids)
def rare_classes_by_sample_weight(r: Recipe) -> None:
    share = np.bincount(r.masks[r.masks < r.num_classes].ravel(), minlength=r.num_classes) / r.masks.size
    weights = np.append(1 / np.sqrt(share + 1e-3), np.zeros(256 - r.num_classes)).astype("float32")
    r.weigh = lambda masks: weights[masks]
    right = r.encode
    r.encode = lambda masks: right(np.where(masks == 255, 0, masks))
    r.loss, r.metrics = keras.losses.SparseCategoricalCrossentropy(from_logits=r.logits), []


@healthy(both(several, no_void, ids))
def inverse_frequencies_in_the_loss(r: Recipe) -> None:
    share = np.bincount(r.masks.ravel(), minlength=r.num_classes) / r.masks.size
    weights = ops.convert_to_tensor((0.25 / np.maximum(share, 0.01)).astype("float32"))

    def loss(y_true: Any, y_pred: Any) -> Any:
        known = ops.cast(y_true, "int32")
        return ops.take(weights, known) * ops.sparse_categorical_crossentropy(known, y_pred, from_logits=r.logits)

    r.loss = loss


@healthy()
def colour_augmentation_inside(r: Recipe) -> None:
    r.look.first = [
        layers.RandomBrightness(0.1, value_range=(0, 1)),
        layers.RandomContrast(0.2),
        layers.GaussianNoise(0.02),
    ]


@healthy(loads_itself)
def joint_augmentation(r: Recipe) -> None:
    def augment(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turns, mirrored = r.random.integers(4), r.random.random() < 0.5
        x, y = np.rot90(x, turns), np.rot90(y, turns)
        return (x[:, ::-1].copy(), y[:, ::-1].copy()) if mirrored else (x.copy(), y.copy())

    r.augment = augment


@healthy(loads_itself)
def strong_colour_augmentation(r: Recipe) -> None:
    def augment(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (x * r.random.uniform(0.5, 1.5) + r.random.normal(0, 0.05, x.shape)).astype("float32"), y

    r.augment = augment


@healthy(lambda way: way.feed == "arrays")
def validation_split(r: Recipe) -> None:
    r.fit = {"validation_data": None, "validation_split": 0.25}


@healthy()
def no_validation(r: Recipe) -> None:
    r.fit = {"validation_data": None}


@healthy(lambda way: way.feed == "tf.data")
def repeated_with_steps(r: Recipe) -> None:
    right = r.train
    r.train = lambda: {"x": right()["x"].repeat()}  # type: ignore[method-assign]
    r.fit = {"steps_per_epoch": 12}


@healthy()
def small_weight_decay(r: Recipe) -> None:
    r.look.l2 = 1e-5


@healthy()
def half_of_the_units_dropped(r: Recipe) -> None:
    r.look.dropout = 0.5


@healthy()
def no_normalization(r: Recipe) -> None:
    r.look.normalization = None


@healthy()
def swish_and_glorot(r: Recipe) -> None:
    r.look.activation, r.look.initializer = "silu", "glorot_uniform"


@healthy(binary)
def prior_in_the_bias_of_the_head(r: Recipe) -> None:
    if r.head == "sigmoid":
        r.look.bias_of_head = keras.initializers.Constant(-3.0)


@healthy(both(binary, probabilities, functional, lambda way: way.feed in ("arrays", "tf.data")))
def heads_at_three_depths(r: Recipe) -> None:
    right = r.build

    def build() -> keras.Model:
        model = right()
        x = model.layers[-2].output if model.outputs else None
        if x is None:
            return model
        extra = [
            layers.Conv2D(1, size, padding="same", activation="sigmoid", name=f"deep_{size}")(x) for size in (1, 3)
        ]
        return keras.Model(model.input, [model.output, *extra])

    r.build, r.metrics = build, []
    r.loss = [losses.stock("binary", 2, False, False) for _ in range(3)]
    right_train, right_validation = r.arrays, r.validation
    r.arrays = lambda: (right_train()[0], (right_train()[1],) * 3)  # type: ignore[method-assign, assignment, return-value]
    r.validation = lambda: (right_validation()[0], (right_validation()[1],) * 3)  # type: ignore[method-assign, assignment, return-value]


@healthy(lambda way: way.feed == "arrays" and way.network == "unet")
def outputs_by_name(r: Recipe) -> None:
    right = r.build

    def build() -> keras.Model:
        model = right()
        size = layers.GlobalAveragePooling2D()(model.layers[-3].output)
        return keras.Model(model.input, {"mask": model.output, "size": layers.Dense(1, name="size")(size)})

    loss, metric = r.loss, r.metrics
    train, validation = r.arrays, r.validation

    def named(arrays: tuple[np.ndarray, ...], masks: np.ndarray) -> Any:
        return arrays[0], {"mask": arrays[1], "size": (masks > 0).mean((1, 2)).astype("float32")[:, None]}

    r.build, r.loss, r.metrics = build, {"mask": loss, "size": "mse"}, {"mask": metric}  # type: ignore[assignment]
    r.arrays = lambda: named(train(), r.masks)  # type: ignore[method-assign]
    r.validation = lambda: named(validation(), r.val_masks)  # type: ignore[method-assign]


class Sparsity(layers.Layer):
    """Adds a small penalty on activations."""

    def call(self, x: Any) -> Any:
        self.add_loss(1e-4 * ops.mean(ops.abs(x)))
        return x


@healthy()
def a_loss_added_by_a_layer(r: Recipe) -> None:
    r.look.first = [Sparsity()]


@healthy(both(own, binary))
def several_batches_in_one_step(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Adam(2e-3, gradient_accumulation_steps=2)
    r.compile = {"jit_compile": False}


@healthy(binary)
def metric_of_its_own(r: Recipe) -> None:
    def dice_coef(y_true: Any, y_pred: Any) -> Any:
        p = ops.cast(y_pred > (0.0 if r.logits else 0.5), "float32")
        return (2 * ops.sum(y_true * p) + 1) / (ops.sum(y_true) + ops.sum(p) + 1)

    r.metrics = [dice_coef, "accuracy"]


@healthy(both(several, softmax))
def accuracy_beside_iou(r: Recipe) -> None:
    r.metrics = ["accuracy", r.right_metric()] if not r.has_void else r.metrics


@healthy()
def few_pictures(r: Recipe) -> None:
    r.images, r.masks, r.batch_size = r.images[:12], r.masks[:12], 4
