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
