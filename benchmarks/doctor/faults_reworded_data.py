"""Faults of data, labels and preprocessing once more, as other people write them."""

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
    probabilities,
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
def one_list_sorted_as_text(r: Recipe) -> None:
    """`10.png` before `2.png` in one list, after it in the other."""
    r.masks = r.masks[sorted(range(len(r.masks)), key=str)]


@planted("DAT001")
def images_shuffled_alone(r: Recipe) -> None:
    r.random.shuffle(r.images)


@planted("DAT002", also=("DAT001",))
def masks_turned_by_ninety_degrees(r: Recipe) -> None:
    r.masks, r.val_masks = (np.rot90(part, axes=(1, 2)) for part in (r.masks, r.val_masks))


@planted("DAT002", also=("DAT001",))
def masks_mirrored(r: Recipe) -> None:
    r.masks, r.val_masks = r.masks[:, :, ::-1], r.val_masks[:, :, ::-1]


@planted("DAT003", where=both(no_void, many_classes), also=("LAB004", "LAB008"))
def only_pictures_of_nothing(r: Recipe) -> None:
    """The list of files was filtered the wrong way round."""
    r.masks = np.zeros_like(r.masks)


@planted("DAT003", where=both(binary, validated), also=("LAB004", "LAB008"))
def threshold_of_another_data_set(r: Recipe) -> None:
    r.encode = lambda masks: (masks > 127)[..., None].astype("float32")


@planted("DAT004", also=("PRE002",))
def scaled_into_integers(r: Recipe) -> None:
    """`(images / 255).astype("uint8")`: all black."""
    r.scale = lambda images: (images / 255).astype("uint8").astype("float32")


@planted("DAT004", also=("OPT006",))
def standardized_by_a_constant_channel(r: Recipe) -> None:
    """RGBA whose fourth channel never changes: 0 / 0."""

    def scale(images: np.ndarray) -> np.ndarray:
        x = np.concatenate([images, np.full_like(images[..., :1], 255)], axis=-1).astype("float64")
        with np.errstate(invalid="ignore"):
            return ((x - x.mean((0, 1, 2))) / x.std((0, 1, 2))).astype("float32")

    r.scale = scale
    r.images, r.val_images = (part for part in (r.images, r.val_images))
    right = r.build
    r.build = lambda: _with_channels(r, right, r.images.shape[-1] + 1)


def _with_channels(r: Recipe, build: Any, channels: int) -> keras.Model:
    images, r.images = r.images, np.zeros((1, *r.images.shape[1:3], channels), "uint8")
    try:
        return build()
    finally:
        r.images = images


@planted("DAT005", where=validated)
def copies_made_before_the_split(r: Recipe) -> None:
    images, masks = np.concatenate([r.images] * 2), np.concatenate([r.masks] * 2)
    order, kept = r.random.permutation(len(images)), len(images) * 3 // 4
    r.images, r.masks = images[order[:kept]], masks[order[:kept]]
    r.val_images, r.val_masks = images[order[kept:]], masks[order[kept:]]


@planted("DAT006", where=validated, also=("PRE007",))
def validation_from_another_site(r: Recipe) -> None:
    r.load(count=96)
    bright = 255 - (255 - r.val_images.astype("float32")) * 0.45
    r.val_images = (bright + r.random.normal(0, 10, bright.shape)).clip(0, 255).astype("uint8")


@planted("DAT006", where=both(validated, many_classes), also=("LAB008",))
def validation_without_a_common_class(r: Recipe) -> None:
    r.load(count=96)
    r.val_masks = np.where(r.val_masks == 1, 0, r.val_masks)


@planted("DAT006", where=both(validated, binary))
def validation_of_large_objects_only(r: Recipe) -> None:
    """Sorted by area before the split, largest last."""
    r.load(count=96)
    images, masks = np.concatenate([r.images, r.val_images]), np.concatenate([r.masks, r.val_masks])
    order, kept = np.argsort([(mask == 1).sum() for mask in masks]), len(images) * 3 // 4
    r.images, r.masks = images[order[:kept]], masks[order[:kept]]
    r.val_images, r.val_masks = images[order[kept:]], masks[order[kept:]]


# Labels


@planted("LAB001", where=both(several, ids, no_void, many_classes))
def ids_of_the_full_catalogue(r: Recipe) -> None:
    """The label file numbers thirty things; the network has a channel for those that matter."""
    numbers = np.sort(np.random.default_rng(2).permutation(30)[: r.num_classes])
    right = r.encode
    r.encode = lambda masks: numbers[right(masks)].astype("int32")


@planted("LAB001", where=both(several, ids, no_void))
def grey_levels_as_ids(r: Recipe) -> None:
    """Masks saved for the eye: classes spread over 0 to 255."""
    right = r.encode
    r.encode = lambda masks: right(masks) * (255 // (r.num_classes - 1))


@planted("LAB002", where=both(void, ids), also=("LAB001",))
def unlabelled_is_minus_one(r: Recipe) -> None:
    from benchmarks.doctor import losses

    r.encode = lambda masks: np.where(masks == 255, -1, masks).astype("int32")
    r.loss, r.metrics = losses.stock(r.target, r.num_classes, r.logits, has_void=False), []


@planted("LAB003", where=binary)
def masks_from_minus_one_to_one(r: Recipe) -> None:
    """The same `(v - 0.5) / 0.5` for image and mask."""
    right = r.encode
    r.encode, r.metrics = (lambda masks: (right(masks) - 0.5) / 0.5), []


@planted("LAB003", where=both(binary, loads_itself))
def brightness_for_the_mask_too(r: Recipe) -> None:
    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        light = np.float32(r.random.uniform(0.6, 1.8))
        return x * light, y * light

    r.augment, r.metrics = augment, []


@planted("LAB004", where=both(binary, no_void), also=("DAT003",))
def one_subtracted_from_binary_masks(r: Recipe) -> None:
    r.encode = lambda masks: np.clip(masks.astype("float32") - 1, 0, 1)[..., None]


@planted("LAB004", where=both(binary, no_void), also=("DAT003",))
def scaled_twice_and_thresholded(r: Recipe) -> None:
    r.encode = lambda masks: ((masks == 1)[..., None] / 255 > 0.5).astype("float32")


@planted("LAB005", where=both(several, ids, no_void, many_classes))
def ids_resized_by_opencv(r: Recipe) -> None:
    import cv2

    def resized(masks: np.ndarray) -> np.ndarray:
        height, width = masks.shape[1:]
        small = [cv2.resize(mask, (width * 5 // 8, height * 5 // 8)) for mask in masks]
        return np.stack([cv2.resize(mask, (width, height)) for mask in small]).astype("int32")

    r.encode = resized


@planted("LAB005", where=both(several, ids, no_void, many_classes))
def ids_turned_with_interpolation(r: Recipe) -> None:
    def turned(masks: np.ndarray) -> np.ndarray:
        return np.stack([nd.rotate(mask.astype("float32"), 5 + i % 9, reshape=False, order=1).round() for i, mask in
                         enumerate(masks)]).astype("int32")  # fmt: skip

    def both_turned(images: np.ndarray) -> np.ndarray:
        turned_images = [nd.rotate(image, 5 + i % 9, reshape=False, order=1) for i, image in enumerate(images)]
        return np.stack(turned_images).astype("float32") / 255

    r.encode, r.scale = turned, both_turned


@planted("LAB006", where=both(binary, no_void), also=("LAB007", "LAB003"))
def masks_read_as_colour(r: Recipe) -> None:
    """A grey PNG read with three channels, 0 and 255."""
    r.encode, r.metrics = (lambda masks: np.repeat(255.0 * (masks == 1)[..., None], 3, -1).astype("float32")), []


@planted("LAB006", where=both(several, no_void), also=("LAB007",))
def colours_scaled_to_one(r: Recipe) -> None:
    palette = np.random.default_rng(4).integers(0, 256, (r.num_classes, 3)).astype("float32") / 255
    r.encode, r.metrics = (lambda masks: palette[masks]), []


@planted("LAB007", where=both(binary, probabilities, stock), also=("LOS002", "HED003"))
def two_channels_for_one(r: Recipe) -> None:
    r.encode = lambda masks: np.stack([masks != 1, masks == 1], axis=-1).astype("float32")
    r.metrics = []


@planted("LAB007", where=both(several, ids, no_void, many_classes), also=("LOS002",))
def binary_entropy_of_ids(r: Recipe) -> None:
    r.encode, r.metrics = (lambda masks: masks[..., None].astype("float32")), []
    r.loss = keras.losses.BinaryCrossentropy(from_logits=r.logits)


@planted("LAB008", where=both(several, many_classes, no_void))
def rare_classes_filtered_away(r: Recipe) -> None:
    """Two classes gone from training, still in validation."""
    for absent in (r.num_classes - 1, r.num_classes - 2):
        r.masks = np.where(r.masks == absent, 0, r.masks)


@planted("LAB008", where=both(ids, void, stock), also=("LOS004",))
def all_but_one_class_ignored(r: Recipe) -> None:
    r.masks, r.val_masks = (np.where(part == 1, 1, 255).astype("uint8") for part in (r.masks, r.val_masks))


# Preprocessing


@planted("PRE001")
def hounsfield_units_as_they_are(r: Recipe) -> None:
    r.look.normalization = None
    r.scale = lambda images: images.astype("float32") * 16 - 1024


@planted("PRE001")
def standardized_upside_down(r: Recipe) -> None:
    """Multiplied by the deviation in place of divided."""
    r.look.normalization = None
    r.scale = lambda images: ((images - images.mean()) * images.std()).astype("float32")


@planted("PRE002")
def scaled_by_the_loader_and_the_script(r: Recipe) -> None:
    def scale(images: np.ndarray) -> np.ndarray:
        x = images.astype("float32") / 255.0
        return (x / 127.5 - 1).astype("float32")

    r.scale = scale


@planted("PRE002", also=("DAT004",))
def scaled_as_sixteen_bits(r: Recipe) -> None:
    """8-bit pictures divided by 65535."""
    r.scale = lambda images: (images / 65535).astype("float32")


@planted("PRE005", where=loads_itself, also=("DAT001",))
def two_generators_with_two_seeds(r: Recipe) -> None:
    one, two = np.random.default_rng(1), np.random.default_rng(2)

    def moved(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if random.random() < 0.5:
            x = x[:, ::-1]
        if random.random() < 0.5:
            x = x[::-1]
        return np.roll(x, random.integers(-6, 7, 2), (0, 1)).copy()

    r.augment = lambda x, y: (moved(x, one), moved(y, two))


@planted("PRE005", where=loads_itself, also=("DAT001",))
def zoom_on_the_image_alone(r: Recipe) -> None:
    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        zoom = r.random.uniform(1.3, 2.0)
        larger = nd.zoom(x, (zoom, zoom, 1), order=1)
        top, left = (np.array(larger.shape[:2]) - x.shape[:2]) // 2
        return larger[top : top + x.shape[0], left : left + x.shape[1]].astype("float32"), y

    r.augment = augment


@planted("PRE006", where=loads_itself, also=("DAT003",))
def crops_that_miss(r: Recipe) -> None:
    """A sixth of the side, anywhere, blown up again."""

    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        side = len(x)
        small = side // 6
        top, left = r.random.integers(0, side - small, 2)
        rows, columns = (start + np.arange(side) * small // side for start in (top, left))
        return x[rows][:, columns].copy(), y[rows][:, columns].copy()

    r.augment = augment


@planted("PRE006", where=loads_itself)
def brightness_until_white(r: Recipe) -> None:
    r.augment = lambda x, y: ((x * np.float32(r.random.uniform(4, 30))).clip(0, 1), y)


@planted("PRE006", where=loads_itself, also=("DAT003",))
def shifts_of_the_whole_picture(r: Recipe) -> None:
    def augment(x: np.ndarray, y: np.ndarray) -> Pair:
        side = len(x)
        by = r.random.integers(int(0.7 * side), int(0.95 * side), 2) * r.random.choice([-1, 1], 2)
        rows, columns = (np.arange(side) + step for step in by)
        seen = ((rows >= 0) & (rows < side))[:, None] & ((columns >= 0) & (columns < side))[None]
        moved = [part[rows.clip(0, side - 1)][:, columns.clip(0, side - 1)] for part in (x, y)]
        inside = [seen.reshape(seen.shape + (1,) * (part.ndim - 2)) for part in moved]
        return tuple((part * mask).astype(part.dtype) for part, mask in zip(moved, inside, strict=True))

    r.augment = augment


@planted("PRE007", where=validated, also=("DAT006",))
def validation_in_another_range(r: Recipe) -> None:
    r.scale_validation = lambda images: (images / 127.5 - 1).astype("float32")


@planted("PRE007", where=validated, also=("DAT006",))
def validation_inverted(r: Recipe) -> None:
    """`cv2.bitwise_not` left in one of two loaders."""
    r.scale_validation = lambda images: ((255 - images) / 255).astype("float32")


@planted("HED005", where=both(ids, no_void), also=("DAT002", "LAB007"))
def output_pushed_aside(r: Recipe) -> None:
    """Padding on one side and cropping on the other, as a crop of valid convolutions gone wrong leaves it."""
    r.look.after = [layers.ZeroPadding2D(((10, 0), (10, 0))), layers.Cropping2D(((0, 10), (0, 10)))]


@planted("HED005", where=both(one_hot, no_void), also=("DAT002", "LAB007"))
def crop_of_another_corner(r: Recipe) -> None:
    """The masks keep their middle, the network's output the corner: an eighth of the side apart."""
    right, edge = r.encode, r.images.shape[1] // 8
    r.encode = lambda masks: right(masks[:, edge:-edge, edge:-edge])
    r.look.after, r.metrics = [layers.Cropping2D(((0, 2 * edge), (0, 2 * edge)))], []


@planted("MET001", where=both(several, ids, no_void))
def mean_iou_of_logits(r: Recipe) -> None:
    class Scores(keras.metrics.Metric):
        """Overlap of one-hot truth with whatever the network returns."""

        def __init__(self) -> None:
            super().__init__(name="iou")
            self.value = self.add_weight(name="value", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            truth = ops.one_hot(ops.cast(y_true, "int32"), r.num_classes)
            overlap = ops.sum(truth * y_pred)
            self.value.assign(overlap / (ops.sum(truth) + ops.sum(ops.abs(y_pred)) - overlap))

        def result(self) -> Any:
            return self.value + 0.0

    r.metrics = [Scores()]
