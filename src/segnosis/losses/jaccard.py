"""Soft Jaccard (intersection over union) loss."""

from __future__ import annotations

import keras

from segnosis.losses.pixels import Tensor
from segnosis.losses.region import Overlap, RegionLoss, quotient


@keras.saving.register_keras_serializable(package="segnosis.losses")
class Jaccard(RegionLoss):
    """`1 − (Σ p·t + smooth) / (Σ p + Σ t − Σ p·t + smooth)` per class, averaged over classes.

    With `absent="smooth"` and `per_image=False` this is segmentation_models.pytorch's, whose loss of an absent class is
    set to 0.

    Args:
        ignore_class: Value of `y_true` that is no class.
        class_weights: One weight per class; the mean over classes is divided by their sum.
        per_image: Compute the loss for each image and average, rather than once for the whole batch.
        smooth: Added to numerator and denominator.
        absent: `"penalize"` (false positives on an absent class cost their mean probability), `"skip"` or `"smooth"`.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true = np.array([[[0, 1], [1, 1]]])
        >>> loss = sg.losses.Jaccard(from_logits=False)
        >>> round(float(loss(y_true, np.eye(2, dtype="float32")[y_true])), 3)
        0.0

    Reference:
        Rahman and Wang, Optimizing intersection-over-union in deep neural networks, ISVC 2016.
    """

    def cost(self, overlap: Overlap) -> Tensor:
        """Cost of each class."""
        either = overlap.pred + overlap.true - overlap.both
        return 1.0 - quotient(overlap.both, either, self.smooth)
