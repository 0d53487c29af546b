"""Healthy programs in many styles, some unpleasant to look at; not one may be called sick. Name → function → Case."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from segnosis.doctor.case import Batch, Case, pairs_from_arrays

PROGRAMS: dict[str, Callable[[], Case]] = {}
SIZE = 16


def program(function: Callable[[], Case]) -> Callable[[], Case]:
    PROGRAMS[function.__name__] = function
    return function


def images_and_masks(classes: int = 2, side: int = 5, count: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    masks = np.zeros((count, SIZE, SIZE), "int32")
    for mask in masks:
        for class_id in range(1, classes):
            top, left = random.integers(0, SIZE - side, 2)
            mask[top : top + side, left : left + side] = class_id
    images = 0.7 * masks[..., None] / max(1, classes - 1) + 0.3 * random.random((count, SIZE, SIZE, 1))
    return images.astype("float32"), masks


def batches(x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None, size: int = 4) -> list[Batch]:
    cut = [slice(i, i + size) for i in range(0, len(x), size)]
    return [Batch(x[c], y[c], None if weight is None else weight[c]) for c in cut]


def net(channels: int, activation: str | None = None, first: list | None = None) -> keras.Model:
    image = keras.Input((None, None, 1))
    x = image
    for layer in first or []:
        x = layer(x)
    skip = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(skip)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
    return keras.Model(image, layers.Conv2D(channels, 1, activation=activation)(x))


@program
def tiny_objects_with_sigmoid() -> Case:
    x, y = images_and_masks(side=1)
    return Case(
        model=net(1, "sigmoid"), loss="binary_crossentropy", metrics=["accuracy"], batches=batches(x, y[..., None])
    )


@program
def multilabel_sigmoids() -> Case:
    x, y = images_and_masks(3)
    labels = np.stack([y == 1, y >= 1, y == 2], axis=-1).astype("float32")
    return Case(
        model=net(3, "sigmoid"), loss="binary_crossentropy", metrics=["binary_accuracy"], batches=batches(x, labels)
    )


@program
def soft_labels() -> Case:
    x, y = images_and_masks()
    soft = 0.1 + 0.8 * y[..., None].astype("float32") + 0.05 * x
    return Case(model=net(1, "sigmoid"), loss=keras.losses.BinaryCrossentropy(), batches=batches(x, soft))


@program
def logits_with_binary_crossentropy() -> Case:
    x, y = images_and_masks()
    return Case(
        model=net(1),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryIoU([1], threshold=0.0)],
        batches=batches(x, y[..., None].astype("uint8")),
    )


@program
def focal_closure_on_logits() -> Case:
    def focal(gamma: float) -> Callable:
        def loss(y_true, y_pred):  # type: ignore[no-untyped-def]
            entropy = keras.ops.binary_crossentropy(y_true, y_pred, from_logits=True)
            p = ops.sigmoid(y_pred)
            right = y_true * p + (1 - y_true) * (1 - p)
            return ops.mean((1 - right) ** gamma * entropy)

        return loss

    x, y = images_and_masks()
    return Case(model=net(1), loss=focal(2.0), batches=batches(x, y[..., None].astype("float32")))


@program
def void_weighted_out() -> Case:
    x, y = images_and_masks(3)
    y[:, :2] = 255
    weight = (y != 255).astype("float32")
    return Case(
        model=net(3, "softmax"),
        loss="sparse_categorical_crossentropy",
        batches=batches(x, np.where(y == 255, 0, y), weight),
    )


@program
def void_masked_in_a_loss_class() -> Case:
    class Masked(keras.losses.Loss):
        def call(self, y_true, y_pred):  # type: ignore[no-untyped-def]
            valid = ops.cast(y_true != 255, "float32")
            ids = ops.cast(ops.where(y_true == 255, 0, y_true), "int32")
            pixel = ops.sparse_categorical_crossentropy(ids, y_pred, from_logits=True)
            return ops.sum(valid * pixel) / ops.maximum(ops.sum(valid), 1.0)

    x, y = images_and_masks(3)
    y[:, :2] = 255
    return Case(model=net(3), loss=Masked(), batches=batches(x, y))


@program
def group_norm_on_raw_bytes() -> Case:
    x, y = images_and_masks()
    first = [layers.GroupNormalization(groups=1)]
    return Case(model=net(1, "sigmoid", first), loss="binary_crossentropy", batches=batches(255 * x, y[..., None]))


@program
def rescaling_inside() -> Case:
    x, y = images_and_masks(3)
    model = net(3, "softmax", [layers.Rescaling(1 / 127.5, offset=-1)])
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=batches((255 * x).astype("uint8"), y))


@program
def one_hot_crossentropy() -> Case:
    x, y = images_and_masks(4, side=3)
    return Case(
        model=net(4, "softmax"),
        loss="categorical_crossentropy",
        metrics=["accuracy", keras.metrics.OneHotMeanIoU(4)],
        batches=batches(x, np.eye(4, dtype="float32")[y]),
    )


@program
def generalized_dice() -> Case:
    def loss(y_true, y_pred):  # type: ignore[no-untyped-def]
        ids = ops.cast(y_true, "int32")
        target = ops.one_hot(ops.squeeze(ids, -1) if len(ids.shape) == 4 else ids, 3)
        p = ops.softmax(y_pred, axis=-1)
        weight = 1 / (ops.sum(target, (0, 1, 2)) ** 2 + 1.0)
        overlap = ops.sum(weight * ops.sum(target * p, (0, 1, 2)))
        return 1 - 2 * overlap / ops.sum(weight * ops.sum(target + p, (0, 1, 2)))

    x, y = images_and_masks(3)
    return Case(model=net(3), loss=loss, batches=batches(x, y[..., None]))


@program
def subclass_with_dice_and_crossentropy() -> Case:
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.body = layers.Conv2D(8, 3, padding="same", activation="relu")
            self.top = layers.Conv2D(1, 1, activation="sigmoid")

        def call(self, x, training=None):  # type: ignore[no-untyped-def]
            return self.top(self.body(x))

    def loss(y_true, y_pred):  # type: ignore[no-untyped-def]
        dice = 1 - (2 * ops.sum(y_true * y_pred) + 1) / (ops.sum(y_true) + ops.sum(y_pred) + 1)
        return dice + ops.mean(keras.losses.binary_crossentropy(y_true, y_pred))

    def dice_coef(y_true, y_pred):  # type: ignore[no-untyped-def]
        y_true = ops.cast(y_true, y_pred.dtype)
        return (2 * ops.sum(y_true * y_pred) + 1) / (ops.sum(y_true) + ops.sum(y_pred) + 1)

    x, y = images_and_masks()
    model = Net()
    model(x[:1])
    return Case(model=model, loss=loss, metrics=[dice_coef], batches=batches(x, y[..., None].astype("float32")))


@program
def batch_norm_on_raw_bytes() -> Case:
    image = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    model = keras.Model(image, layers.Conv2D(2, 1, activation="softmax")(x))
    images, y = images_and_masks()
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=batches(255 * images, y))


@program
def preprocessing_backbone() -> Case:
    backbone = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    inner = keras.Model(backbone.input, backbone.get_layer("stem_activation").output, name="stem")
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(2, 1)(layers.UpSampling2D()(inner(image)))
    random = np.random.default_rng(0)
    x_train, y = 255 * random.random((4, 32, 32, 3)), random.integers(0, 2, (4, 32, 32))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Case(model=keras.Model(image, x), loss=loss, batches=batches(x_train.astype("float32"), y))


@program
def two_outputs_by_name() -> Case:
    image = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    mask = layers.Conv2D(2, 1, activation="softmax", name="mask")(x)
    edge = layers.Conv2D(1, 1, name="edge")(x)
    x_train, y = images_and_masks()
    edges = (y != np.roll(y, 1, 1))[..., None].astype("float32")
    target = [Batch(x_train[:4], {"mask": y[:4], "edge": edges[:4]})]
    return Case(
        model=keras.Model(image, {"mask": mask, "edge": edge}),
        loss={"mask": "sparse_categorical_crossentropy", "edge": keras.losses.BinaryCrossentropy(from_logits=True)},
        metrics={"mask": ["accuracy"]},
        batches=target,
    )


@program
def mixed_precision() -> Case:
    image = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", dtype="mixed_bfloat16")(image)
    x = layers.Conv2D(3, 1, dtype="mixed_bfloat16")(x)
    model = keras.Model(image, layers.Activation("softmax", dtype="float32")(x))
    images, y = images_and_masks(3)
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=batches(images, y))


@program
def flattened_pixels() -> Case:
    image = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(3, 3, padding="same")(image)
    model = keras.Model(image, layers.Softmax()(layers.Reshape((SIZE * SIZE, 3))(x)))
    images, y = images_and_masks(3)
    target = np.eye(3, dtype="float32")[y].reshape(len(y), -1, 3)
    return Case(model=model, loss="categorical_crossentropy", metrics=["accuracy"], batches=batches(images, target))


@program
def label_smoothing_and_small_decay() -> Case:
    image = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", kernel_regularizer=keras.regularizers.L2(1e-4))(image)
    model = keras.Model(image, layers.Conv2D(3, 1, kernel_regularizer=keras.regularizers.L2(1e-4))(x))
    images, y = images_and_masks(3)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    return Case(model=model, loss=loss, batches=batches(images, np.eye(3, dtype="float32")[y]))


@program
def legitimate_negatives() -> Case:
    x, y = images_and_masks()
    y[::2] = 0
    return Case(model=net(1, "sigmoid"), loss="binary_crossentropy", batches=batches(x, y[..., None]))


@program
def rare_class_weighted_up() -> Case:
    weights = np.array([0.1, 6.0, 6.0], "float32")

    def loss(y_true, y_pred):  # type: ignore[no-untyped-def]
        ids = ops.cast(y_true, "int32")
        return ops.take(weights, ids) * ops.sparse_categorical_crossentropy(ids, y_pred, from_logits=True)

    x, y = images_and_masks(3, side=2)
    return Case(model=net(3), loss=loss, batches=batches(x, y))


@program
def keras_focal_with_its_alpha() -> Case:
    x, y = images_and_masks(side=2)
    loss = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True)
    return Case(model=net(1, "sigmoid"), loss=loss, batches=batches(x, y[..., None]))


@program
def log_softmax_head() -> Case:
    def nll(y_true, y_pred):  # type: ignore[no-untyped-def]
        return -ops.mean(ops.sum(ops.one_hot(ops.cast(y_true, "int32"), 3) * y_pred, axis=-1))

    x, y = images_and_masks(3)
    return Case(model=net(3, "log_softmax"), loss=nll, batches=batches(x, y))


@program
def squared_error_on_a_linear_head() -> Case:
    x, y = images_and_masks()
    return Case(model=net(1), loss="mse", batches=batches(x, y[..., None].astype("float32")))


@program
def tanh_head_with_hinge() -> Case:
    x, y = images_and_masks()
    return Case(model=net(1, "tanh"), loss="hinge", batches=batches(x, (2 * y[..., None] - 1).astype("float32")))


@program
def average_of_supervised_heads() -> Case:
    image = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    heads = [layers.Conv2D(2, 1, activation="softmax")(x) for _ in range(3)]
    images, y = images_and_masks()
    model = keras.Model(image, layers.Average()(heads))
    return Case(model=model, loss="sparse_categorical_crossentropy", batches=batches(images, y))


@program
def ct_numbers_standardized_by_hand() -> Case:
    x, y = images_and_masks()
    x = (x - x.mean()) / x.std()
    return Case(
        model=net(2),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        batches=batches(x, y),
        validation_batches=batches(*images_and_masks(seed=1))
        and batches((images_and_masks(seed=1)[0] - 0.2) / 0.2, images_and_masks(seed=1)[1]),
    )


@program
def joint_rotation_with_strong_colour() -> Case:
    random = np.random.default_rng(3)

    def augment(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turns = int(random.integers(4))
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
        image = np.clip(random.uniform(0.5, 1.5) * image + random.uniform(-0.2, 0.2), 0, 1)
        return image + 0.1 * random.normal(size=image.shape), mask

    x, y = images_and_masks()
    return Case(
        model=net(1, "sigmoid"),
        loss="binary_crossentropy",
        batches=batches(x, y[..., None]),
        augment=augment,
        pairs=pairs_from_arrays(x, y),
    )


@program
def own_channel_dice_with_void_one_hot_rows() -> Case:
    def dice(y_true, y_pred):  # type: ignore[no-untyped-def]
        valid = ops.sum(y_true, axis=-1, keepdims=True)
        overlap = ops.sum(y_true * y_pred * valid, axis=(0, 1, 2))
        return 1 - ops.mean((2 * overlap + 1) / (ops.sum((y_true + y_pred) * valid, axis=(0, 1, 2)) + 1))

    x, y = images_and_masks(3)
    target = np.eye(3, dtype="float32")[y]
    target[:, :2] = 0
    return Case(model=net(3, "softmax"), loss=dice, batches=batches(x, target))
