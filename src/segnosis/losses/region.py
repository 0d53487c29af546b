"""What losses about the overlap of regions share: sums per class, absent classes, the mean over classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keras import ops

from segnosis.losses.base import SegmentationLoss, check_choice, check_range
from segnosis.losses.pixels import Pixels, Tensor

TINY = 1e-12  # guards a quotient whose numerator is 0 as well

ABSENT = ("penalize", "skip", "smooth")


@dataclass(frozen=True)
class Overlap:
    """Weighted sums over pixels, each `(groups, num_classes)`; a group is an image, or the whole batch.

    Attributes:
        both: Probability given to the class where it is true.
        pred: Probability given to the class anywhere.
        true: Pixels of the class.
        total: Pixels of the group, `(groups, 1)`.
    """

    both: Tensor
    pred: Tensor
    true: Tensor
    total: Tensor


class RegionLoss(SegmentationLoss):
    """Mean over classes of a cost per class, computed from the overlap of prediction and truth.

    The mean is weighted by `class_weights`, and divided by their sum.

    Args:
        ignore_class: Value of `y_true` that is no class.
        class_weights: One weight per class.
        per_image: Compute the cost for each image and average, rather than once for the whole batch.
        smooth: Added to numerator and denominator of the score.
        absent: What a class costs that a group (batch or image) does not hold. `"penalize"`: the mean probability it
            was given, so that false positives cost, and their gradient does not fade. `"skip"`: nothing, the class is
            left out of the mean. `"smooth"`: the plain formula, where only `smooth` keeps it finite.
        from_logits: Whether predictions are logits (default) or probabilities.
        name: Name of the loss.
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        per_image: bool = False,
        smooth: float = 1e-5,
        absent: str = "penalize",
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(ignore_class=ignore_class, class_weights=class_weights, from_logits=from_logits, name=name)
        check_range("smooth", smooth, 0.0)
        check_choice("absent", absent, ABSENT)
        self.per_image = per_image
        self.smooth = smooth
        self.absent = absent

    def cost(self, overlap: Overlap) -> Tensor:
        """Cost of each class, `(groups, num_classes)`, 0 when prediction and truth agree."""
        raise NotImplementedError

    def value(self, pixels: Pixels) -> Tensor:
        """Mean over classes, then over groups."""
        overlap = self.overlap(pixels)
        return self.mean_over_classes(self.cost(overlap), overlap, pixels)

    def overlap(self, pixels: Pixels) -> Overlap:
        """The sums that `cost` is given."""
        return overlap_of(pixels, per_image=self.per_image)

    def mean_over_classes(self, cost: Tensor, overlap: Overlap, pixels: Pixels) -> Tensor:
        """Scalar from the cost of each class, with absent classes and weights heeded."""
        weight = ops.broadcast_to(self.weight_per_class(pixels.num_classes), ops.shape(cost))
        present = overlap.true > 0.0
        if self.absent == "penalize":
            cost = ops.where(present, cost, overlap.pred / ops.maximum(overlap.total, TINY))
        elif self.absent == "skip":
            weight = ops.where(present, weight, 0.0)
            cost = ops.where(present, cost, 0.0)
        of_group = ops.sum(weight * cost, axis=-1) / ops.maximum(ops.sum(weight, axis=-1), TINY)
        return pixels.mean_over_images(of_group) if self.per_image else ops.sum(of_group)


def overlap_of(pixels: Pixels, *, per_image: bool, squared: bool = False) -> Overlap:
    """Sums of each image or of the batch; `squared` sums squares of probability and target in `pred` and `true`."""
    pred = pixels.class_sums(pixels.prob * pixels.prob) if squared else pixels.prob_sums
    if pixels.ids is not None:
        both, true = pixels.truth_sums(pixels.prob_of_truth), pixels.truth_sums()
        total = ops.sum(true, axis=-1, keepdims=True)
    else:
        target = pixels.target
        both = pixels.class_sums(pixels.prob * target)
        true = pixels.class_sums(target * target if squared else target)
        total = ops.sum(pixels.class_sums(target), axis=-1, keepdims=True)
    if per_image:
        return Overlap(both, pred, true, total)
    # Images are summed one by one before: float32 counts stay exact up to 16 million pixels each.
    return Overlap(*(pixels.sum_over_images(part) for part in (both, pred, true, total)))


def quotient(numerator: Tensor, denominator: Tensor, smooth: float) -> Tensor:
    """`(numerator + smooth) / (denominator + smooth)`, 0/0 being 0 without an infinite gradient."""
    return (numerator + smooth) / ops.maximum(denominator + smooth, TINY)
