"""Share of pixels predicted right."""

from __future__ import annotations

import keras
from keras import ops

from segnosis.metrics.base import Tensor
from segnosis.metrics.confusion import ConfusionMetric


@keras.saving.register_keras_serializable(package="segnosis.metrics")
class PixelAccuracy(ConfusionMetric):
    """Pixels whose predicted class is the true one over all pixels that count.

    High wherever one class fills most of the image; read it beside `MeanIoU`. `per_class()` gives the recall of each
    class, `None` for a class that has no true pixel.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        ignore_class: Value of `y_true` that is no class.
        include_background: Whether pixels whose true class is 0 count.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> metric = sg.metrics.PixelAccuracy(num_classes=2, ignore_class=255)
        >>> metric.update_state(np.array([[[0, 1, 1, 255]]]), np.array([[[0, 0, 1, 1]]]))
        >>> round(float(metric.result()), 3)
        0.667
    """

    def score(self, hit: Tensor, true: Tensor, pred: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels found over pixels of the class."""
        return hit, true

    def mean_over_classes(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over pixels instead."""
        rows = ops.sum(matrix, axis=-1) * self._in_mean()
        hit = ops.diagonal(matrix, axis1=-2, axis2=-1) * self._in_mean()
        total = ops.sum(rows, axis=-1)
        return ops.sum(hit, axis=-1) / ops.maximum(total, 1.0), total > 0.0
