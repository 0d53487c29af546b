"""Soft Dice loss."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from segnosis.losses.pixels import Pixels, Tensor
from segnosis.losses.region import Overlap, RegionLoss, overlap_of, quotient


@keras.saving.register_keras_serializable(package="segnosis.losses")
class Dice(RegionLoss):
    """`1 − (2·Σ p·t + smooth) / (Σ p + Σ t + smooth)` per class, averaged over classes.

    With `absent="smooth"` this is MONAI's `DiceLoss(softmax=True, batch=not per_image)` with `smooth_nr = smooth_dr =
    smooth`, and with `per_image=False` segmentation_models.pytorch's (whose loss of an absent class is set to 0).

    Args:
        ignore_class: Value of `y_true` that is no class.
        class_weights: One weight per class; the mean over classes is divided by their sum.
        per_image: Compute the loss for each image and average, rather than once for the whole batch.
        squared: Sum squares in the denominator, `Σ p² + Σ t²`.
        smooth: Added to numerator and denominator.
        absent: `"penalize"` (false positives on an absent class cost their mean probability), `"skip"` or `"smooth"`.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true = np.array([[[0, 1], [1, 1]]])
        >>> loss = sg.losses.Dice(from_logits=False)
        >>> round(float(loss(y_true, np.eye(2, dtype="float32")[y_true])), 3)
        0.0

    Reference:
        Milletari, Navab and Ahmadi, V-Net, 3DV 2016 (squared denominator); Drozdzal et al., 2016 (plain).
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        per_image: bool = False,
        squared: bool = False,
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
        self.squared = squared

    def overlap(self, pixels: Pixels) -> Overlap:
        """Sums of squares when asked for."""
        return overlap_of(pixels, per_image=self.per_image, squared=self.squared)

    def cost(self, overlap: Overlap) -> Tensor:
        """Cost of each class."""
        return 1.0 - quotient(2.0 * overlap.both, overlap.pred + overlap.true, self.smooth)
