"""As much of protocol buffers as `tf.train.Example` needs: features of bytes, floats and whole numbers by name."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

Value = list[bytes] | np.ndarray


def example(record: bytes) -> dict[str, Value]:
    """Features of a serialised `tf.train.Example`: name → list of bytes, or array of float32 or int64.

    Raises:
        ValueError: It is none.

    Example:
        >>> encoded = encode({"id": [b"a"], "size": np.array([3, 300])})
        >>> {name: list(value) for name, value in example(encoded).items()}
        {'id': [b'a'], 'size': [np.int64(3), np.int64(300)]}
    """
    found: dict[str, Value] = {}
    for features in _messages(record, 1):
        for pair in _messages(features, 1):
            name = b"".join(_messages(pair, 1)).decode("utf-8")
            for feature in _messages(pair, 2):
                found[name] = _feature(feature)
    return found


def encode(features: dict[str, Value]) -> bytes:
    """Inverse of `example`, for what is written in tests and examples."""
    out = b""
    for name, value in features.items():
        if isinstance(value, list):
            feature = _field(1, b"".join(_field(1, item) for item in value))
        elif value.dtype.kind == "f":
            feature = _field(2, _field(1, value.astype("<f4").tobytes()))
        else:
            feature = _field(3, _field(1, b"".join(_varint(int(item)) for item in value)))
        out += _field(1, _field(1, name.encode()) + _field(2, feature))
    return _field(1, out)


def _feature(message: bytes) -> Value:
    for number, wire, value in _fields(message):
        if wire != 2 or not isinstance(value, bytes) or number not in (1, 2, 3):
            raise ValueError("a feature that is neither bytes, floats nor whole numbers")
        if number == 1:
            return list(_messages(value, 1))
        if number == 2:
            packed = [item if isinstance(item, bytes) else struct.pack("<I", item) for _, _, item in _fields(value)]
            joined = b"".join(packed)
            return np.frombuffer(joined[: len(joined) // 4 * 4], "<f4")
        numbers: list[int] = []
        for _, kind, item in _fields(value):
            numbers += [item] if kind == 0 and isinstance(item, int) else _varints(bytes(item))
        return np.array([item - (1 << 64) if item >> 63 else item for item in numbers], np.int64)
    return []


def _messages(data: bytes, wanted: int) -> Iterator[bytes]:
    for number, wire, value in _fields(data):
        if number == wanted and wire == 2 and isinstance(value, bytes):
            yield value


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(field number, wire type, value) of a message."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _read_varint(data, at)
            yield number, wire, value
            continue
        length, at = _read_varint(data, at) if wire == 2 else ({1: 8, 5: 4}.get(wire, -1), at)
        if length < 0 or at + length > len(data):
            raise ValueError(f"a field of {length} bytes where {len(data) - at} are left")
        part = data[at : at + length]
        yield number, wire, part if wire == 2 else int.from_bytes(part, "little")
        at += length


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
    raise ValueError("a number of more than 64 bit")


def _varints(data: bytes) -> list[int]:
    out, at = [], 0
    while at < len(data):
        value, at = _read_varint(data, at)
        out.append(value)
    return out


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value
