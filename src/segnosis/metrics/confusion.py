"""The one confusion matrix behind every score that counts pixels: exact, on the device, of any size of data set."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from segnosis.core.errors import ArgumentError
from segnosis.metrics.base import SegmentationMetric, Tensor

# JAX has no int64 unless asked, so a count is two int32 words. The low one keeps 24 bits: replicas can be summed
# without overflow, and float32 holds it exactly.
_LOW_BITS = 24


def count(index: Tensor, length: int) -> Tensor:
    """How often each of 0 … `length` − 1 occurs in `index`, `(length,)` int32, by counting on the device."""
    index = ops.reshape(index, (-1,))
    if keras.backend.backend() == "torch":  # whose `segment_sum` adds in float32
        return ops.bincount(index, minlength=length)
    # `bincount` takes its length from the values on JAX and TensorFlow, and cannot be compiled.
    return ops.segment_sum(ops.ones_like(index), index, length)


class ConfusionMetric(SegmentationMetric):
    """A score per class from the confusion matrix of all pixels seen, and the mean over classes.

    A class that occurs neither in the truth nor in the predictions has no score and is left out of the mean. With no
    class left the mean is 0. A class id that is neither a class nor ignored makes the result NaN.

    Args:
        num_classes: Number of classes, background included.
        ignore_class: Value of `y_true` that is no class.
        include_background: Whether class 0 takes part in the mean.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric.
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
        super().__init__(
            num_classes,
            ignore_class=ignore_class,
            include_background=include_background,
            from_logits=from_logits,
            name=name,
        )
        # One more cell than the matrix has counts illegal ids.
        self._words = self.add_variable((2, num_classes * num_classes + 1), "zeros", dtype="int32", name="confusion")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Count the pixels of a batch; arguments as in `read`."""
        self.add(*self.read(y_true, y_pred, sample_weight))

    def add(self, true: Tensor, pred: Tensor, keep: Tensor) -> None:
        """Count the pixels where `keep`, by true and predicted class id."""
        cells = self.num_classes * self.num_classes
        counts = count(self.cell(true, pred, keep), cells + 2)[: cells + 1]
        low = self._words[0] + counts
        carry = ops.right_shift(low, _LOW_BITS)
        self._words.assign(ops.stack([low - ops.left_shift(carry, _LOW_BITS), self._words[1] + carry]))

    def cell(self, true: Tensor, pred: Tensor, keep: Tensor) -> Tensor:
        """Index into the flat matrix; one past its end for illegal ids, two past for pixels that do not count."""
        n = self.num_classes
        legal = ops.logical_and(ops.logical_and(true >= 0, true < n), ops.logical_and(pred >= 0, pred < n))
        return ops.where(keep, ops.where(legal, true * n + pred, n * n), n * n + 1)

    def confusion(self) -> np.ndarray:
        """The matrix so far, `(num_classes, num_classes)` int64: rows are true classes, columns predicted ones."""
        words = ops.convert_to_numpy(self._words).astype(np.int64)
        cells = words[0] + (words[1] << _LOW_BITS)
        if cells[-1]:
            raise ArgumentError(
                f"Class ids lie in 0…{self.num_classes - 1}, apart from `ignore_class`.",
                received={"pixels with another id": int(cells[-1]), "ignore_class": self.ignore_class},
                cure="Set `ignore_class` to the value of unlabelled pixels, or correct the masks.",
            )
        return cells[:-1].reshape(self.num_classes, self.num_classes)

    def score(self, hit: Tensor, true: Tensor, pred: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of each class' score; a denominator of 0 means the class did not occur.

        Args:
            hit: Pixels of the class found, `(…, num_classes)` float.
            true: Pixels of the class, same shape.
            pred: Pixels predicted to be of the class, same shape.
        """
        raise NotImplementedError

    def result(self) -> Tensor:
        """Mean over the classes that occurred, a float32 scalar on the device."""
        words = ops.cast(self._words, "float32")
        cells = words[0] + words[1] * float(2**_LOW_BITS)
        matrix = ops.reshape(cells[:-1], (self.num_classes, self.num_classes))
        mean, _ = self.mean_over_classes(matrix)
        return ops.where(cells[-1] > 0.0, float("nan"), mean)

    def mean_over_classes(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Mean score of matrices `(…, num_classes, num_classes)`, and whether any class took part in it."""
        hit = ops.diagonal(matrix, axis1=-2, axis2=-1)
        top, bottom = self.score(hit, ops.sum(matrix, axis=-1), ops.sum(matrix, axis=-2))
        occurs = ops.cast(bottom > 0.0, "float32") * self._in_mean()
        scores = top / ops.where(bottom > 0.0, bottom, 1.0)
        number = ops.sum(occurs, axis=-1)
        return ops.sum(scores * occurs, axis=-1) / ops.maximum(number, 1.0), number > 0.0

    def _in_mean(self) -> Tensor:
        part = np.ones(self.num_classes, "float32")
        part[0] = float(self.include_background)
        return ops.convert_to_tensor(part)

    def per_class(self) -> tuple[float | None, ...]:
        """Score of each class, background included, from the exact counts; `None` for a class that did not occur."""
        return self.scores_of(self.confusion())

    def scores_of(self, matrix: np.ndarray) -> tuple[float | None, ...]:
        """Score of each class of a confusion matrix `(num_classes, num_classes)`, as `per_class` gives it.

        Example:
            >>> import numpy as np, segnosis as sg
            >>> sg.metrics.MeanIoU(3).scores_of(np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]]))
            (0.6666666666666666, 0.5, None)
        """
        exact = np.asarray(matrix, dtype=np.float64)
        top, bottom = self.score(np.diagonal(exact), exact.sum(axis=1), exact.sum(axis=0))
        return tuple(float(t / b) if b > 0 else None for t, b in zip(top, bottom, strict=True))


class PerImageMetric(ConfusionMetric):
    """Mean over images of a score that is itself a mean over the classes an image holds.

    An image in which no class takes part is left out of the mean.
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
        super().__init__(
            num_classes,
            ignore_class=ignore_class,
            include_background=include_background,
            from_logits=from_logits,
            name=name,
        )
        self._total = self.add_variable((), "zeros", dtype="float32", name="total")
        self._images = self.add_variable((), "zeros", dtype="float32", name="images")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Score each image of a batch, and count its pixels."""
        true, pred, keep = self.read(y_true, y_pred, sample_weight)
        self.add(true, pred, keep)
        n, batch = self.num_classes, ops.shape(true)[0]
        cell = ops.reshape(self.cell(true, pred, keep), (batch, -1))
        rows = ops.arange(0, batch, dtype="int32")[:, None] * (n * n + 2)
        counts = ops.reshape(count(cell + rows, batch * (n * n + 2)), (batch, n * n + 2))
        matrices = ops.cast(ops.reshape(counts[:, : n * n], (batch, n, n)), "float32")
        score, scored = self.mean_over_classes(matrices)
        scored = ops.cast(scored, "float32")
        self._total.assign(self._total + ops.sum(score * scored))
        self._images.assign(self._images + ops.sum(scored))

    def result(self) -> Tensor:
        """Mean over the images that hold a class, a float32 scalar."""
        illegal = ops.max(self._words[:, -1]) > 0
        return ops.where(illegal, float("nan"), self._total / ops.maximum(self._images, 1.0))
