"""Mean intersection over union of a data set."""

from __future__ import annotations

import keras

from segnosis.metrics.base import Tensor
from segnosis.metrics.confusion import ConfusionMetric


@keras.saving.register_keras_serializable(package="segnosis.metrics")
class MeanIoU(ConfusionMetric):
    """Mean over classes of `|truth ∩ prediction| / |truth ∪ prediction|`, counted over all pixels seen.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        ignore_class: Value of `y_true` that is no class.
        include_background: Whether class 0 takes part in the mean.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> metric = sg.metrics.MeanIoU(num_classes=3, ignore_class=255)
        >>> metric.update_state(np.array([[[0, 1, 255]]]), np.array([[[0, 0, 2]]]))
        >>> float(metric.result()), metric.per_class()
        (0.25, (0.5, 0.0, None))
    """

    def score(self, hit: Tensor, true: Tensor, pred: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels in both over pixels in either."""
        return hit, true + pred - hit
