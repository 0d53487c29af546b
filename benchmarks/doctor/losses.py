"""Right losses as people write them: Keras' own, a closure, a class."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

VOID = 255


def _parts(y_true: Any, y_pred: Any, target: str, num_classes: int, logits: bool) -> tuple[Any, Any, Any]:
    """One-hot truth, probabilities, and which pixels count."""
    if target == "binary":
        y_true = ops.cast(y_true, "float32")
        return y_true, ops.sigmoid(y_pred) if logits else y_pred, ops.ones_like(y_true)
    p = ops.softmax(y_pred, axis=-1) if logits else y_pred
    if target == "one-hot":
        truth = ops.cast(y_true, "float32")
        return truth, p, ops.sum(truth, axis=-1, keepdims=True)
    ids = ops.cast(y_true, "int32")
    valid = ids != VOID
    truth = ops.one_hot(ops.where(valid, ids, 0), num_classes)
    return truth, p, ops.expand_dims(ops.cast(valid, "float32"), -1)


def closure(target: str, num_classes: int, logits: bool, smooth: float = 1.0) -> Any:
    """Dice over the batch and cross-entropy, added."""

    def dice_and_entropy(y_true: Any, y_pred: Any) -> Any:
        truth, p, valid = _parts(y_true, y_pred, target, num_classes, logits)
        axes = (0, 1, 2)
        overlap = ops.sum(truth * p * valid, axis=axes)
        dice = (2 * overlap + smooth) / (ops.sum((truth + p) * valid, axis=axes) + smooth)
        p = ops.clip(p, 1e-6, 1 - 1e-6)
        entropy = -truth * ops.log(p) - ((1 - truth) * ops.log(1 - p) if target == "binary" else 0.0)
        pixels = ops.maximum(ops.sum(valid), 1.0)
        return 1 - ops.mean(dice) + ops.sum(entropy * valid) / pixels

    return dice_and_entropy


class Focal(keras.losses.Loss):
    """Focal loss, the mean over pixels that count."""

    def __init__(self, target: str, num_classes: int, logits: bool, gamma: float = 2.0) -> None:
        super().__init__(name="my_focal")
        self.settings, self.gamma = (target, num_classes, logits), gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        truth, p, valid = _parts(y_true, y_pred, *self.settings)
        p = ops.clip(p, 1e-6, 1 - 1e-6)
        value = truth * (1 - p) ** self.gamma * -ops.log(p)
        if self.settings[0] == "binary":
            value += (1 - truth) * p**self.gamma * -ops.log(1 - p)
        return ops.sum(value * valid) / ops.maximum(ops.sum(valid), 1.0)


def stock(target: str, num_classes: int, logits: bool, has_void: bool) -> Any:
    """Keras' own cross-entropy for this target."""
    if target == "binary":
        return keras.losses.BinaryCrossentropy(from_logits=logits)
    if target == "one-hot":
        return keras.losses.CategoricalCrossentropy(from_logits=logits)
    ignored = VOID if has_void else None
    return keras.losses.SparseCategoricalCrossentropy(from_logits=logits, ignore_class=ignored)


def named(target: str, num_classes: int, logits: bool, has_void: bool) -> Any:
    """Keras' own by its name, which takes probabilities; logits need the object."""
    if logits or has_void:
        return stock(target, num_classes, logits, has_void)
    return {
        "binary": "binary_crossentropy", "one-hot": "categorical_crossentropy", "ids": "sparse_categorical_crossentropy"
    }[target]  # fmt: skip


def summed(target: str, num_classes: int, logits: bool, has_void: bool) -> Any:
    """Keras' cross-entropy and a soft Jaccard of one's own in one lambda."""
    entropy = stock(target, num_classes, logits, has_void)

    def jaccard(y_true: Any, y_pred: Any) -> Any:
        truth, p, valid = _parts(y_true, y_pred, target, num_classes, logits)
        overlap = ops.sum(truth * p * valid)
        return 1 - (overlap + 1e-3) / (ops.sum((truth + p) * valid) - overlap + 1e-3)

    return lambda y_true, y_pred: ops.mean(entropy(y_true, y_pred)) + 0.5 * jaccard(y_true, y_pred)


class TwoFaced(keras.losses.Loss):
    """Tversky over present classes and cross-entropy of the hardest third of the pixels, settings kept in a dict."""

    def __init__(self, target: str, num_classes: int, logits: bool) -> None:
        super().__init__(reduction="sum_over_batch_size", name="tversky_ohem")
        self.how = {"target": target, "num_classes": num_classes, "logits": logits}

    def call(self, y_true: Any, y_pred: Any) -> Any:
        truth, p, valid = _parts(y_true, y_pred, **self.how)
        axes = (1, 2)
        hit = ops.sum(valid * truth * p, axes)
        missed, invented = ops.sum(valid * truth * (1 - p), axes), ops.sum(valid * (1 - truth) * p, axes)
        tversky = 1 - (hit + 1) / (hit + 0.6 * missed + 0.4 * invented + 1)
        p = ops.clip(p, 1e-6, 1.0 - 1e-6)
        pixels = -truth * ops.log(p)
        if self.how["target"] == "binary":
            pixels -= (1 - truth) * ops.log(1 - p)
        pixels = ops.reshape(ops.sum(pixels * valid, -1), (-1, int(np.prod(p.shape[1:3]))))
        hard = ops.top_k(pixels, pixels.shape[1] // 3)[0]
        return ops.mean(tversky, -1) + ops.mean(hard, -1)


def combo(target: str, num_classes: int, logits: bool) -> Any:
    """Cross-entropy in which objects count double, and the logarithm of cosh of Dice: functions that make functions."""

    def weighted_entropy(weight: float) -> Any:
        def entropy(truth: Any, p: Any, valid: Any) -> Any:
            p = ops.clip(p, 1e-6, 1 - 1e-6)
            if target == "binary":
                pixels = -weight * truth * ops.log(p) - (1 - truth) * ops.log(1 - p)
            else:
                weights = np.array([1.0, *[weight] * (num_classes - 1)], "float32")
                pixels = -weights * truth * ops.log(p)
            return ops.sum(pixels * valid) / ops.maximum(ops.sum(valid), 1.0)

        return entropy

    def log_cosh_dice(smooth: float) -> Any:
        def dice(truth: Any, p: Any, valid: Any) -> Any:
            axes = (0, 1, 2)
            overlap, area = ops.sum(truth * p * valid, axes), ops.sum((truth + p) * valid, axes)
            missing = 1 - ops.mean((2 * overlap + smooth) / (area + smooth))
            return ops.log((ops.exp(missing) + ops.exp(-missing)) / 2)

        return dice

    def combined(*parts: tuple[float, Any]) -> Any:
        def combo_loss(y_true: Any, y_pred: Any) -> Any:
            read = _parts(y_true, y_pred, target, num_classes, logits)
            return sum(share * part(*read) for share, part in parts)

        return combo_loss

    return combined((0.5, weighted_entropy(2.0)), (1.0, log_cosh_dice(1.0)))


def make(kind: str, target: str, num_classes: int, logits: bool, has_void: bool) -> Any:
    if kind == "keras":
        return stock(target, num_classes, logits, has_void)
    if kind == "name":
        return named(target, num_classes, logits, has_void)
    if kind == "sum":
        return summed(target, num_classes, logits, has_void)
    if kind == "closure":
        return closure(target, num_classes, logits)
    if kind == "two-faced":
        return TwoFaced(target, num_classes, logits)
    if kind == "combo":
        return combo(target, num_classes, logits)
    return Focal(target, num_classes, logits)
