"""Cross-entropy over the kept pixels."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from segnosis.losses.base import SegmentationLoss, check_range
from segnosis.losses.pixels import Pixels, Tensor


@keras.saving.register_keras_serializable(package="segnosis.losses")
class CrossEntropy(SegmentationLoss):
    """Mean over the kept pixels of `−class_weights[k] · log p_k`, k being the true class.

    The sum is divided by the number of kept pixels, whatever their weights; PyTorch divides by the sum of the weights
    of their true classes instead.

    Args:
        ignore_class: Value of `y_true` that is no class.
        class_weights: One weight per class.
        label_smoothing: Share of the target spread evenly over all classes, 0 to 1.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true = np.array([[[0, 1], [255, 1]]])
        >>> loss = sg.losses.CrossEntropy(ignore_class=255)(y_true, np.zeros((1, 2, 2, 2), "float32"))
        >>> round(float(loss), 3)
        0.693
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(ignore_class=ignore_class, class_weights=class_weights, from_logits=from_logits, name=name)
        check_range("label_smoothing", label_smoothing, 0.0, 1.0)
        self.label_smoothing = label_smoothing

    def value(self, pixels: Pixels) -> Tensor:
        """Mean of the cost per pixel."""
        return pixels.mean(self.cost(pixels))

    def cost(self, pixels: Pixels) -> Tensor:
        """Cross-entropy of each pixel, `(batch, *space)`."""
        per_class = self.weight_per_class(pixels.num_classes)
        if pixels.ids is not None:
            cost = -pixels.log_prob_of_truth
            if self.class_weights is not None:
                cost = cost * ops.take(per_class, pixels.ids)
        else:
            cost = -ops.sum(per_class * pixels.target * pixels.log_prob, axis=-1)
        if self.label_smoothing:
            evenly = -ops.mean(per_class * pixels.log_prob, axis=-1)
            cost = (1.0 - self.label_smoothing) * cost + self.label_smoothing * evenly
        return cost
