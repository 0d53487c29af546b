"""Focal loss."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from segnosis.losses.base import check_range
from segnosis.losses.cross_entropy import CrossEntropy
from segnosis.losses.pixels import Pixels, Tensor


@keras.saving.register_keras_serializable(package="segnosis.losses")
class Focal(CrossEntropy):
    """Mean over the kept pixels of `−class_weights[k] · (1 − p_k)^gamma · log p_k`, k being the true class.

    The paper's α is a weight per class: `class_weights=[0.75, 0.25]` for two classes. This is the soft-max form;
    MONAI's with `use_softmax=True` is the same but for its mean over classes. `Focal(gamma=0)` is `CrossEntropy`.

    Args:
        ignore_class: Value of `y_true` that is no class.
        class_weights: One weight per class.
        gamma: Exponent, 0 or at least 1; larger values look away from easy pixels more.
        label_smoothing: Share of the target spread evenly over all classes, 0 to 1.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true, y_pred = np.array([[[0, 1]]]), np.zeros((1, 1, 2, 2), "float32")
        >>> round(float(sg.losses.Focal(gamma=2.0)(y_true, y_pred)), 4)  # 0.5² · log 2
        0.1733

    Reference:
        Lin et al., Focal loss for dense object detection, ICCV 2017.
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        gamma: float = 2.0,
        label_smoothing: float = 0.0,
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(
            ignore_class=ignore_class,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
            from_logits=from_logits,
            name=name,
        )
        if gamma != 0:  # between 0 and 1 the gradient is infinite where the prediction is perfect
            check_range("gamma", gamma, 1.0)
        self.gamma = gamma

    def cost(self, pixels: Pixels) -> Tensor:
        """Focal cost of each pixel, `(batch, *space)`."""
        per_class = self.weight_per_class(pixels.num_classes)
        if pixels.ids is not None:
            cost = self._focus(pixels.prob_of_truth, pixels.log_prob_of_truth)
            if self.class_weights is not None:
                cost = cost * ops.take(per_class, pixels.ids)
            if not self.label_smoothing:
                return cost
        focused = per_class * self._focus(pixels.prob, pixels.log_prob)
        if pixels.ids is None:
            cost = ops.sum(pixels.target * focused, axis=-1)
        return (1.0 - self.label_smoothing) * cost + self.label_smoothing * ops.mean(focused, axis=-1)

    def _focus(self, prob: Tensor, log_prob: Tensor) -> Tensor:
        # A rounding error above 1 would have no real power.
        return -ops.power(ops.maximum(1.0 - prob, 0.0), self.gamma) * log_prob
