"""TIFF stacks of pages, images of many bands and georeferenced tiles, with masks paired by name.

Where a mask has several pages, each is a sample, a plane of its stack; where only the image has, its pages are its
channels. Any number of bands of 8 to 64 bit is read, and the size of a pixel from GeoTIFF tags or the resolution in
centimetres. Plain TIFF pictures of one page are left to `image_folders`.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers import image_folders, images, tiff_pages
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_mask

PRIORITY = 80
LOOKS_FOR = "TIFF stacks, images of many bands or georeferenced tiles, with masks of the same name"
RANDOM_ACCESS = True
_SUFFIXES = (".tif", ".tiff")


def recognise(folder: Folder) -> str | None:
    """Images pair with masks by name, and one of the first few is more than a picture."""
    if not any(True for _ in folder.paths(_SUFFIXES)):
        return None
    found = image_folders.pairs_by_name(folder)
    for image, mask in found.pairs[:4]:
        special = _special(folder.root, image, mask)
        if special:
            return f"{found.how}; TIFF files {special}"
    return None


def index(folder: Folder) -> Index:
    """One entry per image with a mask; pages of a mask become samples."""
    plain = image_folders.index(folder)
    planes = [_pages(folder.root / str(row.mask_file)) for row in plain.entries]
    special = (recognise(folder) or "").rpartition("; TIFF files ")[2]
    saw, group_by, rows = f"{plain.saw}; TIFF files {special}", plain.group_by, list(plain.entries)
    if max(planes) > 1:
        group_by = group_by or ("stack" if len(planes) > 1 else None)
        rows = [row._replace(slices=number) for row, number in zip(rows, planes, strict=True)]
        saw += f"; stacks of {sum(planes)} pages in all"
        saw += "" if group_by else ", taken as independent images since they are in one file"
    return Index(tuple(rows), saw, group_by=group_by, files=plain.files)


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """Planes `(planes, height, width[, bands])` of a stack, its plane `k`, or the one image with pages as channels."""
    path = root / entry.image_file
    if path.suffix.lower() not in _SUFFIXES:
        return images.decode_colour(path, like=like)
    number = _pages(path)
    if not entry.slices:
        parts = [_read(path, page) for page in range(number)]
        if len({part.shape[:2] for part in parts}) > 1:  # an overview behind the image
            parts = parts[:1]
        return parts[0] if len(parts) == 1 else np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], 2)
    if number != entry.slices:
        raise DataError(
            "An image and its mask have the same pages.",
            file=path,
            received={"pages": number, "pages of the mask": entry.slices},
            cure="Pair the mask with the stack it was drawn on.",
        )
    return _read(path, k) if k is not None else _stack(path, number)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """The mask as stored: planes, plane `k`, or the one page."""
    if not isinstance(entry.mask, str) or not entry.mask.lower().endswith(_SUFFIXES):
        return image_folders.read_mask(root, entry)
    path = root / entry.mask
    if entry.slices:
        return _read(path, k) if k is not None else _stack(path, entry.slices)
    return _read(path, 0)


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype from the header."""
    path = root / entry.image_file
    try:
        with _tables(path) as (_, pages):
            alone = entry.slices or len(pages) == 1 or len({page.size for page in pages}) > 1
            channels = pages[0].channels if alone else sum(page.bands for page in pages)
            return channels, "uint8" if pages[0].number(258, 1) <= 8 else "float32"
    except ValueError:
        return images.kind(path)


def spacing(root: Path, entry: Entry) -> tuple[float, float] | None:
    """Millimetres between rows and between columns, where the file tells them."""
    try:
        with _tables(root / entry.image_file) as (_, pages):
            return pages[0].spacing
    except ValueError:  # no TIFF, or damaged: the reading tells the error
        return None


def write_mask(path: Path, planes: np.ndarray, like: Path) -> Path:
    """Write predicted planes as the pages of a new file."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = (Image.fromarray(plane) for plane in np.asarray(planes, dtype=np.uint8))
    first.save(path, save_all=True, append_images=rest, compression="tiff_adobe_deflate")
    return path


def example(root: Path) -> tuple[Truth, ...]:
    """Four tiles of five bands in 16 bit, pixels of 0.5 × 0.25 m, masks of three classes as PNG."""
    from PIL import Image

    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    truths = []
    for i in range(4):
        image = np.random.default_rng(i).integers(0, 1 << 16, (24, 32, 5), dtype=np.uint16)
        mask = example_mask(i, classes=3)
        (root / "images" / f"tile_{i}.tif").write_bytes(_five_bands(image))
        Image.fromarray(mask).save(root / "masks" / f"tile_{i}.png")
        truths.append(Truth(f"tile_{i}", f"tile_{i}", image.astype(np.float32), mask))
    return tuple(truths)


def _special(root: Path, image: str, mask: str | tuple[str, ...]) -> str | None:
    """What makes the pair more than two pictures, in a few words."""
    pages = [_pages(root / name) for name in (image, mask) if isinstance(name, str)]
    if max(pages) > 1:
        return f"of {' and '.join(map(str, pages))} pages" if len(set(pages)) > 1 else f"of {pages[0]} pages"
    try:
        with _tables(root / image) as (_, tables):
            if tables[0].bands not in (1, 3, 4) or tables[0].spacing or 33550 in tables[0].tags:
                scale = tables[0].spacing
                size = f", pixels of {scale[0]:g} × {scale[1]:g} mm" if scale else ""
                return f"of {tables[0].bands} bands{size}"
    except ValueError:
        return None
    return None


def _pages(path: Path) -> int:
    """Pages of a TIFF file; 1 for every other, and for one that cannot be read: the reading tells the error."""
    try:
        with _tables(path) as (_, pages):
            return max(len(pages), 1)
    except ValueError:
        return 1


def _stack(path: Path, number: int) -> np.ndarray:
    pages = [_read(path, page) for page in range(number)]
    if len({page.shape for page in pages}) > 1:
        raise _broken(path, ValueError(f"pages of different sizes, {sorted({page.shape for page in pages})[:3]}"))
    return np.stack(pages)


def _read(path: Path, page: int) -> np.ndarray:
    try:
        with _tables(path) as (data, _):
            return tiff_pages.read(data, page)
    except ValueError as error:
        try:  # single bits, JPEG inside: Pillow knows what our own tables do not
            return images.decode_page(path, page)
        except DataError:
            raise _broken(path, error) from error


@contextmanager
def _tables(path: Path) -> Iterator[tuple[mmap.mmap, list[tiff_pages.Page]]]:
    """The file, mapped, and its pages. Raises `ValueError` for whatever is no readable TIFF file."""
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError("it is no TIFF file")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            pages = tiff_pages.pages(data)
            if not pages:
                raise ValueError("it has no page")
            yield data, pages
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(
        "A TIFF file must be whole, and made in a way that is known here.",
        file=path,
        received={"problem": str(error)},
        cure="Copy it again from its source, or save it uncompressed.",
    )


def _five_bands(image: np.ndarray) -> bytes:
    """A little GeoTIFF of `(height, width, bands)` uint16, in projected metres."""
    height, width, bands = image.shape
    keys, scale, bits = (1, 1, 0, 1, 1024, 0, 1, 1), (0.25, 0.5, 0.0), (16,) * bands
    extra = struct.pack("<3d", *scale) + struct.pack("<8H", *keys) + struct.pack(f"<{bands}H", *bits)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, bands, 40), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8 + len(extra)), (277, 3, 1, bands), (278, 4, 1, height), (279, 4, 1, image.nbytes)]
    tags += [(33550, 12, 3, 0), (34735, 3, 8, 24)]
    tags = [(t, k, n, 8 + v if t in (258, 33550, 34735) else v) for t, k, n, v in tags]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    body = extra + image.astype("<u2").tobytes()
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + table
