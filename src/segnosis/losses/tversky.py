"""Tversky loss: Dice with a price for each kind of error."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from segnosis.losses.base import check_range
from segnosis.losses.pixels import Tensor
from segnosis.losses.region import Overlap, RegionLoss, quotient


@keras.saving.register_keras_serializable(package="segnosis.losses")
class Tversky(RegionLoss):
    """`1 − TP / (TP + alpha·FP + beta·FN)` per class, averaged over classes, with `smooth` added above and below.

    `alpha = beta = 0.5` is Dice, `alpha = beta = 1` Jaccard, as in MONAI and segmentation_models.pytorch.

    Args:
        ignore_class: Value of `y_true` that is no class.
        class_weights: One weight per class; the mean over classes is divided by their sum.
        per_image: Compute the loss for each image and average, rather than once for the whole batch.
        alpha: Price of false positives.
        beta: Price of false negatives; above `alpha` it favours recall, for small structures.
        smooth: Added to numerator and denominator.
        absent: `"penalize"` (false positives on an absent class cost their mean probability), `"skip"` or `"smooth"`.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true = np.array([[[0, 1], [1, 1]]])
        >>> loss = sg.losses.Tversky(from_logits=False)
        >>> round(float(loss(y_true, np.eye(2, dtype="float32")[y_true])), 3)
        0.0

    Reference:
        Salehi, Erdogmus and Gholipour, Tversky loss function for image segmentation, MLMI 2017.
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        per_image: bool = False,
        alpha: float = 0.3,
        beta: float = 0.7,
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
        self.alpha = alpha
        self.beta = beta

    def cost(self, overlap: Overlap) -> Tensor:
        """Cost of each class."""
        wrong = self.alpha * (overlap.pred - overlap.both) + self.beta * (overlap.true - overlap.both)
        return 1.0 - quotient(overlap.both, overlap.both + wrong, self.smooth)
