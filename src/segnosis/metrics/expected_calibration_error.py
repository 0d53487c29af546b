"""Expected calibration error: how far confidence is from accuracy."""

from __future__ import annotations

from typing import NamedTuple

import keras
from keras import ops

from segnosis.core.errors import ArgumentError, is_whole
from segnosis.metrics.base import SegmentationMetric, Tensor
from segnosis.metrics.confusion import ExactCounts, count


class Reliability(NamedTuple):
    """One bin of a reliability diagram: confidences from `low` to `high`, and what became of those pixels."""

    low: float
    high: float
    pixels: int
    confidence: float | None
    accuracy: float | None


@keras.saving.register_keras_serializable(package="segnosis.metrics")
class ExpectedCalibrationError(SegmentationMetric):
    """`Σ_b n_b / n · |accuracy_b − confidence_b|` over bins of equal width of the confidence, the largest probability.

    `reliability()` gives the diagram behind it. Right-closed bins, as in torchmetrics' `MulticlassCalibrationError`.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        ignore_class: Value of `y_true` that is no class.
        include_background: Whether pixels whose true class is 0 count.
        bins: Number of bins between 0 and 1.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the metric.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> metric = sg.metrics.ExpectedCalibrationError(num_classes=2, from_logits=False)
        >>> sure = np.array([[[[0.1, 0.9], [0.1, 0.9]]]], "float32")
        >>> metric.update_state(np.array([[[1, 0]]]), sure)  # 90 % sure, half of them right
        >>> round(float(metric.result()), 3)
        0.4

    Reference:
        Guo et al., On calibration of modern neural networks, ICML 2017.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_class: int | None = None,
        include_background: bool = True,
        bins: int = 15,
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
        if not (is_whole(bins) and bins >= 1):
            raise ArgumentError(
                "`bins` is a whole number, at least 1.", received={"bins": bins}, cure="Pass bins=15, the usual number."
            )
        self.bins = bins
        self._wrong = ExactCounts(self, bins, "wrong")
        self._right = ExactCounts(self, bins, "right")
        self._illegal = ExactCounts(self, 1, "illegal")
        self._confidence = self.add_variable((bins,), "zeros", dtype="float32", name="confidence")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Count the pixels of a batch by confidence; `y_pred` holds scores, not class ids."""
        true, pred, counts = self.read(y_true, y_pred, sample_weight)
        confidence = self._confidences(ops.convert_to_tensor(y_pred))
        counted = ops.ones_like(true, dtype="bool") if counts is None else counts
        if self.ignore_class is not None:
            counted = ops.logical_and(counted, ops.not_equal(true, self.ignore_class))
        kept = ops.logical_and(counted, ops.logical_and(true >= 0, true < self.num_classes))
        self._illegal.add(ops.reshape(ops.sum(ops.cast(ops.not_equal(counted, kept), "int32")), (1,)))
        if not self.include_background:
            kept = ops.logical_and(kept, true > 0)
        bin_of = ops.cast(ops.ceil(confidence * self.bins), "int32") - 1
        bin_of = ops.where(kept, ops.clip(bin_of, 0, self.bins - 1), self.bins)
        right = ops.cast(ops.equal(true, pred), "int32")
        width = self.bins + 1
        pixels = ops.reshape(count(bin_of + right * width, 2 * width), (2, width))[:, : self.bins]
        self._wrong.add(pixels[0])
        self._right.add(pixels[1])
        # Summed image by image first, which keeps float32 sums of millions of pixels exact enough.
        batch = ops.shape(true)[0]
        rows = ops.arange(0, batch, dtype="int32")[:, None] * width
        index = ops.reshape(ops.reshape(bin_of, (batch, -1)) + rows, (-1,))
        sums = ops.segment_sum(ops.reshape(confidence, (-1,)), index, batch * width)
        sums = ops.sum(ops.reshape(sums, (batch, width)), axis=0)
        self._confidence.assign(self._confidence + sums[: self.bins])

    def _confidences(self, y_pred: Tensor) -> Tensor:
        if "int" in keras.backend.standardize_dtype(y_pred.dtype):
            raise ArgumentError(
                "Calibration compares confidence with accuracy, so it needs scores rather than class ids.",
                received={"y_pred.dtype": keras.backend.standardize_dtype(y_pred.dtype)},
                cure="Pass the model's output itself, before argmax.",
            )
        scores = ops.cast(y_pred, "float32")
        if scores.shape[-1] == 1:
            prob = ops.sigmoid(scores[..., 0]) if self.from_logits else scores[..., 0]
            return ops.maximum(prob, 1.0 - prob)
        return ops.amax(ops.softmax(scores, axis=-1) if self.from_logits else scores, axis=-1)

    def result(self) -> Tensor:
        """The error so far, a float32 scalar; 0 before any pixel, NaN after an illegal class id."""
        right, confidence = self._right.on_device(), ops.convert_to_tensor(self._confidence)
        pixels = right + self._wrong.on_device()
        error = ops.sum(ops.abs(right - confidence)) / ops.maximum(ops.sum(pixels), 1.0)
        return ops.where(self._illegal.on_device()[0] > 0.0, float("nan"), error)

    def reliability(self) -> tuple[Reliability, ...]:
        """The bins from the least to the most confident; an empty one has neither confidence nor accuracy."""
        right, wrong = self._right.exact(), self._wrong.exact()
        sums = ops.convert_to_numpy(self._confidence)
        return tuple(
            Reliability(
                low=b / self.bins,
                high=(b + 1) / self.bins,
                pixels=int(right[b] + wrong[b]),
                confidence=float(sums[b] / (right[b] + wrong[b])) if right[b] + wrong[b] else None,
                accuracy=float(right[b] / (right[b] + wrong[b])) if right[b] + wrong[b] else None,
            )
            for b in range(self.bins)
        )
