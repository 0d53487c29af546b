"""Masks drawn for a probe, in the encoding of the program, and predictions of them that are known to be bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segnosis.doctor.evidence.encodings import Encoding

SURE = 0.98
"""How sure a nearly perfect prediction is of the true class; the rest is shared out over all of them."""
_ROUNDING = 5e-5
"""What sums over pixels in single precision may differ by: 1.4e-5 over four images of 16 × 16, one by one."""


@dataclass(frozen=True)
class Known:
    """Values of one loss or metric on predictions of known worth, all of one format.

    Attributes:
        perfect: The target itself, quite or (for smoothed labels) nearly sure; of logits, the best over magnitudes 1
            … 40.
        grey: The same answer everywhere.
        shuffled: The perfect prediction with its pixels in another order: of all orders tried, of all pixels and along
            one axis alone, the one that costs least.
        wrong: Every pixel surely another class.
    """

    perfect: float
    grey: float
    shuffled: float
    wrong: float

    @property
    def range(self) -> float:
        """Distance from perfect to the worst of the others, the yardstick for "nearly equal"; of finite ones.

        Example:
            >>> Known(0.0, 1.5, 8.5, float("inf")).range
            8.5
        """
        distances = (abs(other - self.perfect) for other in (self.grey, self.shuffled, self.wrong))
        return max((distance for distance in distances if np.isfinite(distance)), default=float("inf"))

    def blindness(self, min_gain: float) -> str | None:
        """Why what gives these values does not compare each pixel with its own target; `None` where it seems to.

        Example:
            >>> Known(0.2, 0.9, 0.9, 1.8).blindness(0.1), Known(0.8, 0.3, 0.9, 0.9).blindness(0.1)
            (None, 'a perfect prediction costs 0.800, more than the 0.300 of a grey one')
        """
        perfect, grey, span = self.perfect, self.grey, self.range
        if span <= _ROUNDING * max(1.0, abs(perfect)):
            return f"it is {perfect:.3f} for a perfect prediction, and the same for a grey, a shuffled and a wrong one"
        dearer = max(1e-3, min(0.02 * span, 0.05 * abs(grey)))  # a logarithm makes the range as wide as it likes
        if perfect > grey + dearer:
            return f"a perfect prediction costs {perfect:.3f}, more than the {grey:.3f} of a grey one"
        if max(self.shuffled, self.wrong) - perfect < min_gain * span:
            return f"a perfect prediction costs {perfect:.3f}, the same with its pixels shuffled {self.shuffled:.3f}"
        if self.shuffled - perfect < 0.02 * span:
            return f"a perfect prediction costs {perfect:.3f}, and with its pixels shuffled {self.shuffled:.3f}"
        if abs(self.wrong - perfect) < 0.02 * span:
            return f"a perfect prediction costs {perfect:.3f}, and one with the classes exchanged {self.wrong:.3f}"
        return None


@dataclass(frozen=True)
class Drawn:
    """Masks drawn for a probe.

    Attributes:
        y: The target in the program's encoding.
        truth: `(…, channels)` 0/1, what a perfect head would emit as probabilities.
        ids: Class id per pixel.
    """

    y: np.ndarray
    truth: np.ndarray
    ids: np.ndarray

    def emptied(self, from_image: int) -> Drawn:
        """The same with background alone from this image on."""
        y, truth, ids = self.y.copy(), self.truth.copy(), self.ids.copy()
        ids[from_image:] = 0
        truth[from_image:] = 0
        if truth.shape[-1] > 1:
            truth[from_image:, ..., 0] = 1
        y[from_image:] = (
            truth[from_image:] if y.shape == truth.shape else ids[from_image:].reshape(y[from_image:].shape)
        )
        return Drawn(y, truth, ids)

    def without_last_class(self, from_image: int) -> Drawn:
        """The same with background in place of the last class from this image on."""
        y, truth, ids = self.y.copy(), self.truth.copy(), self.ids.copy()
        gone = ids == truth.shape[-1] - 1
        gone[:from_image] = False
        ids[gone] = 0
        truth[gone] = np.eye(truth.shape[-1], dtype=truth.dtype)[0]
        return Drawn((truth if y.shape == truth.shape else ids.reshape(y.shape)).astype(y.dtype), truth, ids)


def draw(encoding: Encoding, shape: Sequence[int]) -> Drawn | None:
    """Masks of independent random pixels, every class in every image; `None` for encodings that are not understood.

    Args:
        encoding: How the program writes its targets.
        shape: Shape of the output, with its batch.
    """
    if len(shape) < 3:  # one number per image, such as an area: there are no pixels to draw
        return None
    if encoding.kind == "other" or encoding.shape[1:3] != tuple(shape[1:3]):
        return None
    channels = shape[-1]
    count = max(2, channels)
    width = encoding.shape[-1] if encoding.has_axis else 1
    if width not in (1, channels):
        return None
    batch = min(shape[0], encoding.shape[0], 2) if shape[0] > 1 else 1
    generator = np.random.default_rng(0)
    pixels = (batch, *shape[1:-1])
    ids = generator.permuted(np.arange(int(np.prod(pixels))).reshape(batch, -1) % count, axis=1).reshape(pixels)
    if encoding.kind == "multilabel":
        truth = (generator.random((*pixels, channels)) < 0.4).astype("float32")
    else:
        truth = np.eye(count, dtype="float32")[ids] if channels > 1 else ids[..., None].astype("float32")
    y = truth if width > 1 else (ids[..., None] if encoding.has_axis else ids)
    return Drawn(y.astype(encoding.dtype), truth, ids)


def wrong(truth: np.ndarray) -> np.ndarray:
    """Every pixel surely another class."""
    return np.roll(truth, 1, axis=-1) if truth.shape[-1] > 1 and np.all(truth.sum(-1) == 1) else 1 - truth


def shuffled(truth: np.ndarray) -> np.ndarray:
    """All pixels of each image in another order."""
    flat = truth.reshape(truth.shape[0], -1, truth.shape[-1])
    order = np.random.default_rng(2).permutation(flat.shape[1])
    return flat[:, order].reshape(truth.shape)


def orders(truth: np.ndarray) -> list[np.ndarray]:
    """All pixels in another order, and those along each axis, each line in its own way."""
    generator = np.random.default_rng(3)
    found = [shuffled(truth)]
    for axis in range(1, truth.ndim - 1):
        keys = generator.random(truth.shape[:-1])
        found.append(np.take_along_axis(truth, np.argsort(keys, axis)[..., None], axis))
    return [*found, truth[::-1]] if len(truth) > 1 else found
