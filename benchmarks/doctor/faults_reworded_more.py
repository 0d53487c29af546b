"""Faults of every kind in yet other words, which were held out of the mending of checks until they were looked at."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from benchmarks.doctor.catalogue import (
    binary,
    both,
    functional,
    ids,
    loads_itself,
    many_classes,
    no_void,
    one_hot,
    planted,
    probabilities,
    several,
    softmax,
    stock,
    validated,
    void,
)  # fmt: skip
from benchmarks.doctor.recipe import Recipe
from keras import layers, ops
from scipy import ndimage as nd

Pair = tuple[np.ndarray, np.ndarray]


@planted("DAT001")
def two_missing_masks_shift_the_rest(r: Recipe) -> None:
    """Two files are missing in one folder, and `zip` does not mind."""
    r.images, r.masks = r.images[:-2], np.delete(r.masks, (1, 4), axis=0)


@planted("DAT002", also=("DAT001",))
def masks_turned_by_a_half(r: Recipe) -> None:
    r.masks, r.val_masks = r.masks[:, ::-1, ::-1], r.val_masks[:, ::-1, ::-1]


@planted("DAT003", where=no_void, also=("LAB004", "LAB008"))
def masks_of_another_folder(r: Recipe) -> None:
    """`np.load` of a file that was allocated and never filled."""
    r.masks, r.val_masks = np.zeros_like(r.masks), np.zeros_like(r.val_masks)


@planted("DAT004")
def division_by_an_empty_range(r: Recipe) -> None:
    """`(x - min) / (max - min)` of blank pictures."""
    r.images[::9] = 0

    def scale(images: np.ndarray) -> np.ndarray:
        x = images.astype("float32")
        low, high = x.min((1, 2, 3), keepdims=True), x.max((1, 2, 3), keepdims=True)
        with np.errstate(invalid="ignore"):
            return (x - low) / (high - low)

    r.scale = scale


@planted("DAT005", where=validated)
def everything_is_also_validation(r: Recipe) -> None:
    order = r.random.permutation(len(r.images))[: len(r.val_images)]
    r.val_images, r.val_masks = r.images[order], r.masks[order]


@planted("LAB001", where=both(several, ids, no_void))
def class_after_the_last(r: Recipe) -> None:
    right = r.encode
    r.encode = lambda masks: np.where(right(masks) == 0, r.num_classes, right(masks)).astype("int32")


@planted("LAB002", where=both(void, ids), also=("LAB001",))
def weights_were_forgotten(r: Recipe) -> None:
    """255 becomes a number of its own that no weight takes out."""
    r.encode = lambda masks: np.where(masks == 255, 254, masks).astype("int32")
    r.loss, r.metrics = keras.losses.SparseCategoricalCrossentropy(from_logits=r.logits), []


@planted("LAB003", where=binary)
def masks_of_half_range(r: Recipe) -> None:
    """0 and 128, as some tools save selections."""
    right = r.encode
    r.encode, r.metrics = (lambda masks: 128.0 * right(masks)), []


@planted("LAB004", where=both(binary, no_void), also=("DAT003",))
def integer_division(r: Recipe) -> None:
    r.encode = lambda masks: (masks // 255)[..., None].astype("float32")


@planted("LAB005", where=both(several, ids, no_void, many_classes))
def ids_smoothed(r: Recipe) -> None:
    r.encode = lambda masks: np.rint(nd.zoom(nd.zoom(masks.astype("float32"), (1, 0.25, 0.25), order=1), (1, 4, 4),
                                             order=1)).astype("int32")  # fmt: skip


@planted("LAB006", where=both(several, no_void), also=("LAB007",))
def palette_images_opened_as_colour(r: Recipe) -> None:
    """VOC's own colour map."""

    def color(value: int) -> list[int]:
        bits = [(value >> bit & 1) for bit in range(3)]
        return [128 * bit for bit in bits]

    palette = np.array([color(value) for value in range(64)] * 4, "uint8")
    r.encode, r.metrics = (lambda masks: palette[masks].astype("float32")), []


@planted("LAB007", where=both(several, ids, stock, no_void))
def one_hot_twice(r: Recipe) -> None:
    def encode(masks: np.ndarray) -> np.ndarray:
        return keras.utils.to_categorical(masks, r.num_classes).astype("float32")

    r.encode, r.metrics = encode, []
    r.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=r.logits)


@planted("LAB008", where=both(several, many_classes, no_void))
def first_class_merged_away(r: Recipe) -> None:
    r.masks = np.where(r.masks == 1, 0, r.masks)


@planted("PRE001")
def twelve_bit_values(r: Recipe) -> None:
    r.look.normalization = None
    r.scale = lambda images: images.astype("float32") * 16


@planted("PRE002")
def scaled_again_in_the_loader(r: Recipe) -> None:
    """`img_as_float` and then `/ 255`, with noise-free zeros."""
    r.scale = lambda images: ((images / 255.0 - 0.0) * (1 / 255.0)).astype("float32")


@planted("PRE005", where=loads_itself, also=("DAT001",))
def rotation_of_the_image_alone(r: Recipe) -> None:
    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        angle = r.random.uniform(20, 340)
        return nd.rotate(x, angle, reshape=False, order=1, mode="nearest").astype("float32"), y

    r.augment = augment


@planted("PRE006", where=loads_itself, also=("DAT003",))
def nine_tenths_cut_out(r: Recipe) -> None:
    """Objects erased from image and mask by an eraser that is nearly as large as the picture."""

    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        side = len(x)
        top, left = r.random.integers(0, side // 12 + 1, 2)
        large = side - side // 12
        x, y = x.copy(), y.copy()
        x[top : top + large, left : left + large] = 0
        y[top : top + large, left : left + large] = 0
        return x, y

    r.augment = augment


@planted("PRE007", where=validated, also=("DAT006",))
def validation_divided_twice(r: Recipe) -> None:
    r.scale_validation = lambda images: (images / 255 / 255).astype("float32")


@planted("HED001", where=both(probabilities, no_void, one_hot))
def entropy_of_logits_by_hand(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return -ops.mean(ops.sum(y_true * ops.log_softmax(y_pred, axis=-1), axis=-1))

    r.loss = loss


@planted("HED002", where=both(one_hot, no_void, softmax))
def logits_under_a_dice_of_probabilities(r: Recipe) -> None:
    r.look.activation_of_head, r.metrics = None, []

    def dice(y_true: Any, y_pred: Any) -> Any:
        overlap = ops.sum(y_true * y_pred, (0, 1, 2))
        return 1 - ops.mean((2 * overlap + 1) / (ops.sum(y_true, (0, 1, 2)) + ops.sum(y_pred, (0, 1, 2)) + 1))

    r.loss = dice


@planted("HED003", where=both(several, no_void, softmax))
def softmax_over_the_batch(r: Recipe) -> None:
    r.look.activation_of_head = lambda x: ops.softmax(x, axis=1)


@planted("HED004", where=lambda way: way.head == "linear")
def relu_layer_behind_the_head(r: Recipe) -> None:
    r.look.after = [layers.ReLU(max_value=6.0)]


@planted("HED005", where=both(no_void, ids), also=("DAT002",))
def output_rolled(r: Recipe) -> None:
    r.look.after = [layers.Lambda(lambda x: ops.roll(x, (9, 7), axis=(1, 2)))]


@planted("LOS001", where=both(binary, lambda way: way.head == "linear"))
def sign_of_the_logits(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        hard = 0.5 * (ops.sign(y_pred) + 1)
        return ops.mean(ops.abs(y_true - hard))

    r.loss = loss


@planted("LOS002", where=both(binary, probabilities))
def batch_against_batch(r: Recipe) -> None:
    """Every prediction is compared with every mask of the batch."""

    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.clip(ops.expand_dims(y_pred, 0), 1e-6, 1 - 1e-6)
        truth = ops.expand_dims(y_true, 1)
        return -ops.mean(truth * ops.log(p) + (1 - truth) * ops.log(1 - p))

    r.loss = loss


@planted("LOS003")
def ridge_of_one(r: Recipe) -> None:
    r.look.l2 = 1.0


@planted("LOS004", where=both(one_hot, no_void, many_classes))
def inverted_weights_in_the_formula(r: Recipe) -> None:
    share = np.bincount(r.masks.ravel(), minlength=r.num_classes) / r.masks.size
    weights = ops.convert_to_tensor((1e-4 + share**3 / (share**3).max()).astype("float32"))

    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.log_softmax(y_pred) if r.logits else ops.log(ops.clip(y_pred, 1e-6, 1.0))
        return -ops.mean(ops.sum(weights * y_true * p, axis=-1))

    r.loss = loss


@planted("MET001", where=both(one_hot, no_void))
def mean_iou_without_argmax(r: Recipe) -> None:
    r.metrics = [keras.metrics.MeanIoU(num_classes=r.num_classes, name="mIoU")]


@planted("NRM001", where=functional)
def statistics_of_a_million_steps(r: Recipe) -> None:
    r.look.normalization, r.look.momentum = "batch", 0.99999


@planted("NRM003")
def nothing_learns_but_normalization(r: Recipe) -> None:
    def change(model: keras.Model) -> None:
        for layer in model._flatten_layers(include_self=False):
            if "conv" in layer.name and layer.name != "head":
                layer.trainable = False

    r.change_model = change


@planted("OPT001")
def adagrad_at_fifty(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Adagrad(50.0)


@planted("OPT002")
def adagrad_that_hardly_moves(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Adagrad(1e-7)


@planted("OPT004", also=("NRM003",))
def softsign_twenty_deep(r: Recipe) -> None:
    def build() -> keras.Model:
        small = keras.initializers.TruncatedNormal(stddev=0.01)
        stack = [
            layers.Conv2D(8, 3, padding="same", activation="softsign", kernel_initializer=small) for _ in range(20)
        ]
        return keras.Sequential([keras.Input(r.images.shape[1:]), *stack, *r.look.head(r.channels)])

    r.build = build


@planted("OPT005")
def biases_of_minus_a_hundred(r: Recipe) -> None:
    right, own = r.build, r.look.convolution
    r.look.normalization, r.look.activation = None, "relu"

    def convolution(filters: int, size: int = 3, **settings: Any) -> layers.Layer:
        start = {} if settings.get("name") == "head" else {"bias_initializer": keras.initializers.Constant(-100.0)}
        return own(filters, size, **{**start, **settings})

    r.look.convolution = convolution  # type: ignore[method-assign]
    r.build = right


@planted("OPT006", where=both(one_hot, no_void))
def exponentials_that_overflow(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        e = ops.exp(100.0 * y_pred + 90.0)
        p = e / ops.sum(e, axis=-1, keepdims=True)
        return -ops.mean(ops.sum(y_true * ops.log(p), axis=-1))

    r.loss = loss
