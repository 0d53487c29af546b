"""Distances between the surfaces of two regions, in millimetres, on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import ops
from scipy import ndimage

from segnosis.core.errors import ArgumentError, is_number
from segnosis.metrics.base import SegmentationMetric, Tensor


def surface_distances(
    true: np.ndarray, pred: np.ndarray, spacing: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distances from each surface pixel of `pred` to the surface of `true`, and the other way round.

    A surface pixel is one of the region with a neighbour (up, down, left, right) outside it; the outside of the image
    counts as outside. Neither region may be empty.

    Args:
        true: Region, `(*space)` boolean.
        pred: Region, same shape.
        spacing: Size of a pixel in millimetres along each axis; 1 each by default.

    Example:
        >>> import numpy as np
        >>> row = lambda *ids: np.array([ids], bool)
        >>> surface_distances(row(1, 0, 0, 0), row(0, 0, 1, 0), spacing=(1.0, 0.5))
        (array([1.]), array([1.]))
    """
    both = true | pred
    box = ndimage.find_objects(both.astype(np.uint8))[0]  # everything outside lies farther than what is inside
    true_edge, pred_edge = _edge(true[box]), _edge(pred[box])
    to_true = ndimage.distance_transform_edt(~true_edge, sampling=spacing)
    to_pred = ndimage.distance_transform_edt(~pred_edge, sampling=spacing)
    return to_true[pred_edge], to_pred[true_edge]


def _edge(region: np.ndarray) -> np.ndarray:
    return region & ~ndimage.binary_erosion(region)


class SurfaceMetric(SegmentationMetric):
    """Mean over images and classes of a score of two surfaces; a class in neither truth nor prediction is left out.

    Surfaces are found with scipy on the host, so the metric is for evaluation: under `fit` compile the model with
    `run_eagerly=True`.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        ignore_class: Value of `y_true` that is no class; such pixels belong to no region, in the prediction neither.
        include_background: Whether class 0 takes part; its surface is that of everything else, so by default not.
        spacing: Size of a pixel in millimetres along each axis; 1 each by default.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_class: int | None = None,
        include_background: bool = False,
        spacing: Sequence[float] | None = None,
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
        _check_spacing(spacing)
        self.spacing = spacing
        self._total = self.add_variable((num_classes,), "zeros", dtype="float32", name="total")
        self._number = self.add_variable((num_classes,), "zeros", dtype="float32", name="number")

    def update_state(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
        spacing: Sequence[float] | None = None,
    ) -> None:
        """Score each image of a batch; `spacing` is that of these images where they differ from the rest."""
        _check_spacing(spacing)
        spacing = self.spacing if spacing is None else spacing
        true, pred, counts = self.read(y_true, y_pred, sample_weight)
        true, pred = _on_host(true, self.name), _on_host(pred, self.name)
        outside = np.zeros(true.shape, dtype=bool) if counts is None else ~_on_host(counts, self.name)
        if self.ignore_class is not None:
            outside |= true == self.ignore_class
        for ids in (true, pred):
            strange = np.setdiff1d(ids[~outside], np.arange(self.num_classes))
            if len(strange):
                raise ArgumentError(
                    f"Class ids lie in 0…{self.num_classes - 1}, apart from `ignore_class`.",
                    received={"class ids": strange.tolist(), "ignore_class": self.ignore_class},
                    cure="Set `ignore_class` to the value of unlabelled pixels, or correct the masks.",
                )
        if spacing is not None and len(spacing) != true.ndim - 1:
            raise ArgumentError(
                f"`spacing` holds one size per axis, and the images have {true.ndim - 1}.",
                received={"spacing": tuple(spacing)},
                cure="Pass (row, column), or (slice, row, column) for volumes.",
            )
        total, number = np.zeros(self.num_classes), np.zeros(self.num_classes)
        for image in range(len(true)):
            for k in range(0 if self.include_background else 1, self.num_classes):
                in_true = (true[image] == k) & ~outside[image]
                in_pred = (pred[image] == k) & ~outside[image]
                if in_true.any() or in_pred.any():
                    total[k] += self.score(in_true, in_pred, spacing)
                    number[k] += 1
        self._total.assign(self._total + ops.convert_to_tensor(total.astype("float32")))
        self._number.assign(self._number + ops.convert_to_tensor(number.astype("float32")))

    def score(self, true: np.ndarray, pred: np.ndarray, spacing: Sequence[float] | None) -> float:
        """Score of one class in one image, where it is in the truth, the prediction or both."""
        raise NotImplementedError

    def result(self) -> Tensor:
        """Mean over images and classes, a float32 scalar; 0 before any class was seen."""
        return ops.sum(self._total) / ops.maximum(ops.sum(self._number), 1.0)

    def per_class(self) -> tuple[float | None, ...]:
        """Mean over images for each class; `None` for a class not seen, or left out."""
        total, number = ops.convert_to_numpy(self._total), ops.convert_to_numpy(self._number)
        return tuple(float(t / n) if n else None for t, n in zip(total, number, strict=True))


def _check_spacing(spacing: Sequence[float] | None) -> None:
    if spacing is not None and not (np.ndim(spacing) == 1 and all(is_number(size) and size > 0 for size in spacing)):
        raise ArgumentError(
            "`spacing` is the size of a pixel in millimetres along each axis, above 0.",
            received={"spacing": spacing},
            cure="Leave it out to measure in pixels.",
        )


def _on_host(tensor: Tensor, name: str) -> np.ndarray:
    try:
        return np.asarray(ops.convert_to_numpy(tensor))
    except Exception as error:  # each backend has its own error for a tensor that has no value yet
        raise ArgumentError(
            f"`{name}` measures surfaces on the host and cannot be part of a compiled step.",
            received={"y_true": type(tensor).__name__},
            cure="Update it with the predictions of `model.predict`, or compile with run_eagerly=True.",
        ) from error
