"""Intensities of images in one streaming pass: histograms for bytes, moments and a sample of pixels for floats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SAMPLE = 200_000  # pixels kept for percentiles of floats
_PER_IMAGE = 512  # pixels taken from each image


@dataclass(frozen=True)
class Channel:
    """Intensities of one image channel, over all pixels and over foreground pixels (`None` where there is none)."""

    mean: float
    std: float
    min: float
    max: float
    p005: float
    median: float
    p995: float
    foreground_mean: float | None = None
    foreground_std: float | None = None


class Intensities:
    """Accumulates images `(height, width, channels)` of one dtype; values that are not finite are left out.

    Args:
        channels: Number of channels.
        dtype: `"uint8"` or `"float32"`.
    """

    def __init__(self, channels: int, dtype: str) -> None:
        self.channels, self.bytes = channels, dtype == "uint8"
        self._histogram = np.zeros((2, channels, 256), np.int64)  # all, foreground
        self._moments = np.zeros((2, channels, 3))  # number, sum, sum of squares
        self._low, self._high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self._kept: list[np.ndarray] = []
        self._every, self._seen = 1, 0

    def add(self, image: np.ndarray, foreground: np.ndarray, seed: int) -> None:
        """Take one image and its boolean foreground `(height, width)`; `seed` picks the pixels that are kept."""
        if self.bytes:
            import cv2

            inside = foreground.astype(np.uint8)
            for k in range(self.channels):
                for row, mask in ((0, None), (1, inside)):
                    counts = cv2.calcHist([image], [k], mask, [256], [0, 256])
                    self._histogram[row, k] += counts.ravel().astype(np.int64)
            return
        for k in range(self.channels):
            plane = image[..., k].astype(np.float64)
            finite = np.isfinite(plane)
            for row, where in ((0, finite), (1, finite & foreground)):
                values = plane[where]
                self._moments[row, k] += len(values), values.sum(), np.dot(values, values)
            if finite.any():
                values = plane[finite]
                self._low[k], self._high[k] = min(self._low[k], values.min()), max(self._high[k], values.max())
        self._seen += 1
        if (self._seen - 1) % self._every == 0:
            flat = image.reshape(-1, self.channels)
            picked = flat[np.random.default_rng(seed).integers(0, len(flat), _PER_IMAGE)]
            self._kept.append(picked[np.isfinite(picked).all(axis=1)])
            if len(self._kept) * _PER_IMAGE > _SAMPLE:  # keep every second image from here on
                self._kept, self._every = self._kept[::2], 2 * self._every

    def result(self) -> tuple[Channel, ...]:
        """Facts per channel; empty when no pixel was seen."""
        sample = np.concatenate(self._kept) if self._kept else np.zeros((0, self.channels))
        out = []
        for k in range(self.channels):
            if self.bytes:
                seen = np.flatnonzero(self._histogram[0, k])
                if len(seen) == 0:
                    return ()
                low, high = seen[0], seen[-1]
                quantiles = [_quantile(self._histogram[0, k], q) for q in (0.005, 0.5, 0.995)]
                moments = [_moments(self._histogram[row, k]) for row in (0, 1)]
            else:
                if len(sample) == 0:
                    return ()
                low, high = self._low[k], self._high[k]
                quantiles = [float(v) for v in np.quantile(sample[:, k], (0.005, 0.5, 0.995))]
                moments = [tuple(self._moments[row, k]) for row in (0, 1)]
            mean, std = _mean_std(*moments[0])
            inside = _mean_std(*moments[1]) if moments[1][0] else (None, None)
            out.append(Channel(mean, std, short(float(low)), short(float(high)), *map(short, quantiles), *inside))
        return tuple(out)

    def mostly(self) -> str:
        """`"dark"`, `"bright"` or `"mixed"`: where the mean lies between the 0.5th and 99.5th percentile."""
        channels = self.result()
        if not channels:
            return "mixed"
        places = [(c.mean - c.p005) / (c.p995 - c.p005) if c.p995 > c.p005 else 0.5 for c in channels]
        place = float(np.mean(places))
        return "dark" if place < 0.35 else "bright" if place > 0.65 else "mixed"


def short(value: float) -> float:
    """Six digits: what is measured is no more certain, and JSON stays readable."""
    return float(f"{value:.6g}")


def _quantile(histogram: np.ndarray, q: float) -> float:
    total = np.cumsum(histogram)
    return float(np.searchsorted(total, q * total[-1]))


def _moments(histogram: np.ndarray) -> tuple[float, float, float]:
    values = np.arange(256, dtype=np.float64)
    return float(histogram.sum()), float((histogram * values).sum()), float((histogram * values**2).sum())


def _mean_std(number: float, total: float, squares: float) -> tuple[float, float]:
    mean = total / max(number, 1)
    return short(mean), short(float(np.sqrt(max(squares / max(number, 1) - mean * mean, 0.0))))
