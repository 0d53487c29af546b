"""Healthy programs that look unpleasant: one function, one reason to suspect them wrongly."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from benchmarks.doctor import losses
from benchmarks.doctor.catalogue import (
    binary,
    both,
    healthy,
    ids,
    loads_itself,
    no_void,
    one_hot,
    own,
    probabilities,
    several,
    sigmoid,
    softmax,
    void,
)  # fmt: skip
from benchmarks.doctor.recipe import Recipe
from keras import layers, ops


@healthy()
def plain(r: Recipe) -> None:
    """Nothing unusual."""


@healthy(binary)
def one_pixel_in_a_thousand(r: Recipe) -> None:
    for part in (r.masks, r.val_masks):
        part[:] = 0
        for i, mask in enumerate(part):
            mask[5 + i % 30, 7 + i % 20 : 9 + i % 20] = 1
    for images, masks in ((r.images, r.masks), (r.val_images, r.val_masks)):
        images[masks == 1] = 255


@healthy()
def slow_start(r: Recipe) -> None:
    r.optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(1e-6, 200, warmup_target=1e-3, warmup_steps=50)
    )


@healthy()
def batches_of_two_with_group_normalization(r: Recipe) -> None:
    r.batch_size, r.look.normalization = 2, "group"


@healthy(sigmoid)
def smoothed_labels(r: Recipe) -> None:
    right = r.encode
    r.encode = lambda masks: 0.05 + 0.9 * right(masks)


@healthy(both(binary, no_void))
def soft_borders(r: Recipe) -> None:
    from scipy import ndimage as nd

    r.encode = lambda masks: nd.uniform_filter((masks == 1).astype("float32"), (0, 3, 3))[..., None].clip(0, 1)


@healthy(one_hot)
def keras_label_smoothing(r: Recipe) -> None:
    r.loss = keras.losses.CategoricalCrossentropy(from_logits=r.logits, label_smoothing=0.1)


@healthy(lambda way: way.data == "organs" and way.target == "one-hot")
def overlapping_labels(r: Recipe) -> None:
    r.channels, r.look.activation_of_head, r.head = 3, "sigmoid", "sigmoid"
    r.encode = lambda masks: np.stack([masks >= 1, masks >= 2, masks == 3], axis=-1).astype("float32")
    r.loss, r.metrics = keras.losses.BinaryCrossentropy(), [keras.metrics.BinaryAccuracy()]


@healthy()
def rescaling_inside(r: Recipe) -> None:
    r.look.first = [layers.Rescaling(1 / 255)]
    r.scale = lambda images: images.astype("float32")


@healthy()
def bytes_into_a_rescaling_layer(r: Recipe) -> None:
    r.look.first = [layers.Rescaling(1 / 127.5, offset=-1)]
    r.scale = lambda images: images


@healthy()
def normalization_layer_adapted(r: Recipe) -> None:
    layer = layers.Normalization(axis=-1)
    layer.adapt(r.images.astype("float32"))
    r.look.first, r.scale = [layer], lambda images: images.astype("float32")


@healthy()
def from_minus_one_to_one(r: Recipe) -> None:
    r.scale = lambda images: (images / 127.5 - 1).astype("float32")


@healthy()
def standardized_by_image(r: Recipe) -> None:
    def scale(images: np.ndarray) -> np.ndarray:
        axes = (1, 2)
        return ((images - images.mean(axes, keepdims=True)) / (images.std(axes, keepdims=True) + 1e-3)).astype(
            "float32"
        )

    r.scale = scale


@healthy()
def sixteen_bits_scaled(r: Recipe) -> None:
    r.scale = lambda images: ((images.astype("uint16") * 16) / 4095).astype("float32")


@healthy(both(void, ids))
def void_by_sample_weights(r: Recipe) -> None:
    right = r.encode
    r.encode = lambda masks: right(np.where(masks == 255, 0, masks))
    r.weigh = lambda masks: (masks != 255).astype("float32")
    r.loss, r.metrics = keras.losses.SparseCategoricalCrossentropy(from_logits=r.logits), []


@healthy(both(void, one_hot))
def void_as_rows_of_zeros(r: Recipe) -> None:
    r.loss = keras.losses.CategoricalCrossentropy(from_logits=r.logits)


@healthy(void)
def void_cut_out_in_the_loss(r: Recipe) -> None:
    r.target, r.encode = "ids", lambda masks: masks[..., None].astype("int32")
    r.metrics = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        known = ops.cast(ops.squeeze(y_true, -1), "int32")
        kept = ops.cast(known < r.num_classes, "float32")
        value = ops.sparse_categorical_crossentropy(
            ops.where(known < r.num_classes, known, 0), y_pred, from_logits=r.logits
        )
        return ops.sum(value * kept) / (ops.sum(kept) + 1e-6)

    r.loss = loss


@healthy(binary)
def half_of_the_images_are_negatives(r: Recipe) -> None:
    r.masks[::2] = 0
    r.images[::2] = np.random.default_rng(0).normal(90, 6, r.images[::2].shape).clip(0, 255)


@healthy(binary)
def tversky(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.sigmoid(y_pred) if r.logits else y_pred
        hit = ops.sum(y_true * p)
        return 1 - (hit + 1) / (hit + 0.3 * ops.sum((1 - y_true) * p) + 0.7 * ops.sum(y_true * (1 - p)) + 1)

    r.loss = loss


@healthy(binary)
def log_cosh_dice(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.sigmoid(y_pred) if r.logits else y_pred
        dice = 1 - (2 * ops.sum(y_true * p) + 1) / (ops.sum(y_true) + ops.sum(p) + 1)
        return ops.log((ops.exp(dice) + ops.exp(-dice)) / 2)

    r.loss = loss


@healthy(lambda way: way.head == "linear" and way.target == "binary")
def weighted_entropy_of_logits(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        positive = y_true * ops.softplus(-y_pred) * 5
        return ops.mean(positive + (1 - y_true) * ops.softplus(y_pred))

    r.loss = loss


@healthy(binary)
def squared_jaccard(r: Recipe) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        p = ops.sigmoid(y_pred) if r.logits else y_pred
        overlap = ops.sum(y_true * p, axis=(1, 2, 3))
        union = ops.sum(y_true**2, axis=(1, 2, 3)) + ops.sum(p**2, axis=(1, 2, 3)) - overlap
        return ops.mean(1 - (overlap + 1) / (union + 1))

    r.loss = loss


@healthy(one_hot)
def keras_categorical_focal(r: Recipe) -> None:
    r.loss = keras.losses.CategoricalFocalCrossentropy(from_logits=r.logits)


@healthy(sigmoid)
def keras_binary_focal(r: Recipe) -> None:
    r.loss = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True)


@healthy(both(binary, probabilities))
def keras_dice(r: Recipe) -> None:
    r.loss = keras.losses.Dice()


@healthy(both(one_hot, softmax, no_void))
def keras_tversky(r: Recipe) -> None:
    r.loss = keras.losses.Tversky(axis=(0, 1, 2))


@healthy(lambda way: way.network in ("unet", "unet++", "deeplab"))
def encoder_frozen_on_purpose(r: Recipe) -> None:
    """Trained first as a classifier of image brightness, then frozen whole, normalization too."""

    def change(model: keras.Model) -> None:
        pool = next(layer for layer in model.layers if "pool" in layer.name or "average" in layer.name)
        index = model.layers.index(pool)
        features = layers.GlobalAveragePooling2D()(model.layers[index - 1].output)
        judge = keras.Model(model.input, layers.Dense(1)(features))
        judge.compile("adam", "mse")
        x = r.scale(r.images)
        for start in range(0, len(x), 16):
            part = x[start : start + 16]
            judge.train_on_batch(part, part.mean((1, 2, 3))[:, None])
        for layer in model.layers[:index]:
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
    right = r.dataset
    r.dataset = lambda arrays: right(arrays).repeat()  # type: ignore[method-assign]
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


@healthy(both(binary, probabilities, no_void))
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


@healthy(lambda way: way.feed == "arrays")
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
