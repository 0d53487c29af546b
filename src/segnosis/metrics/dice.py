"""Dice score of one class."""

from __future__ import annotations

import keras

from segnosis.metrics.base import Tensor
from segnosis.metrics.confusion import OneClassMetric


@keras.saving.register_keras_serializable(package="segnosis.metrics")
class Dice(OneClassMetric):
    """`2·|truth ∩ prediction| / (|truth| + |prediction|)` of class `class_id`, counted over all pixels seen.

    0 as long as the class has occurred neither in the truth nor in the predictions.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        class_id: The class.
        ignore_class: Value of `y_true` that is no class.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric; `dice_1` say, by default.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> metric = sg.metrics.Dice(num_classes=2, class_id=1)
        >>> metric.update_state(np.array([[[0, 1, 1]]]), np.array([[[0, 0, 1]]]))
        >>> round(float(metric.result()), 3)
        0.667
    """

    def score(self, hit: Tensor, true: Tensor, pred: Tensor) -> tuple[Tensor, Tensor]:
        """Twice the pixels in both over the pixels of each."""
        return 2.0 * hit, true + pred
