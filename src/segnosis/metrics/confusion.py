"""The one confusion matrix behind every score that counts pixels: exact, on the device, of any size of data set."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from segnosis.core.errors import ArgumentError, is_whole
from segnosis.metrics.base import SegmentationMetric, Tensor

# JAX has no int64 unless asked, so a count is two int32 words. The low one keeps 24 bits: replicas can be summed
# without overflow, and float32 holds it exactly.
_LOW_BITS = 24

_PIECE = 2**18  # pixels


def count(index: Tensor, length: int | Tensor) -> Tensor:
    """How often each of 0 … `length` − 1 occurs in `index`, `(length,)` int32, by counting on the device."""
    index = ops.reshape(index, (-1,))
    if keras.backend.backend() == "torch":  # whose `segment_sum` adds in float32
        return ops.bincount(index, minlength=length)
    # `bincount` takes its length from the values on JAX and TensorFlow, and cannot be compiled.
    return ops.segment_sum(ops.ones_like(index), index, length)


def count_pairs(
    true: Tensor,
    pred: Tensor,
    counts: Tensor | None,
    *,
    num_classes: int,
    ignore_class: int | None,
    groups: int | Tensor = 1,
) -> tuple[Tensor, Tensor]:
    """Confusion matrices `(groups, num_classes, num_classes)` of a batch, and its number of illegal ids; int32.

    The batch is cut into `groups` equal parts along its first axis; pixels take part where `counts`.
    """
    side = num_classes + 2
    if not (isinstance(groups, int) and groups == 1):
        framed = _count_framed(true, pred, counts, side, ignore_class, groups)
    else:
        pieces = _pieces(true.shape)
        true_of, pred_of = ops.reshape(true, (pieces, -1)), ops.reshape(pred, (pieces, -1))
        counts_of = None if counts is None else ops.reshape(counts, (pieces, -1))

        def with_piece(piece: int | Tensor, sums: Tensor) -> Tensor:
            here = None if counts_of is None else counts_of[piece]
            return sums + _count_framed(true_of[piece], pred_of[piece], here, side, ignore_class)

        framed = ops.fori_loop(0, pieces, with_piece, ops.zeros((side * side + 1,), dtype="int32"))
    framed = ops.reshape(framed, (groups, side * side + 1))
    matrix = ops.reshape(framed[:, :-1], (groups, side, side))[:, 1:-1, 1:-1]
    return matrix, ops.sum(framed[:, :-1]) - ops.sum(matrix)


def _count_framed(
    true: Tensor, pred: Tensor, counts: Tensor | None, side: int, ignore_class: int | None, groups: int | Tensor = 1
) -> Tensor:
    """How often each pair of ids occurs, and last how many pixels are left out, `(groups · (side² + 1),)` int32.

    Whatever is no class falls into a margin around the matrix: two clips touch memory less often than comparing and
    selecting would, and memory is what counting takes its time for.
    """
    if keras.backend.backend() == "torch":  # whose `ops.clip` takes five times as long: it makes tensors of its bounds
        cell = pred.clamp(-1, side - 2).add_(true.clamp(-1, side - 2), alpha=side).add_(side + 1)
    else:
        cell = ops.clip(true, -1, side - 2) * side + ops.clip(pred, -1, side - 2) + (side + 1)
    if ignore_class is not None:
        cell = ops.where(ops.equal(true, ignore_class), side * side, cell)
    if counts is not None:
        cell = ops.where(counts, cell, side * side)
    cells = side * side + 1
    if not (isinstance(groups, int) and groups == 1):
        cell = ops.reshape(cell, (groups, -1)) + ops.arange(0, groups, dtype="int32")[:, None] * cells
    return count(cell, groups * cells)


def _pieces(shape: tuple[int | None, ...]) -> int:
    """Equal pieces to count one after the other, so that their indices stay in the cache of a processor core.

    On JAX a batch may be spread over devices, and is better not cut.
    """
    known = [size for size in shape if size is not None]
    if keras.backend.backend() == "jax" or len(known) < len(shape):
        return 1
    size, pieces = math.prod(known), 1
    while size // pieces > _PIECE and size % (2 * pieces) == 0:
        pieces *= 2
    return pieces


class ExactCounts:
    """Whole numbers kept in a metric's state, each as two int32 words."""

    def __init__(self, metric: keras.metrics.Metric, length: int, name: str) -> None:
        self._words = metric.add_variable((2, length), "zeros", dtype="int32", name=name)

    def add(self, counts: Tensor) -> None:
        """Add `(length,)` int32."""
        low = self._words[0] + counts
        carry = ops.right_shift(low, _LOW_BITS)
        self._words.assign(ops.stack([low - ops.left_shift(carry, _LOW_BITS), self._words[1] + carry]))

    def on_device(self) -> Tensor:
        """The numbers as `(length,)` float32, correctly rounded."""
        words = ops.cast(ops.convert_to_tensor(self._words), "float32")
        return words[0] + words[1] * float(2**_LOW_BITS)

    def exact(self) -> np.ndarray:
        """The numbers as `(length,)` int64, on the host."""
        words = ops.convert_to_numpy(self._words).astype(np.int64)
        return words[0] + (words[1] << _LOW_BITS)


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
        self._counts = ExactCounts(self, self.side * self.side + 1, "confusion")

    @property
    def side(self) -> int:
        """Rows of the matrix."""
        return self.num_classes

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Count the pixels of a batch; arguments as in `read`."""
        true, pred, counts = self.read(y_true, y_pred, sample_weight)
        self.add(*count_pairs(true, pred, counts, num_classes=self.num_classes, ignore_class=self.ignore_class))

    def add(self, matrix: Tensor, illegal: Tensor) -> None:
        """Add a confusion matrix and a number of illegal ids, int32."""
        self._counts.add(ops.concatenate([ops.reshape(matrix, (-1,)), ops.reshape(illegal, (1,))]))

    def confusion(self) -> np.ndarray:
        """The matrix so far, `(num_classes, num_classes)` int64: rows are true classes, columns predicted ones."""
        cells = self._counts.exact()
        if cells[-1]:
            raise ArgumentError(
                f"Class ids lie in 0…{self.num_classes - 1}, apart from `ignore_class`.",
                received={"pixels with another id": int(cells[-1]), "ignore_class": self.ignore_class},
                cure="Set `ignore_class` to the value of unlabelled pixels, or correct the masks.",
            )
        return cells[:-1].reshape(self.side, self.side)

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
        cells = self._counts.on_device()
        matrix = ops.reshape(cells[:-1], (self.side, self.side))
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
        part = np.ones(self.num_classes, dtype="float32")
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
        true, pred, counts = self.read(y_true, y_pred, sample_weight)
        matrices, illegal = count_pairs(
            true,
            pred,
            counts,
            num_classes=self.num_classes,
            ignore_class=self.ignore_class,
            groups=ops.shape(true)[0],
        )
        self.add(ops.sum(matrices, axis=0), illegal)
        score, scored = self.mean_over_classes(ops.cast(matrices, "float32"))
        scored = ops.cast(scored, "float32")
        self._total.assign(self._total + ops.sum(score * scored))
        self._images.assign(self._images + ops.sum(scored))

    def result(self) -> Tensor:
        """Mean over the images that hold a class, a float32 scalar."""
        illegal = self._counts.on_device()[-1]
        return ops.where(illegal > 0.0, float("nan"), self._total / ops.maximum(self._images, 1.0))


class OneClassMetric(ConfusionMetric):
    """The score of the single class `class_id`."""

    def __init__(
        self,
        num_classes: int,
        class_id: int,
        *,
        ignore_class: int | None = None,
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        name = name or f"{type(self).__name__.lower()}_{class_id}"
        super().__init__(num_classes, ignore_class=ignore_class, from_logits=from_logits, name=name)
        if not (is_whole(class_id) and 0 <= class_id < num_classes):
            raise ArgumentError(
                f"`class_id` is one of the classes 0…{num_classes - 1}.",
                received={"class_id": class_id, "num_classes": num_classes},
                cure="Choose the class whose score you want.",
            )
        self.class_id = class_id

    def _in_mean(self) -> Tensor:
        return ops.one_hot(self.class_id, self.num_classes, dtype="float32")
