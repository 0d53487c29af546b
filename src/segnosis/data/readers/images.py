"""Decoding of plane image files: every pixel as stored, one clear error for whatever cannot be decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segnosis.core.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pbm", ".jp2")
LOSSY = (".jpg", ".jpeg", ".webp", ".jp2")


def pages(path: Path) -> int:
    """Pages of a TIFF stack; 1 for every other file, and for one that cannot be read: the reading tells the error."""
    from PIL import Image

    if path.suffix.lower() not in (".tif", ".tiff"):
        return 1
    try:
        with Image.open(path) as image:
            return int(getattr(image, "n_frames", 1))
    except Exception:  # Pillow cannot read every TIFF; those are read by another decoder as one page
        return 1


def decode_stack(path: Path, k: int | None, number: int) -> np.ndarray:
    """All `number` pages of a TIFF stack `(pages, height, width[, channels])`, or page `k` alone."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) != number:
                raise ValueError(f"{getattr(image, 'n_frames', 1)} pages where its partner has {number}")
            planes = []
            for page in range(number) if k is None else (k,):
                image.seek(page)
                planes.append(_array(image))
            return np.stack(planes) if k is None else planes[0]
    except Exception as error:  # decoders raise whatever their format brings: one error for all
        raise _broken(path, error) from error


def decode(path: Path, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """Pixels of an image file, upright by its EXIF orientation.

    Args:
        path: File to decode.
        like: `(height, width)` of the mask. Where only the pixels as stored fit it, the annotator did not see the
            orientation either, and it is left out.

    Returns:
        `(height, width)` or `(height, width, channels)` of the stored type; palette images are their indices.
    """
    from PIL import Image, ImageOps

    try:
        if _deep_colour(path):
            return _opencv(path)
        with Image.open(path) as image:
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
                return _opencv(path)
            except Exception as second:
                error = second
        raise _broken(path, error) from error


def decode_colour(path: Path, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """`decode` for pictures: palettes become colours; an alpha channel is kept."""
    from PIL import Image

    if path.suffix.lower() in (".png", ".gif", ".bmp", ".tif", ".tiff"):
        try:
            with Image.open(path) as image:
                if image.mode == "P":
                    return _array(image.convert("RGB"))
        except Exception as error:
            raise _broken(path, error) from error
    return decode(path, like=like)


def kind(path: Path) -> tuple[int, str]:
    """Number of channels without alpha and dtype (`"uint8"` or `"float32"`) from the header alone."""
    from PIL import Image

    try:
        if _deep_colour(path):
            return 3, "float32"
        with Image.open(path) as image:
            mode = image.mode
    except Exception:  # the header is no help: the pixels decide, or raise the error that tells of the file
        pixels = decode_colour(path)
        return kind_of(pixels)
    channels = {"1": 1, "L": 1, "LA": 1, "I": 1, "F": 1}.get(mode, 1 if mode.startswith("I;16") else 3)
    return channels, "float32" if mode in ("I", "F") or mode.startswith("I;16") else "uint8"


def kind_of(image: np.ndarray) -> tuple[int, str]:
    """`kind` of an array."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    return {2: 1, 4: 3}.get(channels, channels), "uint8" if image.dtype in (np.uint8, np.bool_) else "float32"


def _array(image: object) -> np.ndarray:
    mode = image.mode  # type: ignore[attr-defined]
    if mode in ("CMYK", "YCbCr", "LAB", "HSV", "PA", "RGBX", "RGBa", "La"):
        image = image.convert("RGB")  # type: ignore[attr-defined]
    pixels = np.asarray(image)
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _deep_colour(path: Path) -> bool:
    """Whether a PNG holds colours of 16 bit, which Pillow would silently cut to 8."""
    if path.suffix.lower() != ".png":
        return False
    with path.open("rb") as file:
        head = file.read(26)
    return len(head) == 26 and head[:8] == b"\x89PNG\r\n\x1a\n" and head[24] == 16 and head[25] in (2, 6)


def _opencv(path: Path) -> np.ndarray:
    import cv2

    stored = np.fromfile(path, np.uint8)
    pixels = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED) if len(stored) else None
    if pixels is None:
        raise ValueError("the file is damaged or in a format nobody here knows")
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
