"""Healthy programs that look unpleasant in ways that no check was ever mended on."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
from benchmarks.doctor import catalogue, losses
from benchmarks.doctor.catalogue import binary, both, functional, ids, loads_itself, no_void, one_hot, several, void
from benchmarks.doctor.recipe import Recipe
from keras import layers, ops
from scipy import ndimage as nd

healthy = partial(catalogue.healthy, held_out=True)


@healthy(loads_itself)
def heavy_but_joint_augmentation(r: Recipe) -> None:
    """Turned, mirrored and moved together; light, noise and a black square for the picture alone."""

    def augment(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turns, by = r.random.integers(4), r.random.integers(-6, 7, 2)
        x, y = (np.roll(np.rot90(part, turns), by, (0, 1)) for part in (x, y))
        if r.random.random() < 0.5:
            x, y = x[::-1], y[::-1]
        x = x * r.random.uniform(0.7, 1.3) + r.random.normal(0, 0.03, x.shape)
        top, left = r.random.integers(0, len(x) - 5, 2)
        x[top : top + 5, left : left + 5] = 0
        return x.astype("float32"), y.copy()

    r.augment = augment


@healthy()
def a_small_rate_after_a_long_warm_up(r: Recipe) -> None:
    """Five hundred epochs are planned, and nearly the first hundred only warm up."""
    rate = keras.optimizers.schedules.CosineDecay(0.0, 4000, warmup_target=5e-4, warmup_steps=600)
    r.optimizer, r.epochs = keras.optimizers.AdamW(rate, weight_decay=1e-4), 500


@healthy(lambda way: way.data == "lesions")
def fifty_for_each_pixel_of_a_lesion(r: Recipe) -> None:
    """Three pixels in a hundred: the weight is large, and the right way round."""

    def weighted(y_true: Any, y_pred: Any) -> Any:
        p = ops.clip(ops.sigmoid(y_pred) if r.logits else y_pred, 1e-6, 1 - 1e-6)
        pixels = -50.0 * y_true * ops.log(p) - (1 - y_true) * ops.log(1 - p)
        return ops.sum(pixels) / ops.sum(50.0 * y_true + 1 - y_true)

    r.loss = weighted


@healthy(binary)
def smoothing_by_the_binary_loss(r: Recipe) -> None:
    r.loss = keras.losses.BinaryCrossentropy(from_logits=r.logits, label_smoothing=0.1)


@healthy(lambda way: way.network == "nested")
def frozen_backbone_under_a_running_decoder(r: Recipe) -> None:
    """Weights and statistics of an earlier training, then frozen by the name of the inner model."""
    random = np.random.default_rng(3)

    def change(model: keras.Model) -> None:
        encoder = model.get_layer("encoder")
        for weight in encoder.trainable_weights:
            weight.assign(weight + 0.1 * random.normal(size=weight.shape))
        for start in range(0, 48, 8):
            encoder(r.scale(r.images[start : start + 8]), training=True)  # statistics follow
        encoder.trainable = False

    r.change_model = change


@healthy(both(binary, lambda way: way.data != "nuclei"))
def large_pictures_of_tiny_objects(r: Recipe) -> None:
    """Four pictures sewn to one, two of them a batch."""

    def sewn(part: np.ndarray) -> np.ndarray:
        kept = part[: len(part) // 4 * 4]
        rows = [np.concatenate([kept[start::4], kept[start + 1 :: 4]], axis=2) for start in (0, 2)]
        return np.concatenate(rows, axis=1)

    r.images, r.masks, r.val_images, r.val_masks = map(sewn, (r.images, r.masks, r.val_images, r.val_masks))
    r.batch_size, r.look.normalization = 2, "group"


@healthy(both(void, one_hot))
def void_rows_filled_and_weighted_zero(r: Recipe) -> None:
    """One-hot rows that sum to 1 everywhere; what is void is background that weighs nothing."""
    right = r.encode
    r.encode = lambda masks: right(np.where(masks == 255, 0, masks))
    r.weigh = lambda masks: (masks != 255).astype("float32")
    r.loss, r.metrics = keras.losses.CategoricalCrossentropy(from_logits=r.logits), []


@healthy()
def group_normalization_from_minus_one_to_one(r: Recipe) -> None:
    r.scale = lambda images: (images / 127.5 - 1).astype("float32")
    r.look.normalization, r.batch_size = "group", 3
    r.optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipnorm=5.0)


@healthy(both(binary, no_void))
def three_annotators_averaged(r: Recipe) -> None:
    """Thirds where they disagree about the outline."""

    def encode(masks: np.ndarray) -> np.ndarray:
        views = [masks == 1, np.roll(masks == 1, 1, axis=1), np.roll(masks == 1, 1, axis=2)]
        return (sum(view.astype("float32") for view in views) / 3)[..., None].astype("float32")

    r.encode = encode
    r.loss, r.metrics = keras.losses.BinaryCrossentropy(from_logits=r.logits), []


@healthy(both(several, no_void, functional, lambda way: way.feed == "arrays"))
def a_second_head_that_counts_four_tenths(r: Recipe) -> None:
    """Deep supervision of several classes, with `loss_weights`."""
    right, train, validation = r.build, r.arrays, r.validation

    def build() -> keras.Model:
        model = right()
        deep = layers.Conv2D(r.channels, 3, padding="same", activation=r.look.activation_of_head, name="deep")
        return keras.Model(model.input, [model.output, deep(model.layers[-2].output)])

    def twice(arrays: tuple[np.ndarray, ...]) -> Any:
        return arrays[0], (arrays[1], arrays[1])

    r.build, r.metrics, r.compile = build, [], {"loss_weights": [1.0, 0.4]}
    r.loss = [losses.stock(r.target, r.num_classes, r.logits, False) for _ in range(2)]
    r.arrays = lambda: twice(train())  # type: ignore[method-assign]
    r.validation = lambda: twice(validation())  # type: ignore[method-assign]


class Confusion(keras.metrics.Metric):
    """Mean IoU over the classes that occur, from a matrix of one's own."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(name="my_miou")
        self.num_classes = num_classes
        self.matrix = self.add_weight(shape=(num_classes, num_classes), initializer="zeros", name="matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        truth = ops.one_hot(ops.reshape(ops.cast(y_true, "int32"), (-1,)), self.num_classes)
        found = ops.one_hot(ops.reshape(ops.argmax(y_pred, axis=-1), (-1,)), self.num_classes)
        self.matrix.assign_add(ops.matmul(ops.transpose(truth), found))

    def result(self) -> Any:
        hit = ops.diagonal(self.matrix)
        union = ops.sum(self.matrix, 0) + ops.sum(self.matrix, 1) - hit
        occurs = ops.cast(union > 0, "float32")
        return ops.sum(hit / ops.maximum(union, 1.0)) / ops.maximum(ops.sum(occurs), 1.0)


@healthy(both(ids, no_void))
def confusion_matrix_of_its_own(r: Recipe) -> None:
    r.metrics = [Confusion(r.num_classes)]


@healthy(binary)
def lovasz_hinge_beside_entropy(r: Recipe) -> None:
    """Sorted errors times the slope of Jaccard, which no gradient passes through, as published."""
    entropy = losses.stock("binary", 2, r.logits, False)

    def loss(y_true: Any, y_pred: Any) -> Any:
        truth, x = ops.reshape(ops.cast(y_true, "float32"), (-1,)), ops.reshape(y_pred, (-1,))
        errors = ops.relu(1 - x * (2 * truth - 1)) if r.logits else ops.abs(truth - x)
        order = ops.argsort(-errors)
        errors, truth = ops.take(errors, order), ops.take(truth, order)
        left = ops.sum(truth) - ops.cumsum(truth)
        jaccard = 1 - left / (ops.sum(truth) + ops.cumsum(1 - truth))
        slope = ops.concatenate([jaccard[:1], jaccard[1:] - jaccard[:-1]])
        return ops.sum(errors * ops.stop_gradient(slope)) + ops.mean(entropy(y_true, y_pred))

    r.loss = loss


@healthy(both(ids, no_void))
def weights_of_outlines(r: Recipe) -> None:
    """Five times as much at borders, as U-Net's authors had it."""

    def weigh(masks: np.ndarray) -> np.ndarray:
        border = nd.maximum_filter(masks, (0, 3, 3)) != nd.minimum_filter(masks, (0, 3, 3))
        return (1 + 4 * nd.gaussian_filter(border.astype("float32"), (0, 1, 1))).astype("float32")

    r.weigh = weigh
    r.loss, r.metrics = keras.losses.SparseCategoricalCrossentropy(from_logits=r.logits), []


@healthy()
def a_bank_of_edge_filters_that_never_learns(r: Recipe) -> None:
    """Frozen, and not by mistake: slopes in four directions beside the picture itself, chosen by hand."""
    channels = r.images.shape[-1]
    slope = np.outer([1, 2, 1], [-1, 0, 1]) / 4
    bank = [np.pad([[1.0]], 1), slope, slope.T, -slope, -slope.T]
    kernel = np.repeat(np.stack(bank, -1)[:, :, None] / channels, channels, axis=2)
    start = lambda shape, dtype=None: ops.convert_to_tensor(kernel, dtype)  # noqa: E731  one name shorter than a class
    r.look.first = [layers.Conv2D(5, 3, padding="same", use_bias=False, kernel_initializer=start, trainable=False)]
