"""Mean Dice score of a data set."""

from __future__ import annotations

import keras

from segnosis.metrics.base import Tensor
from segnosis.metrics.confusion import ConfusionMetric


@keras.saving.register_keras_serializable(package="segnosis.metrics")
class MeanDice(ConfusionMetric):
    """Mean over classes of `2·|truth ∩ prediction| / (|truth| + |prediction|)`, counted over all pixels seen.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        ignore_class: Value of `y_true` that is no class.
        include_background: Whether class 0 takes part in the mean.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> metric = sg.metrics.MeanDice(num_classes=2, include_background=False)
        >>> metric.update_state(np.array([[[0, 1, 1]]]), np.array([[[0, 0, 1]]]))
        >>> round(float(metric.result()), 3)
        0.667
    """

    def score(self, hit: Tensor, true: Tensor, pred: Tensor) -> tuple[Tensor, Tensor]:
        """Twice the pixels in both over the pixels of each."""
        return 2.0 * hit, true + pred
