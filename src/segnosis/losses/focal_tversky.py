"""Focal Tversky loss: harder classes weigh more, or less."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from segnosis.losses.base import check_range
from segnosis.losses.pixels import Tensor
from segnosis.losses.region import Overlap, RegionLoss, quotient

_FLOOR = 1e-7


@keras.saving.register_keras_serializable(package="segnosis.losses")
class FocalTversky(RegionLoss):
    """`(1 − Tversky index)^gamma` per class, averaged over classes.

    The paper writes the exponent as 1/γ with γ = 4/3, which is `gamma=0.75` here. Absent classes cost as in `Tversky`.

    Args:
        ignore_class: Value of `y_true` that is no class.
        class_weights: One weight per class; the mean over classes is divided by their sum.
        per_image: Compute the loss for each image and average, rather than once for the whole batch.
        alpha: Price of false positives.
        beta: Price of false negatives.
        gamma: Exponent; below 1 it keeps the gradient large for classes that are nearly right.
        smooth: Added to numerator and denominator.
        absent: `"penalize"` (false positives on an absent class cost their mean probability), `"skip"` or `"smooth"`.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true = np.array([[[0, 1], [1, 1]]])
        >>> loss = sg.losses.FocalTversky(from_logits=False)
        >>> round(float(loss(y_true, np.eye(2, dtype="float32")[y_true])), 3)
        0.0

    Reference:
        Abraham and Khan, A novel focal Tversky loss function, ISBI 2019.
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        per_image: bool = False,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 1e-5,
        absent: str = "penalize",
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(
            ignore_class=ignore_class,
            class_weights=class_weights,
            per_image=per_image,
            smooth=smooth,
            absent=absent,
            from_logits=from_logits,
            name=name,
        )
        check_range("alpha", alpha, 0.0)
        check_range("beta", beta, 0.0)
        check_range("gamma", gamma, 0.0)
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma

    def cost(self, overlap: Overlap) -> Tensor:
        """Cost of each class."""
        wrong = self.alpha * (overlap.pred - overlap.both) + self.beta * (overlap.true - overlap.both)
        index = quotient(overlap.both, overlap.both + wrong, self.smooth)
        # Below the floor the value is 0 and the gradient too: at 0 itself a root has an infinite one.
        missing = 1.0 - index
        cost = ops.power(ops.maximum(missing, _FLOOR), self.gamma)
        return ops.where(missing > _FLOOR, cost, 0.0)
