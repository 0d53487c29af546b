"""Mean over images of their mean intersection over union."""

from __future__ import annotations

import keras

from segnosis.metrics.base import Tensor
from segnosis.metrics.confusion import PerImageMetric


@keras.saving.register_keras_serializable(package="segnosis.metrics")
class MeanIoUPerImage(PerImageMetric):
    """Mean over images of the mean IoU over the classes an image holds, in truth or prediction.

    An image none of whose classes take part, one of background alone with `include_background=False` say, is left out.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        ignore_class: Value of `y_true` that is no class.
        include_background: Whether class 0 takes part in the mean.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> metric = sg.metrics.MeanIoUPerImage(num_classes=2)
        >>> metric.update_state(np.array([[[0, 1]], [[1, 1]]]), np.array([[[0, 1]], [[1, 0]]]))
        >>> float(metric.result())
        0.625
    """

    def score(self, hit: Tensor, true: Tensor, pred: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels in both over pixels in either."""
        return hit, true + pred - hit
