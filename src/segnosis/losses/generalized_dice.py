"""Generalised Dice loss."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from segnosis.losses.base import SegmentationLoss, check_range
from segnosis.losses.pixels import Pixels, Tensor
from segnosis.losses.region import TINY, overlap_of, quotient


@keras.saving.register_keras_serializable(package="segnosis.losses")
class GeneralizedDice(SegmentationLoss):
    """`1 − (2·Σ_k v_k Σ p·t + smooth) / (Σ_k v_k (Σ p + Σ t) + smooth)`, `v_k` being 1 / (size of class k)².

    One ratio over all classes, so that small classes count as much as large ones. A class the batch (or image) does not
    hold would weigh infinitely; it weighs as much as the smallest class that is there, as in MONAI, so its false
    positives cost.

    Args:
        ignore_class: Value of `y_true` that is no class.
        class_weights: One factor per class on `v_k`.
        per_image: Compute the loss for each image and average, rather than once for the whole batch.
        smooth: Added to numerator and denominator, whose sizes are of the order of 1 / pixels.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true = np.array([[[0, 1], [1, 1]]])
        >>> loss = sg.losses.GeneralizedDice(from_logits=False)
        >>> round(float(loss(y_true, np.eye(2, dtype="float32")[y_true])), 3)
        0.0

    Reference:
        Sudre et al., Generalised Dice overlap as a deep learning loss function, DLMIA 2017.
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        per_image: bool = False,
        smooth: float = 0.0,
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(ignore_class=ignore_class, class_weights=class_weights, from_logits=from_logits, name=name)
        check_range("smooth", smooth, 0.0)
        self.per_image = per_image
        self.smooth = smooth

    def value(self, pixels: Pixels) -> Tensor:
        """One ratio for each image, or for the batch."""
        overlap = overlap_of(pixels, per_image=self.per_image)
        # Sizes as shares of the group: the squares of pixel counts would leave float32's comfortable range.
        share = ops.maximum(overlap.total, 1.0)
        true, pred, both = overlap.true / share, overlap.pred / share, overlap.both / share
        present = true > 0.0
        rarity = ops.where(present, 1.0 / ops.square(ops.where(present, true, 1.0)), 0.0)
        weight = ops.where(present, rarity, ops.amax(rarity, axis=-1, keepdims=True))
        # Only their ratios matter; scaled to at most 1 they are on `smooth`'s scale.
        weight = weight / ops.maximum(ops.amax(weight, axis=-1, keepdims=True), TINY)
        weight = weight * self.weight_per_class(pixels.num_classes)
        top, bottom = ops.sum(weight * both, axis=-1), ops.sum(weight * (pred + true), axis=-1)
        cost = ops.where(bottom > 0.0, 1.0 - quotient(2.0 * top, bottom, self.smooth), 0.0)
        return pixels.mean_over_images(cost) if self.per_image else ops.sum(cost)
