"""Intersection over union of one class."""

from __future__ import annotations

import keras

from segnosis.metrics.base import Tensor
from segnosis.metrics.confusion import OneClassMetric


@keras.saving.register_keras_serializable(package="segnosis.metrics")
class IoU(OneClassMetric):
    """`|truth ∩ prediction| / |truth ∪ prediction|` of class `class_id`, counted over all pixels seen.

    0 as long as the class has occurred neither in the truth nor in the predictions.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        class_id: The class.
        ignore_class: Value of `y_true` that is no class.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric; `iou_1` say, by default.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> metric = sg.metrics.IoU(num_classes=2, class_id=1)
        >>> metric.update_state(np.array([[[0, 1, 1]]]), np.array([[[0, 0, 1]]]))
        >>> round(float(metric.result()), 3)
        0.5
    """

    def score(self, hit: Tensor, true: Tensor, pred: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels in both over pixels in either."""
        return hit, true + pred - hit
