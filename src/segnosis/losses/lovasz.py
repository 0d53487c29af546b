"""Lovász soft-max loss."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from segnosis.losses.base import SegmentationLoss, check_choice
from segnosis.losses.pixels import Pixels, Tensor
from segnosis.losses.region import TINY


@keras.saving.register_keras_serializable(package="segnosis.losses")
class Lovasz(SegmentationLoss):
    """Convex surrogate of `1 − IoU` per class (its Lovász extension at the errors `|t − p|`), averaged over classes.

    For a class that is absent the surrogate is its largest false-positive probability, which is what it costs with
    `absent="penalize"`. The authors' default, `classes="present"`, and segmentation_models.pytorch leave it out:
    `absent="skip"`. Sorting every class needs several times the memory of the logits.

    Args:
        ignore_class: Value of `y_true` that is no class.
        class_weights: One weight per class; the mean over classes is divided by their sum.
        per_image: Compute the loss for each image and average, rather than once for the whole batch.
        absent: `"penalize"` or `"skip"`, for classes the batch (or image) does not hold.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Note:
        `sample_weight` of 0 leaves a pixel out. Any other weight per pixel scales its error.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true = np.array([[[0, 1], [1, 1]]])
        >>> loss = sg.losses.Lovasz(from_logits=False)
        >>> round(float(loss(y_true, np.eye(2, dtype="float32")[y_true])), 3)
        0.0

    Reference:
        Berman, Rannen Triki and Blaschko, The Lovász-softmax loss, CVPR 2018.
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        per_image: bool = False,
        absent: str = "penalize",
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(ignore_class=ignore_class, class_weights=class_weights, from_logits=from_logits, name=name)
        check_choice("absent", absent, ("penalize", "skip"))
        self.per_image = per_image
        self.absent = absent

    def value(self, pixels: Pixels) -> Tensor:
        """Mean over classes, then over images."""
        classes, groups = pixels.num_classes, ops.shape(pixels.prob)[0] if self.per_image else 1
        truth = ops.reshape(pixels.one_hot, (groups, -1, classes))
        kept = ops.reshape(pixels.kept, (groups, -1, 1))
        weight = pixels.pixel_weight if self.per_image and pixels.image_weight is not None else pixels.weight
        error = ops.abs(truth - ops.reshape(pixels.prob, (groups, -1, classes)))
        if weight is not None:
            error = error * ops.reshape(weight, (groups, -1, 1))
        # Pixels left out go last, where the extension gives them nothing to multiply.
        order = ops.argsort(ops.where(kept > 0.0, -error, 1.0), axis=1)
        error = ops.take_along_axis(error * kept, order, axis=1)
        truth_sorted = ops.take_along_axis(truth, order, axis=1)
        size = ops.sum(truth, axis=1, keepdims=True)
        found = ops.cumsum(truth_sorted, axis=1)
        false = ops.cumsum((1.0 - truth_sorted) * ops.take_along_axis(kept + 0.0 * truth, order, axis=1), axis=1)
        jaccard = 1.0 - (size - found) / ops.maximum(size + false, 1.0)
        steps = ops.concatenate([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], axis=1)
        cost = ops.sum(error * ops.stop_gradient(steps), axis=1)
        counted = ops.broadcast_to(self.weight_per_class(classes), ops.shape(cost))
        if self.absent == "skip":
            counted = ops.where(size[:, 0] > 0.0, counted, 0.0)
        of_group = ops.sum(counted * cost, axis=-1) / ops.maximum(ops.sum(counted, axis=-1), TINY)
        return pixels.mean_over_images(of_group) if self.per_image else ops.sum(of_group)
