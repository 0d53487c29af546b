"""Castagnoli's checksum, as TFRecord shards carry it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, computed on many pieces of the data side by side.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    lanes = 1 << max(0, len(data).bit_length() - 8)
    width = -(-len(data) // lanes)
    # Zeros in front change nothing of a checksum that starts from 0; the usual start is added at the end.
    block = np.zeros(lanes * width, np.uint8)
    block[lanes * width - len(data) :] = np.frombuffer(data, np.uint8)
    columns = block.reshape(lanes, width).T
    parts = np.zeros(lanes, np.uint32)
    for column in columns:
        parts = _TABLE[(parts ^ column) & 255] ^ parts >> 8
    while len(parts) > 1:
        parts, width = _times(_power(width), parts[::2]) ^ parts[1::2], 2 * width
    start = _times(_power(len(data)), np.array([0xFFFFFFFF], np.uint32))
    return int(parts[0] ^ start[0]) ^ 0xFFFFFFFF


def _make_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, np.uint32(0x82F63B78), np.uint32(0)) ^ table >> 1
    return table


_TABLE = _make_table()
_PLAIN = _TABLE.tolist()


def _times(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A 32 × 32 matrix of bits, one number a column, times each of `values`."""
    out = np.zeros_like(values)
    for bit in range(32):
        out ^= np.where(values >> np.uint32(bit) & 1, matrix[bit], np.uint32(0))
    return out


@lru_cache(maxsize=256)
def _power(count: int) -> np.ndarray:
    """The matrix that feeds `count` zero bytes to a checksum."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    result, step = bits, _TABLE[bits & 255] ^ bits >> 8
    while count:
        result = _times(step, result) if count & 1 else result
        step, count = _times(step, step), count >> 1
    return result


def masked(data: bytes) -> int:
    """The checksum as it is written: turned and shifted, so that a checksum over checksums stays a good one."""
    return _mask(crc32c(data))


def masked_of_length(head: bytes) -> int:
    """`masked` of the eight bytes of a length, which every record has: plain Python is faster on so few."""
    crc = 0xFFFFFFFF
    for byte in head:
        crc = _PLAIN[(crc ^ byte) & 255] ^ crc >> 8
    return _mask(crc ^ 0xFFFFFFFF)


def _mask(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
