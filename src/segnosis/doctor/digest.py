"""Knowing an array again by its values."""

from __future__ import annotations

import hashlib

import numpy as np


def digest(array: np.ndarray) -> bytes:
    """Twelve bytes that equal values of one shape share, and that different ones practically never do.

    Example:
        >>> digest(np.eye(2)) == digest(np.eye(2)), digest(np.zeros((1, 4))) == digest(np.zeros((2, 2)))
        (True, False)
    """
    values = np.ascontiguousarray(array)
    return hashlib.blake2b(repr(values.shape).encode() + values.tobytes(), digest_size=12).digest()


def turn_free(mask: np.ndarray) -> bytes | None:
    """A digest that a mask shares with all its mirror images and quarter turns; `None` of a mask of one value.

    Example:
        >>> mask = np.triu(np.ones((4, 4)), 1)
        >>> turn_free(mask) == turn_free(mask.T), turn_free(mask) == turn_free(1 - mask), turn_free(mask * 0)
        (True, False, None)
    """
    if mask.min() == mask.max():
        return None
    turns = [np.rot90(mask, quarter) for quarter in range(4)]
    return min(digest(each) for turn in turns for each in (turn, turn[::-1]))
