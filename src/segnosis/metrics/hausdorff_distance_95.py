"""95th percentile of the Hausdorff distance."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from segnosis.metrics.surface import SurfaceMetric, surface_distances


@keras.saving.register_keras_serializable(package="segnosis.metrics")
class HausdorffDistance95(SurfaceMetric):
    """Mean over images and classes of the larger 95th percentile of the distances between surfaces, in millimetres.

    The percentile is taken in each direction and the larger one counts, as in MONAI's `HausdorffDistanceMetric`; medpy
    takes it over both directions together. Where a class is in the truth or the prediction but not in both, the
    distance is the diagonal of the image, the largest there can be (MONAI: infinite, and left out of its mean).

    Args:
        num_classes: Number of classes, background included; 2 for a head of one channel.
        ignore_class: Value of `y_true` that is no class; such pixels belong to no region, in the prediction neither.
        include_background: Whether class 0 takes part.
        spacing: Size of a pixel in millimetres along each axis; 1 each by default.
        from_logits: Whether a prediction of one channel is a logit rather than a probability.
        name: Name of the metric.

    Example:
        >>> import numpy as np, segnosis as sg
        >>> metric = sg.metrics.HausdorffDistance95(num_classes=2, spacing=(1.0, 0.5))
        >>> metric.update_state(np.array([[[0, 1, 0, 0]]]), np.array([[[0, 0, 0, 1]]]))
        >>> float(metric.result())
        1.0

    Reference:
        Maier-Hein et al., Metrics reloaded, Nature Methods 2024.
    """

    def score(self, true: np.ndarray, pred: np.ndarray, spacing: Sequence[float] | None) -> float:
        """Distance of one class in one image."""
        if not (true.any() and pred.any()):
            return float(np.linalg.norm(np.multiply(true.shape, 1.0 if spacing is None else spacing)))
        return max(float(np.percentile(way, 95)) for way in surface_distances(true, pred, spacing))
