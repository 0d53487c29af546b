"""One function, one way of making a healthy program sick."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from benchmarks.doctor.catalogue import (
    always,
    binary,
    both,
    ids,
    loads_itself,
    no_void,
    one_hot,
    own,
    planted,
    probabilities,
    several,
    sigmoid,
    softmax,
    stock,
    void,
)  # fmt: skip
from benchmarks.doctor.recipe import Recipe
from keras import layers, ops
from scipy import ndimage as nd

Pair = tuple[np.ndarray, np.ndarray]


# Data


@planted("DAT001")
def masks_of_other_images(r: Recipe) -> None:
    r.masks = np.roll(r.masks, 7, axis=0)


@planted("DAT001")
def masks_in_another_order(r: Recipe) -> None:
    r.masks = r.masks[np.random.default_rng(5).permutation(len(r.masks))]


@planted("DAT002", also=("DAT001",))
def masks_transposed(r: Recipe) -> None:
    r.masks, r.val_masks = (np.swapaxes(part, 1, 2) for part in (r.masks, r.val_masks))


@planted("DAT002", also=("DAT001",))
def masks_upside_down(r: Recipe) -> None:
    r.masks, r.val_masks = r.masks[:, ::-1], r.val_masks[:, ::-1]


@planted("DAT002", also=("DAT001",))
def masks_shifted(r: Recipe) -> None:
    r.masks, r.val_masks = (np.roll(part, (6, -5), (1, 2)) for part in (r.masks, r.val_masks))


@planted("DAT003", "LAB004", where=no_void, also=("LAB004", "LAB008"))
def masks_without_foreground(r: Recipe) -> None:
    right = r.encode
    r.encode = lambda masks: right(np.where(masks > 200, 1, 0).astype("uint8"))


@planted("DAT004")
def not_a_number_in_images(r: Recipe) -> None:
    right = r.scale

    def scale(images: np.ndarray) -> np.ndarray:
        x = right(images)
        x[::6, 3:9, 3:9] = np.nan
        return x

    r.scale = scale


@planted("DAT004")
def loader_returns_one_image(r: Recipe) -> None:
    r.images = np.repeat(r.images[:1], len(r.images), axis=0)


@planted("DAT005")
def validation_is_part_of_training(r: Recipe) -> None:
    r.val_images, r.val_masks = r.images[: len(r.val_images)], r.masks[: len(r.val_masks)]


# Labels


@planted("LAB001", where=both(several, ids, no_void, stock))
def classes_count_from_one(r: Recipe) -> None:
    right = r.encode
    r.encode = lambda masks: right(masks) + 1


@planted("LAB001", where=ids)
def one_class_too_many(r: Recipe) -> None:
    for part in (r.masks, r.val_masks):
        part[:, 2:9, 2:9] = r.num_classes


@planted("LAB002", where=both(void, ids))
def void_not_ignored(r: Recipe) -> None:
    from benchmarks.doctor import losses

    r.loss = losses.stock(r.target, r.num_classes, r.logits, has_void=False)
    r.metrics = []


@planted("LAB002", where=both(void, ids))
def void_is_the_last_class(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        known = ops.minimum(ops.cast(y_true, "int32"), r.num_classes - 1)
        return ops.sparse_categorical_crossentropy(known, y_pred, from_logits=r.logits)

    r.loss, r.metrics = loss, []


@planted("LAB003", where=binary)
def masks_hold_255(r: Recipe) -> None:
    right = r.encode
    r.encode = lambda masks: 255 * right(masks)


@planted("LAB003", where=binary)
def masks_standardized(r: Recipe) -> None:
    right = r.encode

    def encode(masks: np.ndarray) -> np.ndarray:
        y = right(masks)
        return (y - y.mean()) / y.std()

    r.encode = encode


@planted("LAB004", where=binary, also=("DAT003", "LAB003"))
def masks_divided_by_255_too_often(r: Recipe) -> None:
    right = r.encode
    r.encode = lambda masks: right(masks) / 255


@planted("LAB004", where=no_void, also=("DAT003", "LAB008"))
def masks_cast_before_scaling(r: Recipe) -> None:
    right = r.encode
    r.encode = lambda masks: right((masks / 255.0).astype("uint8"))


@planted("LAB005", where=both(several, ids, no_void))
def masks_resized_linearly(r: Recipe) -> None:
    def resized(masks: np.ndarray) -> np.ndarray:
        half = nd.zoom(masks.astype("float32"), (1, 0.5, 0.5), order=1)
        return np.round(nd.zoom(half, (1, 2, 2), order=1)).astype("int32")

    r.encode = resized


@planted("LAB006", where=both(several, no_void))
def masks_are_colors(r: Recipe) -> None:
    palette = np.random.default_rng(3).integers(0, 256, (r.num_classes, 3)).astype("float32")
    r.encode, r.metrics = (lambda masks: palette[masks]), []


@planted("LAB007", where=both(ids, stock))
def one_hot_for_a_sparse_loss(r: Recipe) -> None:
    r.encode = lambda masks: (masks[..., None] == np.arange(r.num_classes)).astype("float32")
    r.metrics = []


@planted("LAB007", where=both(one_hot, stock))
def ids_for_a_one_hot_loss(r: Recipe) -> None:
    r.encode, r.metrics = (lambda masks: masks[..., None].astype("float32")), []


@planted("LAB007", where=both(several, no_void))
def ids_for_keras_dice(r: Recipe) -> None:
    r.encode, r.metrics = (lambda masks: masks[..., None].astype("int32")), []
    r.loss = keras.losses.Dice()


@planted("LAB008", where=several)
def last_class_never_seen(r: Recipe) -> None:
    r.masks = np.where(r.masks == r.num_classes - 1, 0, r.masks)


# Preprocessing


@planted("PRE001")
def pixels_left_at_255(r: Recipe) -> None:
    r.look.normalization = None
    r.scale = lambda images: images.astype("float32")


@planted("PRE001")
def sixteen_bit_left_as_is(r: Recipe) -> None:
    r.look.normalization = None
    r.scale = lambda images: images.astype("float32") * 257


@planted("PRE002")
def divided_twice(r: Recipe) -> None:
    r.scale = lambda images: (images / 255.0 / 255.0).astype("float32")


@planted("PRE002")
def divided_and_rescaled(r: Recipe) -> None:
    r.look.first = [layers.Rescaling(1 / 255)]


def _shifted(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    moved = np.roll(x, random.integers(-14, 15, 2), (0, 1))
    return moved[:, ::-1] if random.random() < 0.5 else moved


@planted("PRE005", where=loads_itself, also=("DAT001",))
def only_the_image_moves(r: Recipe) -> None:
    r.augment = lambda x, y: (np.ascontiguousarray(_shifted(x, r.random)), y)


@planted("PRE005", where=loads_itself, also=("DAT001",))
def image_and_mask_turn_differently(r: Recipe) -> None:
    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        return np.rot90(x, r.random.integers(4)).copy(), np.rot90(y, r.random.integers(4)).copy()

    r.augment = augment


@planted("PRE005", also=("DAT001",))
def augmenting_layers_on_the_image_alone(r: Recipe) -> None:
    r.look.first = [layers.RandomFlip(), layers.RandomRotation(0.4)]


@planted("PRE007")
def validation_not_scaled(r: Recipe) -> None:
    r.scale_validation = lambda images: images.astype("float32")


@planted("PRE007")
def validation_standardized_otherwise(r: Recipe) -> None:
    r.scale_validation = lambda images: ((images - images.mean()) / images.std()).astype("float32")


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


@planted("HED004", where=softmax)
def relu_before_softmax(r: Recipe) -> None:
    r.look.activation_of_head, r.look.after = "relu", [layers.Softmax()]


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


@planted("LOS004", where=both(several, ids, no_void))
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
    r.masks[empty], r.images[empty] = 0, r.images[empty].min()
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


@planted("NRM001")
def statistics_of_another_domain(r: Recipe) -> None:
    r.look.momentum = 0.9999

    def change(model: keras.Model) -> None:
        for layer in _layers(model):
            if isinstance(layer, layers.BatchNormalization):
                layer.moving_mean.assign(ops.ones_like(layer.moving_mean) * 4)
                layer.moving_variance.assign(ops.ones_like(layer.moving_variance) * 30)

    r.change_model = change


@planted("NRM002")
def batches_of_one(r: Recipe) -> None:
    r.batch_size = 1
    r.look.momentum = 0.99


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
                layer.bias.assign(ops.ones_like(layer.bias) * -20)

    r.change_model = change


@planted("OPT006", where=both(binary, probabilities))
def logarithm_of_zero(r: Recipe) -> None:
    r.look.bias_of_head = keras.initializers.Constant(200.0)
    r.loss = lambda y, p: -ops.mean(y * ops.log(p) + (1 - y) * ops.log(1 - p))


@planted("OPT006")
def kernels_far_too_large(r: Recipe) -> None:
    r.look.normalization, r.look.initializer = None, keras.initializers.RandomNormal(stddev=1e6)
    r.look.activation = "exponential"


@planted("LAB007", where=both(binary, always))
def masks_of_half_the_size(r: Recipe) -> None:
    right = r.encode
    r.encode, r.metrics = (lambda masks: right(masks[:, ::2, ::2])), []
