"""Normalised surface distance: the share of the surfaces that is near enough."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from segnosis.core.errors import ArgumentError, is_number
from segnosis.metrics.surface import SurfaceMetric, surface_distances


@keras.saving.register_keras_serializable(package="segnosis.metrics")
class NormalizedSurfaceDistance(SurfaceMetric):
    """Mean over images and classes of the share of both surfaces that lies within `tolerance` of the other one.

    Surfaces are counted in pixels, as in MONAI's `SurfaceDiceMetric`; the authors' code measures their area. A class
    that is in the truth or the prediction but not in both scores 0.

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        tolerance: Distance in millimetres that is still right, the disagreement among experts say.
        ignore_class: Value of `y_true` that is no class; such pixels belong to no region, in the prediction neither.
        include_background: Whether class 0 takes part.
        spacing: Size of a pixel in millimetres along each axis; 1 each by default.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> metric = sg.metrics.NormalizedSurfaceDistance(num_classes=2, tolerance=1.0)
        >>> metric.update_state(np.array([[[0, 1, 0, 0]]]), np.array([[[0, 0, 1, 1]]]))
        >>> round(float(metric.result()), 3)  # 2 of 3 surface pixels
        0.667

    Reference:
        Nikolov et al., Clinically applicable segmentation of head and neck anatomy for radiotherapy, JMIR 2021.
    """

    def __init__(
        self,
        num_classes: int,
        tolerance: float = 1.0,
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
            spacing=spacing,
            from_logits=from_logits,
            name=name,
        )
        if not (is_number(tolerance) and tolerance >= 0):
            raise ArgumentError(
                "`tolerance` is a distance in millimetres, at least 0.",
                received={"tolerance": tolerance},
                cure="Pass tolerance=1.0.",
            )
        self.tolerance = tolerance

    def score(self, true: np.ndarray, pred: np.ndarray, spacing: Sequence[float] | None) -> float:
        """Share of one class in one image."""
        if not (true.any() and pred.any()):
            return 0.0
        distances = np.concatenate(surface_distances(true, pred, spacing))
        return float(np.mean(distances <= self.tolerance))
