"""Faults of data, labels and preprocessing: one function, one way of making a healthy program sick."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from benchmarks.doctor.catalogue import (
    binary,
    both,
    ids,
    loads_itself,
    many_classes,
    no_void,
    one_hot,
    planted,
    several,
    stock,
    validated,
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


@planted("DAT003", where=no_void, also=("LAB004", "LAB008"))
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


@planted("DAT005", where=validated)
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


@planted("LAB008", where=both(several, many_classes))
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


@planted("PRE007", where=validated)
def validation_not_scaled(r: Recipe) -> None:
    r.scale_validation = lambda images: images.astype("float32")


@planted("PRE007", where=validated)
def validation_standardized_otherwise(r: Recipe) -> None:
    r.scale_validation = lambda images: ((images - images.mean()) / images.std()).astype("float32")


@planted("HED005", where=binary, also=("LAB007",))
def masks_of_half_the_size(r: Recipe) -> None:
    right = r.encode
    r.encode, r.metrics = (lambda masks: right(masks[:, ::2, ::2])), []
