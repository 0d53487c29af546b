"""TIFF files of any number of bands, pages and bits, which Pillow and OpenCV know only in part.

Read from the file's own tables: strips or tiles, samples side by side or plane by plane, whole and floating numbers of
8 to 64 bit, also BigTIFF. Compressed blocks are handed to Pillow one by one as grey bytes, so that every compression of
its libtiff that keeps bytes (LZW, deflate, PackBits, LZMA, Zstandard) is known here too.
"""

from __future__ import annotations

import io
import math
import mmap
import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

MOST_BYTES, _MOST_RATIO = 1 << 28, 4096  # LZW and Zstandard reach a few thousand on a blank page
Content = bytes | mmap.mmap
_MOST_PAGES, _MOST_TAGS = 1 << 16, 4096
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
KNOWN = {1, 5, 8, 32773, 32946, 34925, 50000}
"""Compressions that are read here, by the number that TIFF gives them."""
_KINDS = {1: "u", 2: "i", 3: "f"}


@dataclass(frozen=True)
class Page:
    """One image of a TIFF file; the file's tags by number, each a tuple of numbers or bytes."""

    tags: dict[int, tuple[Any, ...] | bytes]
    order: Literal["<", ">"]

    def number(self, tag: int, default: int) -> int:
        """The first number of a tag."""
        value = self.tags.get(tag)
        return int(value[0]) if value else default

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)`."""
        return self.number(257, 0), self.number(256, 0)

    @property
    def bands(self) -> int:
        """Samples per pixel."""
        return self.number(277, 1)

    @property
    def channels(self) -> int:
        """Samples per pixel but that of transparency, which the file says it is; any other further one is a channel."""
        extra = self.tags.get(338, ())
        return self.bands - (self.bands in (2, 4) and len(extra) == 1 and extra[0] in (1, 2))

    @property
    def dtype(self) -> np.dtype:
        """Type of a sample, in this machine's byte order."""
        bits, kind = self.number(258, 1), _KINDS.get(self.number(339, 1), "u")
        if bits not in (8, 16, 32, 64) or (kind == "f" and bits == 8):
            raise ValueError(f"samples of {bits} bit are not read")
        return np.dtype(f"{kind}{bits // 8}")

    @property
    def spacing(self) -> tuple[float, float] | None:
        """Millimetres between rows and between columns: GeoTIFF's pixel scale in metres, or the resolution's unit."""
        scale = self.tags.get(33550)
        if scale and len(scale) >= 2 and self._projected():
            return _positive(1000.0 * float(scale[1]), 1000.0 * float(scale[0]))
        across, down = self.tags.get(282), self.tags.get(283)
        unit = self.number(296, 2)
        if scale or not across or not down or unit != 3:  # inches are a printer's, hardly ever a measurement
            return None
        return _positive(10.0 / float(down[0] or math.inf), 10.0 / float(across[0] or math.inf))

    def _projected(self) -> bool:
        """Whether a GeoTIFF's coordinates are metres of a projection, not degrees."""
        keys = self.tags.get(34735, ())
        told = {keys[i]: keys[i + 3] for i in range(4, len(keys) - 3, 4)}
        return told.get(1024) == 1 and told.get(3076, 9001) == 9001


def pages(data: Content) -> list[Page]:
    """The pages of a TIFF file; none of their pixels is read.

    Raises:
        ValueError: The content is no TIFF file, or its tables are damaged.
    """
    order: Literal["<", ">"] = "<" if bytes(data[:2]) == b"II" else ">"
    if bytes(data[:2]) not in (b"II", b"MM") or len(data) < 8:
        raise ValueError("it is no TIFF file")
    magic = struct.unpack_from(order + "H", data, 2)[0]
    if magic not in (42, 43):
        raise ValueError("it is no TIFF file")
    big = magic == 43
    offset, size_of_offset = (8, 8) if big else (4, 4)
    at = _unpack(order + ("Q" if big else "I"), data, offset)[0]
    found: list[Page] = []
    seen: set[int] = set()
    while at:
        if at in seen or len(found) >= _MOST_PAGES:
            raise ValueError("its pages go round in a circle")
        seen.add(at)
        number = _unpack(order + ("Q" if big else "H"), data, at)[0]
        if number > _MOST_TAGS:
            raise ValueError(f"a page has {number} tags")
        at += 8 if big else 2
        tags: dict[int, tuple[Any, ...] | bytes] = {}
        for _ in range(number):
            tag, kind, count = _unpack(order + ("HHQ" if big else "HHI"), data, at)
            value = _value(data, order, kind, count, at + (12 if big else 8), size_of_offset)
            if value is not None:
                tags[tag] = value
            at += 20 if big else 12
        found.append(Page(tags, order))
        at = _unpack(order + ("Q" if big else "I"), data, at)[0]
    return found


def read(data: Content, page: int = 0) -> np.ndarray:
    """Pixels of one page: `(height, width)`, or `(height, width, bands)` of more than one band.

    Raises:
        ValueError: The file is damaged, or made in a way that is not read.
    """
    found = pages(data)
    if not 0 <= page < len(found):
        raise ValueError(f"page {page} of {len(found)}")
    told = found[page]
    (height, width), bands, dtype = told.size, told.bands, told.dtype
    if min(height, width, bands) < 1 or max(height, width) > 1 << 24 or bands > 1 << 14:
        raise ValueError(f"a size of {height} × {width} pixels and {bands} bands")
    if len(set(told.tags.get(258, (1,)))) > 1:
        raise ValueError("its bands have different bits")
    wanted = height * width * bands * dtype.itemsize
    if wanted > MOST_BYTES and wanted > _MOST_RATIO * len(data):
        raise ValueError(f"its header declares {wanted / 2**30:.1f} GiB in a file of {len(data)} bytes")
    tiled = 322 in told.tags
    offsets, counts = told.tags.get(324 if tiled else 273, ()), told.tags.get(325 if tiled else 279, ())
    block_height = told.number(323, 0) if tiled else min(told.number(278, height) or height, height)
    block_width = told.number(322, 0) if tiled else width
    planes, deep = (bands, 1) if told.number(284, 1) == 2 else (1, bands)
    if min(block_height, block_width) < 1 or block_height * block_width > max(4 * height * width, 1 << 24):
        raise ValueError(f"blocks of {block_height} × {block_width} pixels")
    down, across = -(-height // block_height), -(-width // block_width)
    if len(offsets) < planes * down * across or len(counts) < planes * down * across:
        raise ValueError(f"{len(offsets)} blocks where {planes * down * across} are needed")
    out = np.zeros((height, width, bands), dtype)
    for number in range(planes * down * across):
        plane, rest = divmod(number, down * across)
        top, left = rest // across * block_height, rest % across * block_width
        rows = block_height if tiled else min(block_height, height - top)
        stored = bytes(data[offsets[number] : offsets[number] + counts[number]])
        block = _block(told, stored, (rows, block_width, deep), dtype)
        part = block[: height - top, : width - left]
        where = slice(plane, plane + 1) if planes > 1 else slice(None)
        out[top : top + rows, left : left + block_width, where] = part
    return out[..., 0] if bands == 1 else out


def _block(page: Page, stored: bytes, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    compression, predictor = page.number(259, 1), page.number(317, 1)
    needed = math.prod(shape) * dtype.itemsize
    if compression not in KNOWN:
        raise ValueError(f"compression {compression} is not read")
    if compression != 1:
        stored = _expand(stored, compression, shape[0], needed // shape[0])
    if len(stored) < needed:
        raise ValueError(f"a block of {len(stored)} bytes where {needed} are needed")
    if predictor == 3 and dtype.kind == "f":
        by_byte = np.frombuffer(stored, np.uint8, needed).reshape(shape[0], -1, shape[2])
        summed = np.cumsum(by_byte, axis=1, dtype=np.uint8).reshape(shape[0], dtype.itemsize, -1)
        return np.ascontiguousarray(summed.transpose(0, 2, 1)).view(dtype.newbyteorder(">")).reshape(shape)
    block = np.frombuffer(stored, dtype.newbyteorder(page.order), needed // dtype.itemsize).reshape(shape)
    if predictor == 2:
        return np.cumsum(block, axis=1, dtype=dtype)
    if predictor != 1:
        raise ValueError(f"predictor {predictor} is not read")
    return block


def _expand(stored: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    """Let Pillow undo the compression: the block as a TIFF file of its own, of grey bytes."""
    from PIL import Image

    tags = [(256, row_bytes), (257, rows), (258, 8), (259, compression), (262, 1), (273, 0), (277, 1), (278, rows)]
    tags.append((279, len(stored)))
    head = 8 + 2 + 12 * len(tags) + 4
    table = b"".join(struct.pack("<HHII", tag, 4, 1, head if tag == 273 else value) for tag, value in tags)
    file = b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4) + stored
    with Image.open(io.BytesIO(file)) as image:
        return image.tobytes()


def _value(data: Content, order: str, kind: int, count: int, at: int, inline: int) -> tuple[Any, ...] | bytes | None:
    width = _WIDTHS.get(kind)
    if width is None or count == 0:
        return None
    if width * count > len(data):
        raise ValueError("a tag is longer than the file")
    if width * count > inline:
        at = _unpack(order + ("Q" if inline == 8 else "I"), data, at)[0]
    if at + width * count > len(data):
        raise ValueError("a tag lies behind the end of the file")
    if kind == 2:
        return bytes(data[at : at + count])
    if kind in (5, 10):
        pairs = struct.unpack_from(f"{order}{2 * count}{'I' if kind == 5 else 'i'}", data, at)
        return tuple(a / b if b else 0.0 for a, b in zip(pairs[::2], pairs[1::2], strict=True))
    return struct.unpack_from(f"{order}{count}{_CODES[kind]}", data, at)


def _unpack(how: str, data: Content, at: int) -> tuple[int, ...]:
    if at < 0 or at + struct.calcsize(how) > len(data):
        raise ValueError("it is cut off")
    return struct.unpack_from(how, data, at)


def _positive(row: float, column: float) -> tuple[float, float] | None:
    good = all(math.isfinite(value) and value > 0 for value in (row, column))
    return (row, column) if good else None
