"""Sick programs in other styles than the checks' own patients: the code that must come first, and the program."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops
from tests.patients.healthy_programs import SIZE, batches, images_and_masks, net

from segnosis.doctor.case import Batch, Case

PROGRAMS: dict[str, tuple[str, Callable[[], Case]]] = {}


def program(code: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    def note(function: Callable[[], Case]) -> Callable[[], Case]:
        PROGRAMS[function.__name__] = code, function
        return function

    return note


def subclass(channels: int, activation: str | None) -> keras.Model:
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.body = layers.Conv2D(8, 3, padding="same", activation="relu")
            self.top = layers.Conv2D(channels, 1, activation=activation)

        def call(self, x, training=None):  # type: ignore[no-untyped-def]
            return self.top(self.body(x))

    model = Net()
    model(np.zeros((1, SIZE, SIZE, 1), "float32"))
    return model


@program("HED001")
def subclass_softmax_under_a_softmax_dice() -> Case:
    def soft_dice(y_true, y_pred):  # type: ignore[no-untyped-def]
        p = ops.softmax(y_pred, axis=-1)
        overlap, size = ops.sum(y_true * p, (1, 2)), ops.sum(y_true + p, (1, 2))
        return 1 - ops.mean((2 * overlap + 1) / (size + 1))

    x, y = images_and_masks(3)
    return Case(model=subclass(3, "softmax"), loss=soft_dice, batches=batches(x, np.eye(3, dtype="float32")[y]))


@program("HED001")
def functional_sigmoid_ops_under_own_logits_loss() -> Case:
    image = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    model = keras.Model(image, ops.sigmoid(layers.Conv2D(1, 1)(x)) * 1.0)

    def entropy(y_true, y_pred):  # type: ignore[no-untyped-def]
        return ops.mean(ops.softplus(y_pred) - y_true * y_pred)

    x_train, y = images_and_masks()
    return Case(model=model, loss=entropy, batches=batches(x_train, y[..., None].astype("float32")))


@program("HED001")
def reshaped_softmax_with_from_logits() -> Case:
    image = keras.Input((SIZE, SIZE, 1))
    x = layers.Activation("softmax")(layers.Conv2D(4, 3, padding="same")(image))
    x = layers.Reshape((SIZE * SIZE, 4))(x)
    x_train, y = images_and_masks(4, side=3)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    target = np.eye(4, dtype="float32")[y].reshape(len(y), -1, 4)
    return Case(model=keras.Model(image, x), loss=loss, batches=batches(x_train, target))


@program("HED002")
def linear_head_under_a_dice_class() -> Case:
    class DiceLoss(keras.losses.Loss):
        def call(self, y_true, y_pred):  # type: ignore[no-untyped-def]
            return 1 - 2 * ops.sum(y_true * y_pred) / (ops.sum(y_true) + ops.sum(y_pred) + 1e-6)

    x, y = images_and_masks()
    return Case(model=subclass(1, None), loss=DiceLoss(), batches=batches(x, y[..., None].astype("float32")))


@program("HED002")
def linear_head_with_a_loss_by_name() -> Case:
    x, y = images_and_masks()
    return Case(model=net(1), loss="binary_crossentropy", batches=batches(x, y[..., None]))


@program("HED003")
def softmax_over_the_rows() -> Case:
    image = keras.Input((SIZE, SIZE, 1))
    x = layers.Softmax(axis=1)(layers.Conv2D(3, 3, padding="same")(image))
    x_train, y = images_and_masks(3)
    target = np.eye(3, dtype="float32")[y]
    return Case(model=keras.Model(image, x), loss="categorical_crossentropy", batches=batches(x_train, target))


@program("HED003")
def one_sigmoid_for_four_classes() -> Case:
    x, y = images_and_masks(4, side=3)
    return Case(model=net(1, "sigmoid"), loss="binary_crossentropy", batches=batches(x, y[..., None]))


@program("HED004")
def subclass_relu_before_a_logits_loss() -> Case:
    x, y = images_and_masks()
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return Case(model=subclass(1, "relu"), loss=loss, batches=batches(x, y[..., None]))


@program("HED004")
def tanh_logits() -> Case:
    x, y = images_and_masks(3)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    return Case(model=net(3, "tanh"), loss=loss, batches=batches(x, np.eye(3, dtype="float32")[y]))


@program("LAB007")
def one_hot_masks_under_a_sparse_loss() -> Case:
    x, y = images_and_masks(3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Case(model=net(3), loss=loss, batches=batches(x, np.eye(3, dtype="float32")[y]))


@program("LAB007")
def ids_under_the_dice_of_keras() -> Case:
    x, y = images_and_masks(4, side=3)
    return Case(model=net(4, "softmax"), loss=keras.losses.Dice(), batches=batches(x, y[..., None]))


@program("LAB002")
def one_hot_masks_of_255_in_the_frame() -> Case:
    x, y = images_and_masks(3)
    target = np.eye(3, dtype="float32")[y]
    target[:, :2] = target[:, -2:] = 255.0
    return Case(model=net(3, "softmax"), loss="categorical_crossentropy", batches=batches(x, target))


@program("LAB002")
def void_counted_by_an_own_loss() -> Case:
    def clipped(y_true, y_pred):  # type: ignore[no-untyped-def]
        target = ops.one_hot(ops.cast(ops.clip(y_true, 0, 2), "int32"), 3)
        return keras.losses.categorical_crossentropy(target, y_pred)

    x, y = images_and_masks(3)
    y[:, :2] = 255
    return Case(model=net(3, "softmax"), loss=clipped, batches=batches(x, y))


@program("LOS001")
def argmax_inside_a_loss_class() -> Case:
    class Hard(keras.losses.Loss):
        def call(self, y_true, y_pred):  # type: ignore[no-untyped-def]
            hard = ops.one_hot(ops.argmax(y_pred, axis=-1), 3)
            return 1 - 2 * ops.sum(y_true * hard) / ops.sum(y_true + hard)

    x, y = images_and_masks(3)
    return Case(model=net(3, "softmax"), loss=Hard(), batches=batches(x, np.eye(3, dtype="float32")[y]))


@program("LOS002")
def binary_masks_against_two_channels() -> Case:
    def entropy(y_true, y_pred):  # type: ignore[no-untyped-def]
        p = ops.clip(y_pred, 1e-7, 1 - 1e-7)
        return -ops.mean(y_true * ops.log(p) + (1 - y_true) * ops.log(1 - p))

    x, y = images_and_masks()
    return Case(model=net(2, "softmax"), loss=entropy, batches=batches(x, y[..., None].astype("float32")))


@program("LOS002")
def valid_pixels_gathered_and_summed_over_space() -> Case:
    class GatheredDice(keras.losses.Loss):
        def call(self, y_true, y_pred):  # type: ignore[no-untyped-def]
            true, pred = ops.reshape(y_true, (-1, 3)), ops.reshape(y_pred, (-1, 3))
            overlap = ops.sum(true * pred, axis=(1, 2))
            return 1 - ops.mean(2 * overlap / ops.sum(true + pred, axis=(1, 2)))

    x, y = images_and_masks(3)
    return Case(model=net(3, "softmax"), loss=GatheredDice(), batches=batches(x, np.eye(3, dtype="float32")[y]))


@program("LOS004")
def sample_weights_the_wrong_way_round() -> Case:
    x, y = images_and_masks(side=2)
    weight = np.where(y == 1, 0.02, 1.0).astype("float32")
    loss = keras.losses.BinaryCrossentropy()
    return Case(model=net(1, "sigmoid"), loss=loss, batches=batches(x, y[..., None], weight))


@program("LOS004")
def class_weight_for_pixels() -> Case:
    x, y = images_and_masks(3)
    target = np.eye(3, dtype="float32")[y]
    loss = "categorical_crossentropy"
    return Case(model=net(3, "softmax"), loss=loss, batches=batches(x, target), class_weight={0: 1.0, 1: 5.0, 2: 5.0})


@program("MET001")
def mean_iou_of_one_hot_masks() -> Case:
    x, y = images_and_masks(3)
    return Case(
        model=net(3, "softmax"),
        loss="categorical_crossentropy",
        metrics=["accuracy", keras.metrics.MeanIoU(3)],
        batches=batches(x, np.eye(3, dtype="float32")[y]),
    )


@program("MET001")
def own_iou_with_its_ids_rounded_down() -> Case:
    def iou(y_true, y_pred):  # type: ignore[no-untyped-def]
        a, b = ops.cast(y_true, "int32"), ops.cast(y_pred, "int32")
        both, either = ops.sum(ops.minimum(a, b)), ops.sum(ops.maximum(a, b))
        return ops.cast(both, "float32") / (ops.cast(either, "float32") + 1e-6)

    x, y = images_and_masks()
    loss = "binary_crossentropy"
    return Case(model=net(1, "sigmoid"), loss=loss, metrics=[iou], batches=batches(x, y[..., None].astype("float32")))


@program("PRE005")
def flip_and_rotation_inside_the_model() -> Case:
    augment = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)], name="augment")
    x, y = images_and_masks()
    return Case(model=net(1, "sigmoid", [augment]), loss="binary_crossentropy", batches=batches(x, y[..., None]))


@program("PRE005")
def data_set_that_flips_images_alone() -> Case:
    class Flipping(keras.utils.PyDataset):
        def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
            super().__init__()
            self.x, self.y, self.random = x, y, np.random.default_rng(0)

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(4 * index, 4 * index + 4)
            images = [image[:, ::-1] if self.random.random() < 0.5 else image for image in self.x[rows]]
            return np.stack(images), self.y[rows]

    x, y = images_and_masks(side=4)
    data = Flipping(x, y[..., None].astype("float32"))
    drawn = [Batch(*data[i]) for i in range(2)]
    return Case(model=net(1, "sigmoid"), loss="binary_crossentropy", batches=drawn, fit_arguments={"x": data})


@program("PRE001")
def raw_bytes_into_a_plain_network() -> Case:
    x, y = images_and_masks()
    return Case(model=net(1, "sigmoid"), loss="binary_crossentropy", batches=batches(255 * x, y[..., None]))


@program("PRE002")
def divided_by_255_twice() -> Case:
    x, y = images_and_masks()
    x = x / x.max() / 255
    return Case(model=net(1, "sigmoid"), loss="binary_crossentropy", batches=batches(x, y[..., None]))


@program("PRE007")
def validation_left_as_bytes() -> Case:
    x, y = images_and_masks()
    target = y[..., None]
    held_out = batches((255 * x).astype("uint8"), target)
    return Case(
        model=net(1, "sigmoid"), loss="binary_crossentropy", batches=batches(x, target), validation_batches=held_out
    )
