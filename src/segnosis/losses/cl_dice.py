"""Centreline Dice loss, for thin structures."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from segnosis.core.errors import ArgumentError, is_whole
from segnosis.losses.pixels import Pixels, Tensor
from segnosis.losses.region import TINY, RegionLoss, quotient


@keras.saving.register_keras_serializable(package="segnosis.losses")
class ClDice(RegionLoss):
    """`1 − 2·precision·sensitivity / (precision + sensitivity)` of soft centrelines per class, averaged over classes.

    Precision is the share of the predicted centreline that lies in the true region, sensitivity the share of the true
    centreline that lies in the predicted region: a break in a vessel costs, its width hardly does. Combine it with a
    loss of regions, and weigh the background, whose centreline means little, with 0:
    `Sum([Dice(), ClDice(class_weights=[0, 1])])`.

    Args:
        ignore_class: Value of `y_true` that is no class; those pixels are background to every class.
        class_weights: One weight per class; the mean over classes is divided by their sum.
        per_image: Compute the loss for each image and average, rather than once for the whole batch.
        iterations: Erosions of the soft skeleton: half the width in pixels of the thickest structure.
        smooth: Added to numerators and denominators.
        absent: `"penalize"` (false positives on an absent class cost their mean probability), `"skip"` or `"smooth"`.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> y_true = np.array([[[0, 0, 0], [1, 1, 1], [0, 0, 0]]])
        >>> loss = sg.losses.ClDice(from_logits=False, class_weights=[0, 1])
        >>> round(float(loss(y_true, np.eye(2, dtype="float32")[y_true])), 3)
        0.0

    Reference:
        Shit et al., clDice: a novel topology-preserving loss function for tubular structure segmentation, CVPR 2021.
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        per_image: bool = False,
        iterations: int = 3,
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
        if not (is_whole(iterations) and iterations >= 1):
            raise ArgumentError(
                "`iterations` is a whole number of erosions, at least 1.",
                received={"iterations": iterations},
                cure="Pass iterations=3.",
            )
        self.iterations = iterations

    def value(self, pixels: Pixels) -> Tensor:
        """Mean over classes, then over groups."""
        truth = pixels.one_hot
        prob = pixels.prob if pixels.pixel_weight is None else pixels.prob * pixels.kept[..., None]
        line, true_line = self._skeleton(prob), ops.stop_gradient(self._skeleton(truth))
        precision = self._share(line, truth, pixels)
        sensitivity = self._share(true_line, prob, pixels)
        cost = 1.0 - 2.0 * precision * sensitivity / ops.maximum(precision + sensitivity, TINY)
        return self.mean_over_classes(cost, self.overlap(pixels), pixels)

    def _share(self, line: Tensor, region: Tensor, pixels: Pixels) -> Tensor:
        """Share of a centreline that lies in a region, `(groups, num_classes)`."""
        inside, length = pixels.class_sums(line * region), pixels.class_sums(line)
        if not self.per_image:
            inside, length = pixels.sum_over_images(inside), pixels.sum_over_images(length)
        return quotient(inside, length, self.smooth)

    def _skeleton(self, prob: Tensor) -> Tensor:
        """Soft skeleton: what openings remove, gathered over erosions; `(batch, *space, num_classes)`."""
        skeleton = ops.relu(prob - _dilated(_eroded(prob)))
        for _ in range(self.iterations):
            prob = _eroded(prob)
            removed = ops.relu(prob - _dilated(_eroded(prob)))
            skeleton = skeleton + ops.relu(removed - skeleton * removed)
        return skeleton


def _eroded(prob: Tensor) -> Tensor:
    """Smallest value in the cross-shaped neighbourhood of each pixel."""
    space = len(prob.shape) - 2
    smallest = None
    for axis in range(space):
        window = tuple(3 if a == axis else 1 for a in range(space))
        along = -ops.max_pool(-prob, window, strides=1, padding="same", data_format="channels_last")
        smallest = along if smallest is None else ops.minimum(smallest, along)
    return smallest


def _dilated(prob: Tensor) -> Tensor:
    """Largest value in the square neighbourhood of each pixel."""
    window = (3,) * (len(prob.shape) - 2)
    return ops.max_pool(prob, window, strides=1, padding="same", data_format="channels_last")
