"""Calibration: when the model says 90 %, is it right nine times out of ten?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segnosis.training.measures.base import Scored

BINS = 15


class Calibration:
    """Expected calibration error by pixel, over all pixels and over those predicted as any class but the background.

    `Σ_b n_b / n · |accuracy_b − confidence_b|` over bins of equal width of the largest probability, as
    `segnosis.metrics.ExpectedCalibrationError` has it. The background is easy and much of an image, so that it hides
    what the foreground is worth; hence the second figure. It is told by the prediction alone: choosing pixels by their
    truth would make a perfectly calibrated model look too sure.

    Reference:
        Guo et al., On calibration of modern neural networks, ICML 2017.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._sums = np.zeros((2, BINS, 3))  # everything and foreground; pixels, right ones, confidence

    def add(self, sample: Scored) -> None:
        """Count the pixels of one image by confidence."""
        known = sample.truth >= 0
        confidence = sample.probabilities.max(axis=-1)[known].astype(np.float64)
        truth, guess = sample.truth[known], sample.guess[known]
        right = truth == guess
        at = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        for row, kept in enumerate((np.ones(len(truth), bool), guess > 0)):
            for column, weight in enumerate((None, right[kept], confidence[kept])):
                self._sums[row, :, column] += np.bincount(at[kept], weight, minlength=BINS)

    def result(self) -> dict[str, Any] | None:
        """`error`, `foreground_error`, `confidence` and `accuracy` (means of the foreground) and the `bins` of the
        reliability diagram: `low`, `high`, and of all pixels and the foreground `pixels`, `confidence`, `accuracy`."""
        if not self._sums[0, :, 0].any():
            return None
        everything, foreground = self._sums
        total = foreground[:, 0].sum()
        return {
            "error": _error(everything),
            "foreground_error": _error(foreground),
            "confidence": float(foreground[:, 2].sum() / total) if total else None,
            "accuracy": float(foreground[:, 1].sum() / total) if total else None,
            "bins": [
                {
                    "low": b / BINS,
                    "high": (b + 1) / BINS,
                    "all": _bin(everything[b]),
                    "foreground": _bin(foreground[b]),
                }
                for b in range(BINS)
            ],
        }


def _error(sums: np.ndarray) -> float | None:
    pixels = sums[:, 0].sum()
    return float(np.abs(sums[:, 1] - sums[:, 2]).sum() / pixels) if pixels else None


def _bin(sums: np.ndarray) -> dict[str, Any]:
    pixels, right, confidence = sums
    return {
        "pixels": int(pixels),
        "confidence": float(confidence / pixels) if pixels else None,
        "accuracy": float(right / pixels) if pixels else None,
    }
