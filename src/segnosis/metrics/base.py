"""What all metrics share: their arguments, and how truth and prediction are read as class ids."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from segnosis.core.errors import ArgumentError, is_whole

Tensor = Any  # a tensor of whichever backend Keras runs on


class SegmentationMetric(keras.metrics.Metric):
    """A Keras metric over the pixels of all batches since `reset_state`.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        ignore_class: Value of `y_true` that is no class; those pixels are not counted.
        include_background: Whether class 0 takes part in the mean over classes.
        from_logits: Whether predictions are logits (default) or probabilities; matters for one channel only, where
            the foreground begins at 0 or at 0.5.
        name: Name of the metric; the name of its file by default, `mean_iou` say.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_class: int | None = None,
        include_background: bool = True,
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name or type(self).__module__.rpartition(".")[2])
        if not (is_whole(num_classes) and num_classes >= 2):
            raise ArgumentError(
                "`num_classes` counts the classes, background included, so it is a whole number from 2 on.",
                received={"num_classes": num_classes},
                cure="Pass 2 for foreground against background.",
            )
        if ignore_class is not None and not is_whole(ignore_class):
            raise ArgumentError(
                "`ignore_class` is one whole number, the value of ignored pixels in the mask.",
                received={"ignore_class": ignore_class},
                cure="Pass ignore_class=255, or None when every pixel is a class.",
            )
        if ignore_class is not None and 0 <= ignore_class < num_classes:
            raise ArgumentError(
                f"`ignore_class` marks pixels that are no class, so it lies outside 0…{num_classes - 1}.",
                received={"ignore_class": ignore_class, "num_classes": num_classes},
                cure="Write ignored pixels as 255; pass include_background=False to leave class 0 out of the mean.",
            )
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self.include_background = include_background
        self.from_logits = from_logits

    def read(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Truth and prediction as class ids, and which pixels count.

        Args:
            y_true: Class ids `(batch, *space)` or `(batch, *space, 1)`, or one-hot `(batch, *space, num_classes)`.
            y_pred: Scores `(batch, *space, num_classes)` or `(batch, *space, 1)`; or integers `(batch, *space)`, read
                as class ids.
            sample_weight: `None`, `(batch,)` or `(batch, *space)`; pixels of weight 0 are not counted, any other
                weight counts as 1.

        Returns:
            Two int32 tensors `(batch, *space)`, ignored pixels of the truth holding `ignore_class`; and a boolean one,
            false where the weight is 0, or `None` without weights. Illegal class ids are left as they are.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        pred = self._predicted_ids(y_pred)
        if len(y_true.shape) == len(pred.shape) + 1 and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, axis=-1)
        true = self._ids_of_one_hot(y_true) if len(y_true.shape) == len(pred.shape) + 1 else ops.cast(y_true, "int32")
        _check_shapes(true, pred)
        if sample_weight is None:
            return true, pred, None
        counts = ops.broadcast_to(_nonzero(ops.convert_to_tensor(sample_weight), len(true.shape)), ops.shape(true))
        return true, pred, counts

    def _ids_of_one_hot(self, y_true: Tensor) -> Tensor:
        if y_true.shape[-1] != self.num_classes:
            raise ArgumentError(
                f"One-hot truth is as wide as there are classes, {self.num_classes}.",
                received={"y_true.shape": tuple(y_true.shape), "num_classes": self.num_classes},
                cure="Pass class ids instead, or correct `num_classes`.",
            )
        ids = ops.cast(ops.argmax(y_true, axis=-1), "int32")
        if self.ignore_class is None:
            return ids
        target = ops.cast(y_true, "float32")
        marked = ops.any(ops.equal(target, float(self.ignore_class)), axis=-1)
        classless = ops.equal(ops.sum(target, axis=-1), 0.0)
        return ops.where(ops.logical_or(marked, classless), self.ignore_class, ids)

    def _predicted_ids(self, y_pred: Tensor) -> Tensor:
        if "int" in keras.backend.standardize_dtype(y_pred.dtype):
            return ops.cast(y_pred, "int32")
        if y_pred.shape[-1] == 1 and self.num_classes == 2:
            threshold = 0.0 if self.from_logits else 0.5
            return ops.cast(y_pred[..., 0] > threshold, "int32")
        if y_pred.shape[-1] != self.num_classes:
            raise ArgumentError(
                "Predictions hold one score per class in the last axis.",
                received={"y_pred.shape": tuple(y_pred.shape), "num_classes": self.num_classes},
                cure=f"Pass num_classes={y_pred.shape[-1]}, or integers when the predictions are class ids.",
            )
        return ops.cast(ops.argmax(y_pred, axis=-1), "int32")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; each is stored unchanged under its own name."""
        arguments = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {key: _plain(getattr(self, key)) for key in arguments}


def _nonzero(weight: Tensor, rank: int) -> Tensor:
    """Where `weight` is not 0, shaped to combine with `(batch, *space)` of that rank."""
    if len(weight.shape) == rank + 1 and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, axis=-1)
    if all(size == 1 for size in weight.shape[1:]):
        weight = ops.reshape(weight, (-1,) + (1,) * (rank - 1))
    if len(weight.shape) != rank:
        raise ArgumentError(
            "`sample_weight` holds one weight per image (batch,) or one per pixel (batch, height, width).",
            received={"sample_weight.shape": tuple(weight.shape)},
            cure="Reshape it to one of the two.",
        )
    return ops.not_equal(weight, ops.cast(0, weight.dtype))


def _check_shapes(true: Tensor, pred: Tensor) -> None:
    a, b = tuple(true.shape), tuple(pred.shape)
    if len(a) != len(b) or any(m is not None and n is not None and m != n for m, n in zip(a, b, strict=False)):
        raise ArgumentError(
            "The truth has one class id per predicted pixel.",
            received={"y_true.shape": a, "predicted ids' shape": b},
            cure=f"Bring the masks to shape {b}, or the model's output to their size.",
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
