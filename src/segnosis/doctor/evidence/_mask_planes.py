"""The readings of one mask as one plane: as it was stored, its classes, and whatever in it can be told apart."""

from __future__ import annotations

from typing import Literal

import numpy as np

Layout = Literal["ids", "copies", "colour", "stack"]

_BITS = 12
"""So many planes make a number of their own for each way to overlap."""


def as_plane(mask: np.ndarray) -> tuple[np.ndarray, Layout]:
    """The plane of values of a mask, and how it was stored; an opaque alpha plane is left out."""
    if mask.ndim == 2:
        return mask, "ids"
    if mask.ndim == 3 and mask.shape[-1] == 1:
        return mask[..., 0], "ids"
    if mask.ndim != 3:
        return mask, "stack"
    planes = mask.shape[-1]
    if planes in (2, 4) and mask.dtype.kind in "ui" and (mask[..., -1] == mask[0, 0, -1]).all() and mask[0, 0, -1] > 0:
        mask, planes = mask[..., :-1], planes - 1
    if planes <= 3 and all(np.array_equal(mask[..., 0], mask[..., k]) for k in range(1, planes)):
        return mask[..., 0], "copies" if planes > 1 else "ids"
    return mask, "colour" if planes in (3, 4) else "stack"


def plane_of(mask: np.ndarray) -> np.ndarray:
    """One plane of ids: the class of each pixel of a one-hot mask, else the values as they are."""
    if mask.ndim == 2:
        return mask
    if mask.shape[-1] == 1:
        return mask[..., 0]
    return mask.argmax(-1).astype(np.int16)


def ids_of(mask: np.ndarray) -> np.ndarray:
    """Class ids, with rows of zeros of a one-hot mask as −1."""
    plane, _ = as_plane(mask)
    if plane.ndim == 2:
        return plane
    return np.where(plane.any(-1), plane.argmax(-1), -1)


def regions_of(mask: np.ndarray) -> np.ndarray:
    """One plane whose value changes wherever a plane does: the class of a one-hot mask, else which planes are marked.

    Example:
        >>> overlapping = np.array([[[0, 0], [1, 0], [1, 1]]])
        >>> regions_of(overlapping).tolist()
        [[0, 1, 3]]
    """
    if mask.ndim == 2 or mask.shape[-1] == 1:
        return plane_of(mask)
    sums = mask.sum(axis=-1, dtype=np.float64)
    if np.ptp(sums) <= 1e-3 * abs(sums).max():
        return plane_of(mask)
    if mask.shape[-1] > _BITS:
        return np.where(mask.any(axis=-1), mask.argmax(axis=-1), -1).astype(np.int16)
    marked = mask > mask.max() / 2
    return (marked << np.arange(mask.shape[-1])).sum(axis=-1).astype(np.int16)
