"""A census of stored mask values, and of the images' channels and types, in one pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from segnosis.core.sample import Pair
from segnosis.data.readers.images import LOSSY, kind_of

IGNORE = 255
"""Class id of ignored pixels in `Sample.mask`."""


@dataclass
class Counts:
    """Values of the masks of one kind (grey or colour, exact or lossy files)."""

    files: int = 0
    pixels: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    fractional: int = 0
    mixed: int = 0
    """Files of more than one value."""
    distinct: int = 0
    """Sum over these of their numbers of values."""


class Census:
    """Accumulator over pairs: which values the masks hold, and which channels and types the images have.

    Memory grows with the number of distinct values, not with the number of files; a mask of more than `MOST` colours
    is a picture, and only its commonest ones are kept.
    """

    MOST = 4096

    def __init__(self) -> None:
        self.kinds: dict[tuple[bool, bool], Counts] = {}
        self.image_kinds: Counter[tuple[int, str]] = Counter()
        self.pairs = 0

    def add(self, pair: Pair) -> None:
        """Count one pair; unreadable ones are skipped, the check of files tells of them."""
        self.pairs += 1
        if pair.image is not None:
            self.add_image(*kind_of(pair.image))
        if pair.mask is not None:
            self.add_mask(pair.mask, lossy=pair.mask_file is not None and pair.mask_file.suffix.lower() in LOSSY)

    def add_image(self, channels: int, dtype: str) -> None:
        """Count an image of which only the header was read."""
        self.image_kinds[channels, dtype] += 1

    def add_mask(self, mask: np.ndarray, *, lossy: bool = False) -> None:
        """Count one mask as stored."""
        plane, colour = plane_of(mask)
        counts = self.kinds.setdefault((colour, lossy), Counts())
        counts.files += 1
        if plane.dtype.kind == "f":
            whole = np.isfinite(plane) & (plane == np.rint(plane))
            if not whole.all():
                counts.fractional += 1
            plane = np.rint(plane[whole] if whole.any() else np.zeros(1)).astype(np.int64)
        values, numbers = values_of(plane)
        if len(values) > 1:
            counts.mixed, counts.distinct = counts.mixed + 1, counts.distinct + len(values)
        for value, number in zip(values, numbers, strict=True):
            counts.pixels[int(value)] += int(number)
            counts.images[int(value)] += 1
        if len(counts.pixels) > 2 * self.MOST:
            counts.pixels = Counter(dict(counts.pixels.most_common(self.MOST)))

    def result(self) -> Census:
        """Itself; what `scan` hands back."""
        return self

    @property
    def main(self) -> tuple[bool, Counts]:
        """Whether most masks are colour masks, and the counts of that majority."""
        if not self.kinds:
            return False, Counts()
        kind = max(self.kinds, key=lambda kind: (self.kinds[kind].files, kind))
        return kind[0], self.kinds[kind]

    @property
    def channels(self) -> int:
        """Channels every image can be given: grey becomes colour where both occur."""
        return max((channels for channels, _ in self.image_kinds), default=1)

    @property
    def dtype(self) -> str:
        """`"uint8"` when all images are, else `"float32"`."""
        return "uint8" if all(dtype == "uint8" for _, dtype in self.image_kinds) else "float32"


def plane_of(mask: np.ndarray) -> tuple[np.ndarray, bool]:
    """One number per pixel, and whether that number is a packed colour; equal channels are grey, alpha is dropped."""
    if mask.ndim == 2:
        return mask, False
    if mask.shape[2] <= 2:
        return mask[..., 0], False
    red, green, blue = (mask[..., k] for k in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return red, False
    if mask.dtype != np.uint8:
        red, green, blue = (np.clip(channel, 0, 255).astype(np.uint8) for channel in (red, green, blue))
    packed = red.astype(np.int32) << 16
    packed |= green.astype(np.int32) << 8
    packed |= blue
    return packed, True


def values_of(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values and their numbers of pixels."""
    if plane.dtype == np.uint8:
        counts = np.bincount(plane.ravel(), minlength=256)
        values = np.flatnonzero(counts)
        return values, counts[values]
    return np.unique(plane, return_counts=True)
