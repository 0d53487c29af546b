"""Stored pairs from `raw=`: arrays in memory, or two lists of image files that are read one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segnosis.core.errors import ArgumentError
from segnosis.core.sample import Pair
from segnosis.doctor.case import pairs_from_arrays


def stored_pairs(raw: Any) -> Sequence[Pair] | FilePairs | None:
    """Pairs as they were before the user's pipeline.

    Args:
        raw: `(images, masks)`: arrays, sequences of arrays, or sequences of file paths; `None` for none.

    Example:
        >>> pairs = stored_pairs((np.zeros((3, 8, 8, 1)), np.zeros((3, 8, 8), "uint8")))
        >>> len(pairs), pairs[0].id
        (3, 'sample 0')
    """
    if raw is None:
        return None
    if not (isinstance(raw, tuple | list) and len(raw) == 2):
        raise ArgumentError(
            "`raw` is two things of equal length: images and masks before your pipeline.",
            received={"raw": type(raw).__name__},
            cure="Pass `raw=(images, masks)`, arrays or two lists of file paths.",
        )
    images, masks = raw
    if len(images) != len(masks):
        raise ArgumentError(
            "`raw` holds one mask per image.",
            received={"images": len(images), "masks": len(masks)},
            cure="Pair them by file name before passing them.",
        )
    if len(images) and isinstance(images[0], str | PathLike):
        return FilePairs(tuple(map(Path, images)), tuple(map(Path, masks)))
    return pairs_from_arrays(images, masks)


@dataclass(frozen=True)
class FilePairs:
    """Re-iterable pairs of image files, each decoded only while it is looked at."""

    images: tuple[Path, ...]
    masks: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Pair:
        image_file, mask_file = self.images[index], self.masks[index]
        image, image_error = decode(image_file)
        mask, mask_error = decode(mask_file)
        return Pair(
            image,
            mask,
            id=image_file.name,
            group=image_file.name,
            image_file=image_file,
            mask_file=mask_file,
            error=image_error or mask_error,
        )

    def __iter__(self) -> Iterator[Pair]:
        return (self[index] for index in range(len(self)))


def decode(path: Path) -> tuple[np.ndarray | None, str | None]:
    """Array as stored, or why not: a palette image gives indices, not colours; numpy files are read without pickle."""
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False), None
        with Image.open(path) as image:
            return np.asarray(image), None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return None, f"{path.name} cannot be read: {error}"
