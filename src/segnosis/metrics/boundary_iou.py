"""Boundary IoU: intersection over union of the bands along the contours."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from segnosis.core.errors import ArgumentError, is_number, is_whole
from segnosis.metrics.base import Tensor
from segnosis.metrics.confusion import ConfusionMetric, count_pairs


@keras.saving.register_keras_serializable(package="segnosis.metrics")
class BoundaryIoU(ConfusionMetric):
    """Mean over classes of the IoU of the pixels that lie within `width` pixels of the contour of their own region.

    Unlike `MeanIoU` it does not let the inside of large objects hide ragged contours. A pixel is in the band of its
    region when the square of `2·width + 1` pixels around it leaves the region or the image, so the band is that of
    `cv2.erode` with a 3×3 kernel repeated `width` times. Counted over all images, as the paper does for semantic
    segmentation. Ignored pixels, and those of weight 0, are not counted and make no contour.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        ignore_class: Value of `y_true` that is no class.
        include_background: Whether class 0 takes part in the mean.
        width: Width of the band in pixels, or as a share of the image diagonal when below 1.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> mask = np.zeros((1, 9, 9), "int32"); mask[:, 2:7, 2:7] = 1
        >>> metric = sg.metrics.BoundaryIoU(num_classes=2, width=1)
        >>> metric.update_state(mask, np.roll(mask, 1, axis=1))
        >>> round(metric.per_class()[1], 3)  # 16 pixels in each band, 8 of them in both
        0.333

    Reference:
        Cheng et al., Boundary IoU: improving object-centric image segmentation evaluation, CVPR 2021.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_class: int | None = None,
        include_background: bool = True,
        width: float = 0.02,
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(
            num_classes,
            ignore_class=ignore_class,
            include_background=include_background,
            from_logits=from_logits,
            name=name,
        )
        if not (is_number(width) and width > 0 and (width < 1 or is_whole(width))):
            raise ArgumentError(
                "`width` is a whole number of pixels, or a share of the image diagonal between 0 and 1.",
                received={"width": width},
                cure="Pass width=0.02 for the paper's band.",
            )
        self.width = width

    @property
    def side(self) -> int:
        """Rows of the matrix: the classes, and pixels in no band."""
        return self.num_classes + 1

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Count the pixels of a batch by the bands they lie in."""
        true, pred, counts = self.read(y_true, y_pred, sample_weight)
        kept = ops.ones_like(true, dtype="bool") if counts is None else counts
        if self.ignore_class is not None:
            kept = ops.logical_and(kept, ops.not_equal(true, self.ignore_class))
        steps = self._steps(true)
        true, pred = self._banded(true, kept, steps), self._banded(pred, kept, steps)
        self.add(*count_pairs(true, pred, kept, num_classes=self.side, ignore_class=None))

    def score(self, hit: Tensor, true: Tensor, pred: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels in both bands over pixels in either."""
        return hit, true + pred - hit

    def scores_of(self, matrix: np.ndarray) -> tuple[float | None, ...]:
        """Score of each class from a matrix whose last row and column stand for no band."""
        return super().scores_of(matrix)[: self.num_classes]

    def _in_mean(self) -> Tensor:
        return ops.concatenate([super()._in_mean(), ops.zeros((1,))])

    def _steps(self, ids: Tensor) -> int:
        if self.width >= 1:
            return int(self.width)
        space = tuple(ids.shape[1:])
        if None in space:
            raise ArgumentError(
                "A band that is a share of the image diagonal needs images of a known size.",
                received={"width": self.width, "space": space},
                cure="Give the width in pixels, width=5 say, or give the model a fixed input size.",
            )
        return max(1, round(self.width * float(np.sqrt(sum(size * size for size in space)))))

    def _banded(self, ids: Tensor, kept: Tensor, steps: int) -> Tensor:
        """`ids` where a pixel lies in the band of its region, else `num_classes`; −1 for illegal ids.

        One pass serves all classes: a window lies inside a region when its largest and its smallest id are the same.
        """
        legal = ops.logical_and(ids >= 0, ids < self.num_classes)
        values = ops.cast(ids, "float32")
        high = _largest(ops.where(kept, values, -_BEYOND), steps, outside=_BEYOND)
        low = -_largest(ops.where(kept, -values, -_BEYOND), steps, outside=_BEYOND)
        return ops.where(legal, ops.where(high > low, ids, self.num_classes), -1)


_BEYOND = 1e9  # larger than any class id


def _largest(values: Tensor, steps: int, *, outside: float) -> Tensor:
    """Largest value within `steps` pixels along every axis; the outside of the image holds `outside`."""
    margin = [(0, 0)] + [(steps, steps)] * (len(values.shape) - 1)
    values = ops.pad(values, margin, constant_values=outside)[..., None]
    for axis in range(len(margin) - 1):
        window = tuple(2 * steps + 1 if a == axis else 1 for a in range(len(margin) - 1))
        values = ops.max_pool(values, window, strides=1, padding="valid", data_format="channels_last")
    return values[..., 0]
