"""Images that cannot be learned from: unreadable, not finite, of one value, or always the same one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.digest import digest
from segnosis.doctor.evidence._places import Tally, place

PRICE = "data"
_MOST_HASHES = 256


@dataclass(frozen=True)
class ImageStatistics:
    """All images together.

    Attributes:
        pairs: Pairs looked at.
        images: Images that could be read.
        unreadable: Files that could not be read, and why.
        nonfinite: Images with NaN or infinity.
        constant: Images of a single value.
        distinct: Different images, counted up to 256.
        same_as: A name of the image that all are, when there is but one.
        nonfinite_masks: Masks with NaN or infinity.
        burnt: Images of a single value that is the highest of all images: white where nothing else is.
    """

    pairs: int
    images: int
    unreadable: Tally
    nonfinite: Tally
    constant: Tally
    distinct: int
    same_as: str
    nonfinite_masks: Tally
    burnt: int = 0


def is_constant(image: np.ndarray) -> bool:
    """Whether every channel but an alpha one holds one value; the first pixels nearly always settle it."""
    colours = image[..., :3] if image.ndim == 3 and image.shape[-1] == 4 else image
    pixels = colours.reshape(-1, colours.shape[-1] if colours.ndim == 3 else 1)
    return not (pixels[:256] != pixels[0]).any() and not (pixels != pixels[0]).any()


class Scan:
    """Looks at one image after another."""

    def __init__(self) -> None:
        self._pairs = self._images = 0
        self._unreadable, self._nonfinite, self._constant = Tally(), Tally(), Tally()
        self._nonfinite_masks = Tally()
        self._hashes: set[bytes] = set()
        self._first = ""
        self._highest, self._burnt = -np.inf, 0

    def add(self, pair: Pair) -> None:
        """Look at one pair."""
        self._pairs += 1
        if pair.error is not None or pair.image is None or pair.image.size == 0:
            part = "mask" if pair.image is not None and pair.mask is None else "image"
            self._unreadable.add(f"{place(pair, part)}: {pair.error or 'no image'}")  # type: ignore[arg-type]
        if pair.mask is not None and pair.mask.dtype.kind == "f" and not np.isfinite(pair.mask).all():
            self._nonfinite_masks.add(place(pair))
        if pair.image is None or pair.image.size == 0:
            return
        self._images += 1
        image, where = pair.image, place(pair, "image")
        self._first = self._first or where
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            self._nonfinite.add(where)
        elif is_constant(image):
            self._constant.add(where)
            self._note_highest(float(image.max()), constant=True)
        else:
            self._note_highest(float(image.max()), constant=False)
        if len(self._hashes) < _MOST_HASHES:
            self._hashes.add(digest(image))

    def _note_highest(self, value: float, *, constant: bool) -> None:
        if value > self._highest:
            self._highest, self._burnt = value, 0
        self._burnt += constant and value == self._highest

    def result(self) -> ImageStatistics:
        """The statistics of all pairs added."""
        return ImageStatistics(
            self._pairs,
            self._images,
            self._unreadable,
            self._nonfinite,
            self._constant,
            len(self._hashes),
            self._first,
            self._nonfinite_masks,
            self._burnt if self._burnt < self._images else 0,
        )
