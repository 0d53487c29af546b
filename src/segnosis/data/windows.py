"""Pictures larger than memory: a tiled TIFF read by windows, and a mask written by bands of rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from segnosis.core.errors import DataError

_TILE = 512
"""Side of a tile of a written mask, pixels."""
_CACHE = 128 << 20
"""Bytes of decoded tiles that are kept: neighbouring windows see the same ones."""


class TiffWindows:
    """The first page of a TIFF, decoded tile by tile (or strip by strip) as windows ask for it.

    Args:
        path: File, tiled or in strips, BigTIFF or not.

    Raises:
        DataError: The file is no TIFF, is cut off, or is compressed in a way that needs a package that is not there.

    Example:
        >>> import tempfile
        >>> import tifffile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tifffile.imwrite(f"{folder}/a.tif", np.arange(12000, dtype=np.uint16).reshape(100, 120), tile=(32, 32))
        ...     with TiffWindows(Path(folder) / "a.tif") as image:
        ...         image.size, image.read(40, 60, 2, 3)[..., 0].tolist()
        ((100, 120), [[4860, 4861, 4862], [4980, 4981, 4982]])
    """

    def __init__(self, path: Path) -> None:
        import tifffile

        self.path = path
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bytes = 0
        try:
            self._file = tifffile.TiffFile(path)
            page: Any = self._file.pages[0]
            if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
                raise ValueError("its colours lie in planes of their own")
        except Exception as error:  # tifffile raises whatever a damaged header leads to
            raise _unreadable(path, error) from error
        self._page = page
        self.size = int(page.imagelength), int(page.imagewidth)
        transparent = page.samplesperpixel in (2, 4) and tuple(page.extrasamples) in ((1,), (2,))
        self.channels = int(page.samplesperpixel) - transparent
        self.pages = len(self._file.pages)

    def __enter__(self) -> TiffWindows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Pixels `(height, width, channels)` as stored, without an alpha channel."""
        page = self._page
        rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, self.size[1])
        across = -(-self.size[1] // columns)
        out = np.zeros((height, width, self.channels), page.dtype)
        for row in range(top // rows, -(-(top + height) // rows)):
            for column in range(left // columns, -(-(left + width) // columns)):
                tile = self._tile(row * across + column)
                above, before = row * rows - top, column * columns - left
                inside = tile[max(0, -above) : height - above, max(0, -before) : width - before]
                at = max(0, above), max(0, before)
                out[at[0] : at[0] + inside.shape[0], at[1] : at[1] + inside.shape[1]] = inside
        return out

    def _tile(self, index: int) -> np.ndarray:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        page, handle = self._page, self._file.filehandle
        try:
            offset, count = page.dataoffsets[index], page.databytecounts[index]
            handle.seek(offset)
            stored = handle.read(count) if count else None
            if stored is not None and len(stored) < count:
                raise ValueError(f"the file ends {count - len(stored)} bytes too early")
            decoded, _, shape = page.decode(stored, index, jpegtables=page.jpegtables)
        except Exception as error:  # every compression raises an error of its own
            raise _unreadable(self.path, error) from error
        # An empty tile is not stored at all; the last ones may reach beyond the image, and are cut.
        tile = np.zeros(shape[1:], page.dtype) if decoded is None else decoded.reshape(decoded.shape[-3:])
        tile = tile[: shape[1], : shape[2], : self.channels]
        self._kept[index] = tile
        self._bytes += tile.nbytes
        while self._bytes > _CACHE and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return tile


def write_tiff(path: Path, bands: Iterable[np.ndarray], size: tuple[int, int], colours: np.ndarray) -> Path:
    """Write a mask band by band as a tiled, compressed BigTIFF with a palette.

    Args:
        path: File to write.
        bands: Class ids `(rows, width)` uint8, from top to bottom, of any heights.
        size: `(height, width)`, pixels.
        colours: `(num_classes, 3)` uint8.
    """
    import tifffile

    palette = np.zeros((3, 256), np.uint16)
    palette[:, : len(colours)] = 257 * colours.T.astype(np.uint16)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(
            _tiles(bands, size),
            shape=size,
            dtype=np.uint8,
            tile=(_TILE, _TILE),
            compression="zlib",
            photometric="palette",
            colormap=palette,
            maxworkers=1,
        )
    return path


def _tiles(bands: Iterable[np.ndarray], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Tiles of `_TILE` in the order of a TIFF, those at the right and bottom filled up with 0."""
    across = -(-size[1] // _TILE)
    strip = np.zeros((_TILE, across * _TILE), np.uint8)
    filled = done = 0
    for band in bands:
        start = 0
        while start < len(band):
            take = min(_TILE - filled, len(band) - start)
            strip[filled : filled + take, : size[1]] = band[start : start + take]
            start, filled, done = start + take, filled + take, done + take
            if filled == _TILE or done == size[0]:
                strip[filled:] = 0
                yield from (strip[:, k * _TILE : (k + 1) * _TILE].copy() for k in range(across))
                filled = 0


def _unreadable(path: Path, error: Exception) -> DataError:
    package = "imagecodecs" in str(error)
    return DataError(
        "A large TIFF is read by windows of its first page.",
        file=path,
        received={"problem": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"},
        cure="Install its decoder with `pip install imagecodecs`."
        if package
        else "Save it as a tiled TIFF with the colours of a pixel beside each other.",
    )
