"""The pixels of one batch as every loss formula sees them: classes, probabilities and weights, each computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from segnosis.core.errors import ArgumentError
from segnosis.losses.soft_max import truth_and_mass

Tensor = Any  # a tensor of whichever backend Keras runs on

_SMALLEST_PROB = 1e-7  # keeps log(prob) finite for heads that already hold a soft-max


def _once(make: Callable[[Any], Tensor]) -> Any:
    """A property computed at its first use; `functools.cached_property` holds a lock, which `torch.compile` cannot."""
    name = make.__name__

    def get(self: Any) -> Tensor:
        if name not in self._known:
            self._known[name] = make(self)
        return self._known[name]

    return property(get, doc=make.__doc__)


class Pixels:
    """One batch, brought into one form whatever way truth and prediction were written.

    Args:
        y_true: Class ids `(batch, *space)` or `(batch, *space, 1)`, or one-hot `(batch, *space, num_classes)`.
        y_pred: `(batch, *space, num_classes)`, `space` being `(height, width)` or `(depth, height, width)`. A single
            channel is the second class of two.
        sample_weight: `None`, one weight per image `(batch,)`, or one per pixel `(batch, *space)`.
        ignore_class: Value of `y_true` that is no class; those pixels take no part. In one-hot truth a pixel is
            ignored when it holds this value or belongs to no class at all.
        from_logits: Whether `y_pred` holds logits rather than probabilities.

    Attributes:
        ids: `(batch, *space)` int32 class ids, or `None` when the truth is one-hot. Ignored pixels hold 0.
        target: `(batch, *space, num_classes)` float32, or `None` when the truth is class ids.
        pixel_weight: `(batch, *space)` float32, 0 on ignored pixels; `None` when every pixel counts 1.
        image_weight: `(batch,)` float32, or `None`.
        num_classes: Number of classes; 2 for a head of one channel.
    """

    def __init__(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
        *,
        ignore_class: int | None = None,
        from_logits: bool = True,
    ) -> None:
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        self._from_logits = from_logits
        self._known: dict[str, Tensor] = {}
        scores = ops.cast(y_pred, "float32")
        if scores.shape[-1] == 1:
            scores = ops.concatenate([ops.zeros_like(scores) if from_logits else 1.0 - scores, scores], axis=-1)
        self.num_classes = int(scores.shape[-1])
        if ignore_class is not None and 0 <= ignore_class < self.num_classes:
            raise ArgumentError(
                f"`ignore_class` marks pixels that are no class, so it lies outside 0…{self.num_classes - 1}.",
                received={"ignore_class": ignore_class, "num_classes": self.num_classes},
                cure=f"Write ignored pixels as 255, or weigh class {ignore_class} with 0 in `class_weights` instead.",
            )
        y_true = _as_ids_or_one_hot(y_true, y_pred, self.num_classes)
        self.ids: Tensor = None
        self.target: Tensor = None
        keep = None
        if len(y_true.shape) == len(y_pred.shape):
            self.target = ops.cast(y_true, "float32")
            if ignore_class is not None:
                marked = ops.any(ops.equal(self.target, float(ignore_class)), axis=-1)
                classless = ops.equal(ops.sum(self.target, axis=-1), 0.0)
                keep = ops.logical_not(ops.logical_or(marked, classless))
                self.target = ops.where(keep[..., None], self.target, 0.0)
            self._legal = None
        else:
            ids = ops.cast(y_true, "int32")
            if ignore_class is not None:
                keep = ops.not_equal(ids, ignore_class)
                ids = ops.where(keep, ids, 0)
            legal = ops.logical_and(ids >= 0, ids < self.num_classes)
            self._legal = ops.all(legal)
            self.ids = ops.where(legal, ids, 0)
        if keep is not None:
            # Not a product with 0: an infinite or missing score under an ignored pixel must not reach the sums.
            scores = ops.where(keep[..., None], scores, 0.0)
        self._scores = scores
        self.pixel_weight = None if keep is None else ops.cast(keep, "float32")
        self.image_weight: Tensor | None = None
        if sample_weight is not None:
            self._weigh(ops.cast(ops.convert_to_tensor(sample_weight), "float32"))

    def _weigh(self, weight: Tensor) -> None:
        space = len(self._scores.shape) - 2
        per_image = all(size == 1 for size in weight.shape[1:])
        if not per_image and len(weight.shape) == space + 2 and weight.shape[-1] == 1:
            weight = ops.squeeze(weight, axis=-1)
        if per_image:
            self.image_weight = ops.reshape(weight, (-1,))
        elif len(weight.shape) == space + 1:
            self.pixel_weight = weight if self.pixel_weight is None else weight * self.pixel_weight
        else:
            raise ArgumentError(
                "`sample_weight` holds one weight per image (batch,) or one per pixel (batch, height, width).",
                received={"sample_weight.shape": tuple(weight.shape), "y_pred.shape": tuple(self._scores.shape)},
                cure="Reshape it to one of the two.",
            )

    @_once
    def log_prob(self) -> Tensor:
        """Logarithm of `prob`, `(batch, *space, num_classes)`."""
        if self._from_logits:
            return ops.log_softmax(self._scores, axis=-1)
        return ops.log(ops.maximum(self._scores, _SMALLEST_PROB))

    @_once
    def prob(self) -> Tensor:
        """Probability of each class, `(batch, *space, num_classes)`."""
        if not self._from_logits:
            return self._scores
        # Where the logarithm is known already, exp is the cheaper way, and its gradient shares the soft-max's.
        return ops.exp(self.log_prob) if "log_prob" in self._known else ops.softmax(self._scores, axis=-1)

    @_once
    def _truth_and_mass(self) -> tuple[Tensor, Tensor]:
        return truth_and_mass(self._scores, self.ids, self.pixel_weight)

    @_once
    def log_prob_of_truth(self) -> Tensor:
        """`log_prob` of the true class, `(batch, *space)`; class ids only."""
        if self._from_logits and "log_prob" not in self._known:
            return self._truth_and_mass[0]
        return self._at_truth(self.log_prob)

    @_once
    def prob_of_truth(self) -> Tensor:
        """`prob` of the true class, `(batch, *space)`; class ids only."""
        if not self._from_logits or ("prob" in self._known and "log_prob_of_truth" not in self._known):
            return self._at_truth(self.prob)
        return ops.exp(self.log_prob_of_truth)

    @_once
    def prob_sums(self) -> Tensor:
        """Sum of `prob` over the pixels of each image, `(batch, num_classes)`."""
        if self._from_logits and self.ids is not None and "prob" not in self._known:
            return self._truth_and_mass[1]
        return self.class_sums(self.prob)

    def _at_truth(self, values: Tensor) -> Tensor:
        """One value per pixel, picked by index: a one-hot product would need `num_classes` times the memory."""
        flat_ids = ops.reshape(self.ids, (-1,))
        first = ops.arange(0, ops.shape(flat_ids)[0], dtype="int32") * self.num_classes
        return ops.reshape(ops.take(ops.reshape(values, (-1,)), first + flat_ids), ops.shape(self.ids))

    @_once
    def one_hot(self) -> Tensor:
        """Truth as `(batch, *space, num_classes)` float32, 0 on ignored pixels; for formulas about shapes only."""
        target = self.target if self.ids is None else ops.one_hot(self.ids, self.num_classes, dtype="float32")
        return target if self.pixel_weight is None else target * self.kept[..., None]

    @_once
    def weight(self) -> Tensor:
        """Weight of each pixel, of its image too, `(batch, *space)`."""
        weight = ops.ones_like(self._scores[..., 0]) if self.pixel_weight is None else self.pixel_weight
        if self.image_weight is None:
            return weight
        return weight * ops.reshape(self.image_weight, (-1,) + (1,) * (len(self._scores.shape) - 2))

    @_once
    def kept(self) -> Tensor:
        """1 where a pixel takes part (its weight is not 0), else 0, `(batch, *space)`."""
        return ops.cast(ops.not_equal(self.weight, 0.0), "float32")

    @_once
    def kept_images(self) -> Tensor:
        """1 for an image of which any pixel takes part, else 0, `(batch,)`."""
        return ops.amax(ops.reshape(self.kept, (ops.shape(self.kept)[0], -1)), axis=-1)

    def mean(self, cost: Tensor) -> Tensor:
        """Weighted sum of a cost per pixel `(batch, *space)` over the number of kept pixels."""
        if self.pixel_weight is None and self.image_weight is None:
            return ops.mean(cost)
        return ops.sum(cost * self.weight) / ops.maximum(ops.sum(self.kept), 1.0)

    def class_sums(self, values: Tensor) -> Tensor:
        """Sum of `values` `(batch, *space, num_classes)` over the pixels of each image, `(batch, num_classes)`."""
        if self.pixel_weight is not None:
            values = values * self.pixel_weight[..., None]
        return ops.sum(values, axis=tuple(range(1, len(values.shape) - 1)))

    def truth_sums(self, values: Tensor | None = None) -> Tensor:
        """Sum of `values` `(batch, *space)`, by default 1, into each pixel's true class, `(batch, num_classes)`."""
        batch = ops.shape(self.ids)[0]
        if values is None:
            values = ops.ones_like(self._scores[..., 0]) if self.pixel_weight is None else self.pixel_weight
        elif self.pixel_weight is not None:
            values = values * self.pixel_weight
        rows = ops.arange(0, batch, dtype="int32") * self.num_classes
        segment = ops.reshape(self.ids, (batch, -1)) + rows[:, None]
        total = ops.segment_sum(ops.reshape(values, (-1,)), ops.reshape(segment, (-1,)), batch * self.num_classes)
        return ops.reshape(total, (batch, self.num_classes))

    def sum_over_images(self, sums: Tensor) -> Tensor:
        """Weighted sum over images of `(batch, n)`, `(1, n)`."""
        if self.image_weight is not None:
            sums = sums * self.image_weight[:, None]
        return ops.sum(sums, axis=0, keepdims=True)

    def mean_over_images(self, cost: Tensor) -> Tensor:
        """Weighted sum of a cost per image `(batch,)` over the number of images of which any pixel is kept."""
        kept = self.kept_images
        weight = kept if self.image_weight is None else kept * self.image_weight
        return ops.sum(weight * cost) / ops.maximum(ops.sum(kept), 1.0)

    def checked(self, loss: Tensor) -> Tensor:
        """`loss`, or NaN when a class id is neither a class nor ignored: wrong labels never train silently."""
        return loss if self._legal is None else loss * ops.where(self._legal, 1.0, float("nan"))


def _as_ids_or_one_hot(y_true: Tensor, y_pred: Tensor, num_classes: int) -> Tensor:
    """`y_true` without a last axis of 1, its shape checked against `y_pred`'s."""
    true_shape, pred_shape = tuple(y_true.shape), tuple(y_pred.shape)
    if len(true_shape) == len(pred_shape) and true_shape[-1] == 1:
        y_true, true_shape = ops.squeeze(y_true, axis=-1), true_shape[:-1]
    one_hot = len(true_shape) == len(pred_shape)
    if one_hot and true_shape[-1] != num_classes:
        raise ArgumentError(
            f"One-hot truth is as wide as the prediction, which has {num_classes} classes.",
            received={"y_true.shape": true_shape, "y_pred.shape": pred_shape},
            cure=f"Encode the mask with {num_classes} classes, or pass class ids of shape {pred_shape[:-1]}.",
        )
    space = true_shape[:-1] if one_hot else true_shape
    differs = len(space) != len(pred_shape) - 1 or any(
        a is not None and b is not None and a != b for a, b in zip(space, pred_shape, strict=False)
    )
    if differs or len(pred_shape) < 3:
        raise ArgumentError(
            "The truth has one class id per predicted pixel: `y_pred` is (batch, height, width, classes), `y_true` the "
            "same without the last axis.",
            received={"y_true.shape": true_shape, "y_pred.shape": pred_shape},
            cure=f"Bring the masks to shape {pred_shape[:-1]}, or the model's output to their size.",
        )
    return y_true
