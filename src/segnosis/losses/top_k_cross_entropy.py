"""Cross-entropy of the hardest pixels."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from segnosis.losses.base import check_range
from segnosis.losses.cross_entropy import CrossEntropy
from segnosis.losses.pixels import Pixels, Tensor


@keras.saving.register_keras_serializable(package="segnosis.losses")
class TopKCrossEntropy(CrossEntropy):
    """Mean cross-entropy of the share `k` of the kept pixels of a batch that cost most (online hard example mining).

    Args:
        ignore_class: Value of `y_true` that is no class.
        class_weights: One weight per class; weighted costs are compared.
        k: Share of pixels, above 0 and up to 1; of n kept pixels the `ceil(k·n)` dearest count.
        label_smoothing: Share of the target spread evenly over all classes, 0 to 1.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true, y_pred = np.array([[[0, 0]]]), np.array([[[[0.0, 0.0], [9.0, 0.0]]]], "float32")
        >>> round(float(sg.losses.TopKCrossEntropy(k=0.5)(y_true, y_pred)), 3)
        0.693

    Reference:
        Wu, Shen and van den Hengel, Bridging category-level and instance-level semantic image segmentation, 2016.
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        k: float = 0.1,
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
        check_range("k", k, 1e-6, 1.0)
        self.k = k

    def value(self, pixels: Pixels) -> Tensor:
        """Mean of the dearest pixels; how many depends on how many are kept, so they are ranked, not cut off."""
        cost = ops.reshape(pixels.weight * self.cost(pixels), (-1,))
        kept = ops.reshape(pixels.kept, (-1,))
        # Costs are not negative, so pixels left out go last when they are given a negative one.
        dearest = ops.flip(ops.sort(ops.where(kept > 0.0, cost, -1.0)))
        number = ops.maximum(ops.ceil(self.k * ops.sum(kept) - 1e-3), 1.0)
        rank = ops.cast(ops.arange(0, ops.shape(dearest)[0], dtype="int32"), "float32")
        return ops.sum(ops.where(rank < number, ops.maximum(dearest, 0.0), 0.0)) / number
