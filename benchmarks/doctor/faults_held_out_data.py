"""Faults of data, labels and preprocessing in words that no check was ever mended on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
from benchmarks.doctor import catalogue
from benchmarks.doctor.catalogue import (
    binary,
    both,
    ids,
    loads_itself,
    many_classes,
    no_void,
    one_hot,
    several,
    softmax,
    stock,
    validated,
    void,
)  # fmt: skip
from benchmarks.doctor.recipe import Recipe
from keras import layers, ops
from scipy import ndimage as nd

planted = partial(catalogue.planted, held_out=True)
Pair = tuple[np.ndarray, np.ndarray]


# Data


@planted("DAT001", where=lambda way: way.feed in ("generator", "steps"), also=("PRE005",))
def image_and_mask_generators_shuffled_apart(r: Recipe) -> None:
    """`zip(image_flow, mask_flow)`, both with `shuffle=True` and no common seed."""

    def flow(part: np.ndarray, seed: int) -> Iterator[np.ndarray]:
        random = np.random.default_rng(seed)
        while True:
            order = random.permutation(len(part))
            for start in range(0, len(part) - r.batch_size + 1, r.batch_size):
                yield part[order[start : start + r.batch_size]]

    def train() -> dict[str, Any]:
        x, y = r.arrays()[:2]
        pairs = (pair for pair in zip(flow(x, 11), flow(y, 12), strict=True))  # `fit` takes generators, and no `zip`
        return {"x": pairs, "steps_per_epoch": len(x) // r.batch_size}

    r.train = train  # type: ignore[method-assign]


@planted("DAT001")
def one_list_sorted_in_reverse(r: Recipe) -> None:
    r.masks, r.val_masks = r.masks[::-1], r.val_masks[::-1]


@planted("DAT002", also=("DAT001",))
def pictures_letterboxed_and_masks_stretched(r: Recipe) -> None:
    """`resize_with_pad` for one, `resize` for the other: bars above and below the picture alone."""

    def letterboxed(images: np.ndarray) -> np.ndarray:
        side = images.shape[1]
        bar = side // 6
        rows = np.linspace(0, side - 1, side - 2 * bar).round().astype(int)
        return np.pad(images[:, rows], ((0, 0), (bar, bar), (0, 0), (0, 0)))

    r.images, r.val_images = letterboxed(r.images), letterboxed(r.val_images)


@planted("DAT003", where=both(several, no_void), also=("LAB004", "LAB006", "LAB008"))
def colours_compared_in_the_other_order(r: Recipe) -> None:
    """The legend is RGB, OpenCV read BGR: no colour but black is ever met."""
    legend = np.array([[20 * value, 0, 255 - 10 * value] for value in range(12)], "uint8")
    legend[0] = 0

    def encode(masks: np.ndarray) -> np.ndarray:
        stored = legend[masks][..., ::-1]
        read = np.zeros(masks.shape, "uint8")
        for value in range(r.num_classes):
            read[(stored == legend[value]).all(-1)] = value
        return right(read)

    right = r.encode
    r.encode = encode


@planted("DAT004")
def logarithm_of_the_darkest_pixel(r: Recipe) -> None:
    """Minus infinity in every picture."""

    def scale(images: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log((images - images.min((1, 2, 3), keepdims=True)) / np.float32(255)).astype("float32")

    r.scale = scale


@planted("DAT005", where=validated)
def validation_is_training_saved_again_as_jpeg(r: Recipe) -> None:
    import cv2

    def saved(image: np.ndarray) -> np.ndarray:
        stream = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        return cv2.imdecode(stream, cv2.IMREAD_UNCHANGED).reshape(image.shape)

    order = r.random.permutation(len(r.images))[: len(r.val_images)]
    r.val_images, r.val_masks = np.stack([saved(image) for image in r.images[order]]), r.masks[order]


MADE_ALIKE = ("lesions", "cells", "organs", "street", "vessels", "fields", "scans", "membranes", "aerial", "ultrasound")


@planted("DAT006", where=both(validated, lambda way: way.data in MADE_ALIKE), also=("PRE007",))
def validation_was_filmed_at_night(r: Recipe) -> None:
    """Real photographs differ as much among themselves; these do not."""
    r.load(count=96)
    dark = 0.2 * r.val_images.astype("float32") + r.random.normal(0, 3, r.val_images.shape)
    r.val_images = dark.clip(0, 255).astype("uint8")


# Labels


@planted("LAB001", where=both(several, ids, no_void, stock), also=("LAB002",))
def one_subtracted_from_bytes(r: Recipe) -> None:
    """`mask - 1` where masks count from 0 already: background becomes 255."""
    r.encode, r.metrics = (lambda masks: (masks.astype("uint8") - np.uint8(1)).astype("int32")), []


@planted("LAB002", where=both(void, ids), also=("LAB001",))
def another_number_is_ignored(r: Recipe) -> None:
    """`ignore_class=-1` of a tutorial, 255 in the masks."""
    r.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=r.logits, ignore_class=-1)
    r.metrics = []


@planted("LAB002", where=both(several, ids, no_void, stock), also=("LAB001",))
def padded_with_255_and_not_ignored(r: Recipe) -> None:
    room = ((0, 0), (8, 8), (8, 8))
    r.images, r.val_images = (np.pad(part, (*room, (0, 0))) for part in (r.images, r.val_images))
    r.masks, r.val_masks = (np.pad(part, room, constant_values=255) for part in (r.masks, r.val_masks))
    r.metrics = []


@planted("LAB003", where=binary)
def cut_outs_in_place_of_masks(r: Recipe) -> None:
    """The picture on black was exported, grey values and all."""
    right = r.encode

    def encode(masks: np.ndarray) -> np.ndarray:
        pictures = r.images if masks is r.masks else r.val_images
        return (right(masks) * pictures.max(-1, keepdims=True)).astype("float32")

    r.encode, r.metrics = encode, []


@planted("LAB004", where=both(ids, no_void), also=("DAT003", "LAB008"))
def argmax_of_what_is_an_id_already(r: Recipe) -> None:
    r.encode = lambda masks: np.argmax(masks[..., None], axis=-1).astype("int32")


@planted("LAB004", where=both(binary, no_void))
def everything_is_above_zero(r: Recipe) -> None:
    """Masks hold 1 and 2, and `mask > 0` was meant to find the objects."""
    r.encode = lambda masks: ((masks + 1) > 0)[..., None].astype("float32")


@planted("LAB005", where=both(several, ids, no_void, many_classes))
def masks_saved_as_jpeg(r: Recipe) -> None:
    """The ids as grey values, compressed with the usual quality."""
    import cv2

    def saved(mask: np.ndarray) -> np.ndarray:
        stream = cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
        return cv2.imdecode(stream, cv2.IMREAD_GRAYSCALE)

    def encode(masks: np.ndarray) -> np.ndarray:
        read = np.stack([saved(mask) for mask in masks.astype("uint8")])
        return read.clip(0, r.num_classes - 1).astype("int32")

    r.encode = encode


@planted("LAB006", where=both(several, ids, no_void), also=("LAB007",))
def grey_masks_with_three_equal_channels(r: Recipe) -> None:
    """`Image.open(file).convert("RGB")` for masks as well as for pictures."""
    r.encode, r.metrics = (lambda masks: np.stack([masks] * 3, axis=-1).astype("int32")), []


@planted("LAB007", where=both(one_hot, no_void))
def one_hot_with_channels_first(r: Recipe) -> None:
    right = r.encode
    r.encode, r.metrics = (lambda masks: np.moveaxis(right(masks), -1, 1)), []


@planted("LAB007", where=both(several, ids, softmax, no_void, many_classes), also=("LOS002",))
def mean_squares_of_ids(r: Recipe) -> None:
    """One number per pixel against a channel per class: it broadcasts."""
    r.encode, r.metrics = (lambda masks: masks[..., None].astype("float32")), []
    r.loss = lambda y_true, y_pred: ops.mean(ops.square(y_true - y_pred))


@planted("LAB008", where=both(several, many_classes, no_void))
def two_names_for_one_number(r: Recipe) -> None:
    """The dictionary of the legend gives two classes the same id; the network keeps a channel for both."""
    r.masks, r.val_masks = (np.where(part == 2, 1, part) for part in (r.masks, r.val_masks))


# Preprocessing


@planted("PRE001")
def raw_counts_of_the_detector(r: Recipe) -> None:
    r.look.normalization = None
    r.scale = lambda images: (images.astype("float32") * 40 + 500).astype("float32")


@planted("PRE002", also=("PRE001",))
def statistics_of_bytes_for_scaled_pictures(r: Recipe) -> None:
    """Divided by 255, and then (x - 123.7) / 58.4, which are for 0 to 255."""
    r.scale = lambda images: ((images / 255.0 - 123.7) / 58.4).astype("float32")


@planted("PRE002")
def scaled_in_the_feed_and_by_two_layers(r: Recipe) -> None:
    r.look.first = [layers.Rescaling(1 / 127.5), layers.Rescaling(1 / 127.5)]


@planted("PRE005", where=loads_itself, also=("DAT001",))
def random_crop_of_the_image_and_centre_of_the_mask(r: Recipe) -> None:
    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        side = len(x)
        small = 5 * side // 8

        def cut(part: np.ndarray, top: int, left: int) -> np.ndarray:
            grid = np.arange(side) * small // side
            return part[top + grid][:, left + grid].copy()

        top, left = r.random.integers(0, side - small + 1, 2)
        return cut(x, top, left), cut(y, (side - small) // 2, (side - small) // 2)

    r.augment = augment


@planted("PRE005", where=loads_itself, also=("DAT001",))
def shear_of_the_image_alone(r: Recipe) -> None:
    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        shear, middle = r.random.uniform(0.4, 0.9) * r.random.choice([-1, 1]), len(x) / 2
        matrix = np.array([[1, shear, 0], [0, 1, 0], [0, 0, 1]])
        offset = (-shear * middle, 0, 0)
        return nd.affine_transform(x, matrix, offset, order=1, mode="reflect").astype("float32"), y

    r.augment = augment


@planted("PRE006", where=loads_itself)
def squares_dropped_until_nothing_is_left(r: Recipe) -> None:
    """Coarse dropout with the share that stays and the share that goes mixed up: 97 % go, and masks stay."""

    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        side = len(x)
        stays = r.random.random((8, 8)) < 0.03
        stays = np.kron(stays, np.ones((side // 8 + 1,) * 2))[:side, :side]
        return (x * stays[..., None]).astype("float32"), y

    r.augment = augment


@planted("PRE007", where=validated, also=("DAT006",))
def gamma_only_in_training(r: Recipe) -> None:
    r.scale = lambda images: ((images / 255) ** 0.2).astype("float32")
    r.scale_validation = lambda images: (images / 255).astype("float32")
