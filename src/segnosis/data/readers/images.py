"""Decoding of plane image files: every pixel as stored, one clear error for whatever cannot be decoded."""

from __future__ import annotations

import contextlib
import io
import mmap
from pathlib import Path

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers import tiff_pages as tiff

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pbm", ".jp2")
LOSSY = (".jpg", ".jpeg", ".webp", ".jp2")
MOST_BYTES = 1 << 28
_PNG, _PALETTE = b"\x89PNG\r\n\x1a\n", b"\x03"  # how a PNG begins; the kind of its colours, in byte 25
_MOST_RATIO = 1100  # deflate, the commonest compression, makes at most 1032 bytes of one


def decode(path: Path, *, like: tuple[int, int] | None = None, data: bytes | None = None) -> np.ndarray:
    """Pixels of an image file, upright by its EXIF orientation.

    Args:
        path: File to decode.
        like: `(height, width)` of the mask. Where only the pixels as stored fit it, the annotator did not see the
            orientation either, and it is left out.
        data: Content of the image where it lies inside the file `path`, among others.

    Returns:
        `(height, width)` or `(height, width, channels)` of the stored type; palette images are their indices.
    """
    from PIL import Image, ImageOps

    try:
        # A PNG is read once, and looked at by its header first.
        data = path.read_bytes() if data is None and path.suffix.lower() == ".png" else data
        if _deep_colour(path, data):
            return _opencv(path, data)
        if _bands(path, data) is not None:
            return tiff.read(_content(path, data))
        with Image.open(_source(path, data)) as image:
            _check_size(image, path, data)
            orientation = (
                image.getexif().get(0x0112, 1) if image.format in ("JPEG", "TIFF", "WEBP", "PNG", "MPO") else 1
            )
            upright: Image.Image = image
            if orientation in range(2, 9):
                turned = orientation in (5, 6, 7, 8)
                stored = (image.height, image.width)
                if not (turned and like == stored and like != stored[::-1]):
                    upright = ImageOps.exif_transpose(image)
            return _array(upright)
    except FileNotFoundError as error:
        raise DataError(
            "Every file of a data set must be there while it is read.",
            file=path,
            received={"problem": "missing"},
            cure="Put it back, or open the data set again.",
        ) from error
    except Exception as error:  # decoders raise whatever their format brings: one error for all
        if type(error).__name__ == "UnidentifiedImageError":
            try:
                return tiff.read(_content(path, data))
            except Exception as second:
                error = second
        raise _broken(path, error) from error


def decode_page(path: Path, page: int) -> np.ndarray:
    """Page number `page` of a TIFF file, as Pillow reads it."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.seek(page)
            _check_size(image, path, None)
            return _array(image)
    except Exception as error:
        raise _broken(path, error) from error


def decode_colour(path: Path, *, like: tuple[int, int] | None = None, data: bytes | None = None) -> np.ndarray:
    """`decode` for pictures: palettes become colours; an alpha channel is kept."""
    from PIL import Image

    suffix = path.suffix.lower()
    if suffix == ".png" and data is None:
        with contextlib.suppress(OSError):  # `decode` tells of a file that cannot be read
            data = path.read_bytes()
    plain = data is not None and data[:8] == _PNG and data[25:26] != _PALETTE
    if not plain and (data is not None or suffix in (".gif", ".bmp", ".tif", ".tiff")):
        try:
            with Image.open(_source(path, data)) as image:
                if image.mode == "P":
                    _check_size(image, path, data)
                    return _array(image.convert("RGB"))
        except Exception as error:
            if type(error).__name__ != "UnidentifiedImageError":
                raise _broken(path, error) from error
    return decode(path, like=like, data=data)


def kind(path: Path, *, data: bytes | None = None) -> tuple[int, str]:
    """Number of channels without alpha and dtype (`"uint8"` or `"float32"`) from the header alone."""
    from PIL import Image

    try:
        if _deep_colour(path, data):
            return 3, "float32"
        if (page := _bands(path, data)) is not None:
            return page.channels, "uint8" if page.dtype == np.uint8 else "float32"
        with Image.open(_source(path, data)) as image:
            mode = image.mode
    except Exception:  # the header is no help: the pixels decide, or raise the error that tells of the file
        pixels = decode_colour(path, data=data)
        return kind_of(pixels)
    channels = {"1": 1, "L": 1, "LA": 1, "I": 1, "F": 1}.get(mode, 1 if mode.startswith("I;16") else 3)
    return channels, "float32" if mode in ("I", "F") or mode.startswith("I;16") else "uint8"


def size(path: Path) -> tuple[int, int]:
    """`(height, width)` as stored, from the header alone."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.height, image.width
    except Exception as error:
        raise _broken(path, error) from error


def kind_of(image: np.ndarray) -> tuple[int, str]:
    """Number of channels and dtype of an array."""
    return 1 if image.ndim == 2 else image.shape[2], "uint8" if image.dtype in (np.uint8, np.bool_) else "float32"


def _array(image: object) -> np.ndarray:
    mode = image.mode  # type: ignore[attr-defined]
    if mode in ("CMYK", "YCbCr", "LAB", "HSV", "PA", "RGBX", "RGBa", "La"):
        image = image.convert("RGB")  # type: ignore[attr-defined]
    pixels = np.asarray(image)
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def check_bytes(wanted: float, stored: int) -> None:
    """Refuse before decoding what no honest file decompresses to: more than `MOST_BYTES` out of next to nothing.

    Raises:
        ValueError: `wanted` bytes are declared by a file of `stored` bytes.
    """
    if wanted > MOST_BYTES and wanted > _MOST_RATIO * stored:
        raise ValueError(f"its header declares {wanted / 2**30:.1f} GiB in a file of {stored} bytes")


def _check_size(image: object, path: Path, data: bytes | None) -> None:
    mode, width, height = image.mode, image.width, image.height  # type: ignore[attr-defined]
    wide = {"1": 1 / 8, "RGB": 3, "YCbCr": 3, "LAB": 3, "HSV": 3, "LA": 2, "PA": 2, "L": 1, "P": 1}.get(mode, 4)
    if mode.startswith("I;16"):
        wide = 2
    check_bytes(width * height * wide, path.stat().st_size if data is None else len(data))


def _source(path: Path, data: bytes | None) -> Path | io.BytesIO:
    return path if data is None else io.BytesIO(data)


def _content(path: Path, data: bytes | None) -> bytes:
    return path.read_bytes() if data is None else data


def _deep_colour(path: Path, data: bytes | None) -> bool:
    """Whether a PNG holds colours of 16 bit, which Pillow would silently cut to 8."""
    if data is not None:
        head = data[:26]
    elif path.suffix.lower() != ".png":
        return False
    else:
        with path.open("rb") as file:
            head = file.read(26)
    return len(head) == 26 and head[:8] == _PNG and head[24] == 16 and head[25] in (2, 6)


def _bands(path: Path, data: bytes | None) -> tiff.Page | None:
    """The one page of a TIFF whose samples are more or deeper than Pillow would keep: many bands, colours of 16 bit."""
    if path.suffix.lower() not in (".tif", ".tiff") if data is None else data[:2] not in (b"II", b"MM"):
        return None
    try:
        if data is not None:
            page, *further = tiff.pages(data)
        else:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                page, *further = tiff.pages(mapped)
        more = page.channels not in (1, 3) or (page.bands > 1 and page.dtype.itemsize > 1)
    except (OSError, ValueError):  # whoever reads it tells what is wrong with it
        return None
    plain = page.number(262, 1) in (1, 2) and page.number(274, 1) == 1 and page.number(259, 1) in tiff.KNOWN
    return page if more and plain and not further else None


def _opencv(path: Path, data: bytes | None) -> np.ndarray:
    """A PNG of 16-bit colours."""
    import cv2

    stored = _content(path, data)
    check_bytes(8.0 * int.from_bytes(stored[16:20]) * int.from_bytes(stored[20:24]), len(stored))
    pixels = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("the file is damaged")
    return np.ascontiguousarray(pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]) if pixels.ndim == 3 else pixels


def _broken(path: Path, error: Exception) -> DataError:
    if type(error).__name__ == "DecompressionBombError":
        return DataError(
            "An image must fit in memory.",
            file=path,
            received={"problem": str(error)},
            cure="Cut it into tiles, each with its mask.",
        )
    return DataError(
        "An image file must decode to its last row.",
        file=path,
        received={"problem": f"{type(error).__name__}: {error}"},
        cure="Copy it again from its source, or remove it together with its mask.",
    )
