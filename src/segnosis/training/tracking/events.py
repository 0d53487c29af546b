"""TensorBoard's event files, written without TensorFlow: TFRecords of `tensorflow.Event` messages."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from segnosis.data.readers.crc32c import masked

_STRING, _START = 7, 1  # DataType of a tensor of text; SessionLog that a run begins, or begins again


class EventFile:
    """One event file; every record is on the disk when its method returns.

    Args:
        folder: Log folder, as `tensorboard --logdir` takes it; made where it is missing.
        purge: Step from which on earlier files in the folder are void: a resumed run does it again.
    """

    def __init__(self, folder: Path, *, purge: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.segnosis"
        self._file = self.path.open("wb")
        self._write(_bytes(3, b"brain.Event:2"))
        if purge is not None:
            self._write(_whole(2, purge) + _bytes(7, _whole(1, _START)))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by tag."""
        self._summary(step, *(_bytes(1, tag.encode()) + _float(2, value) for tag, value in values.items()))

    def image(self, step: int, tag: str, png: bytes) -> None:
        """A picture, PNG."""
        width, height = struct.unpack(">II", png[16:24])
        picture = _whole(1, height) + _whole(2, width) + _whole(3, 3) + _bytes(4, png)
        self._summary(step, _bytes(1, tag.encode()) + _bytes(4, picture))

    def text(self, step: int, tag: str, markdown: str) -> None:
        """A text for TensorBoard's page of texts."""
        plugin = _bytes(1, _bytes(1, b"text"))
        tensor = _whole(1, _STRING) + _bytes(2, _bytes(2, _whole(1, 1))) + _bytes(8, markdown.encode())
        self._summary(step, _bytes(1, tag.encode()) + _bytes(9, plugin) + _bytes(8, tensor))

    def close(self) -> None:
        """Nothing more comes."""
        self._file.close()

    def _summary(self, step: int, *values: bytes) -> None:
        self._write(_whole(2, step) + _bytes(5, b"".join(_bytes(1, value) for value in values)))

    def _write(self, event: bytes) -> None:
        record = b"\x09" + struct.pack("<d", time.time()) + event  # field 1, a double: wall time
        length = struct.pack("<Q", len(record))
        self._file.write(length + struct.pack("<I", masked(length)) + record + struct.pack("<I", masked(record)))
        self._file.flush()


def _whole(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """A number of no sign in groups of seven bits, the lowest first.

    Example:
        >>> _varint(300)
        b'\\xac\\x02'
    """
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
