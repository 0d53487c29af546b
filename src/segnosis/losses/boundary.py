"""Boundary loss: errors cost their distance to the true boundary."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from segnosis.core.errors import ArgumentError, is_whole
from segnosis.losses.base import SegmentationLoss
from segnosis.losses.pixels import Pixels, Tensor

_FAR = 1e6  # squared pixels, beyond any radius


@keras.saving.register_keras_serializable(package="segnosis.losses")
class Boundary(SegmentationLoss):
    """Mean over pixels and classes of `d · |t − p|`, where d is the distance to the true boundary, at most 1.

    d is the Euclidean distance, in pixels, from a pixel to the nearest one on the other side of the class' boundary,
    less the half pixel that the boundary is away, over `radius`. The published loss is `Σ φ·p` with the signed distance
    φ, computed beforehand on the host; `Σ φ·(p − t) = Σ |φ|·|t − p|` differs from it by a constant, so that a perfect
    prediction costs 0. Distances end at `radius`, which also gives a class that is absent the largest one everywhere,
    where the published loss has none at all. They are computed on the device, `2 · radius + 1` passes along each axis.

    Start with a region loss and let this one refine: `Sum([Dice(), Boundary()], weights=[1.0, 0.1])`.

    Args:
        ignore_class: Value of `y_true` that is no class; those pixels are on neither side of a boundary.
        class_weights: One weight per class; the mean over classes is divided by their sum.
        radius: Distance in pixels from which on all errors cost the same.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true = np.array([[[0, 0, 0, 1]]])
        >>> loss = sg.losses.Boundary(radius=2, from_logits=False)
        >>> near, far = np.array([[[0, 0, 1, 1]]]), np.array([[[1, 0, 0, 1]]])
        >>> [float(loss(y_true, np.eye(2, dtype="float32")[mask])) for mask in (y_true, near, far)]
        [0.0, 0.0625, 0.25]

    Reference:
        Kervadec et al., Boundary loss for highly unbalanced segmentation, MIDL 2019.
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        radius: int = 8,
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(ignore_class=ignore_class, class_weights=class_weights, from_logits=from_logits, name=name)
        if not (is_whole(radius) and radius >= 1):
            raise ArgumentError(
                "`radius` is a whole number of pixels, at least 1.", received={"radius": radius}, cure="Pass radius=8."
            )
        self.radius = radius

    def value(self, pixels: Pixels) -> Tensor:
        """Weighted mean over pixels and classes."""
        truth = pixels.one_hot
        side = ops.stop_gradient(ops.cast(truth > 0.5, "float32"))
        present = pixels.kept[..., None]
        outside = self._distance(side, present) * (1.0 - side)
        inside = self._distance(1.0 - side, present) * side
        per_class = self.weight_per_class(pixels.num_classes)
        error = (outside + inside) * ops.abs(truth - pixels.prob)
        return pixels.mean(ops.sum(error * per_class, axis=-1) / ops.sum(per_class))

    def _distance(self, side: Tensor, present: Tensor) -> Tensor:
        """Distance of each pixel to the nearest kept one where `side` is 1, 0 to 1 in units of `radius`.

        Squared Euclidean distance separates: the smallest over the columns of (the smallest over the rows).
        """
        squared = ops.where(side * present > 0.0, 0.0, _FAR)
        for axis in range(1, len(squared.shape) - 1):
            squared = self._nearest_along(squared, axis)
        distance = ops.sqrt(squared) - 0.5
        return ops.clip(distance / self.radius, 0.0, 1.0)

    def _nearest_along(self, squared: Tensor, axis: int) -> Tensor:
        size = ops.shape(squared)[axis]
        margin = [(0, 0)] * len(squared.shape)
        margin[axis] = (self.radius, self.radius)
        padded = ops.pad(squared, margin, constant_values=_FAR)
        nearest = squared
        for step in range(-self.radius, self.radius + 1):
            start = self.radius + step
            window = (slice(None),) * axis + (slice(start, start + size),)
            nearest = ops.minimum(nearest, padded[window] + float(step * step))
        return nearest
