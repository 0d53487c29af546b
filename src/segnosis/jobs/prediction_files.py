"""The files that a prediction becomes: each in the format its image came in, and in place only when it is whole."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segnosis.core.errors import RunError
from segnosis.data.dataset import Dataset
from segnosis.data.windows import write_tiff

TIFF = (".tif", ".tiff")


def mask_file(images: Dataset, output: Path) -> Path:
    """Where the mask of the one image in `images` goes: its name, in a format that holds what it came in."""
    source = images.source
    entry = source.index.entries[0]
    name = Path(entry.image_file).name.lower()
    if entry.slices and hasattr(source.reader, "write_mask"):
        return output / (entry.id + (".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix))
    return output / (entry.id + (".tif" if entry.slices or name.endswith(TIFF) else ".png"))


def probabilities_file(images: Dataset, target: Path) -> Path:
    """Beside the mask `target`: in the volume's own format, or a TIFF."""
    suffix = ".nii.gz" if target.name.endswith(".nii.gz") else target.suffix
    own = hasattr(images.source.reader, "write_probabilities")
    return _beside(target, f".probabilities{suffix if own else '.tif'}")


def overlay_file(target: Path) -> Path:
    """Beside the mask `target`."""
    return _beside(target, ".overlay.png")


def write_mask(images: Dataset, target: Path, mask: np.ndarray, colours: np.ndarray) -> None:
    """Write the mask, `(planes, height, width)`, of the one image in `images`; `colours` is a table for viewers."""
    source = images.source
    entry, reader = source.index.entries[0], source.reader
    if target.suffix == ".png":
        put(target, lambda path: path.write_bytes(_png(mask[0], colours)))
    elif entry.slices and hasattr(reader, "write_mask"):
        put(target, lambda path: reader.write_mask(path, mask, source.root / entry.image_file))
    elif len(mask) == 1:
        put(target, lambda path: write_tiff(path, mask, mask.shape[1:], colours))
    else:
        put(target, lambda path: _tiff(path, mask))


def write_probabilities(images: Dataset, target: Path, found: np.ndarray) -> None:
    """`(planes, height, width, num_classes)`, in the volume's own format or as a TIFF with a page a class."""
    source, file = images.source, probabilities_file(images, target)
    reader: Any = source.reader
    if hasattr(reader, "write_probabilities"):
        like = source.root / source.index.entries[0].image_file
        put(file, lambda path: reader.write_probabilities(path, found, like))
        return
    pages = np.moveaxis(found, -1, 1)
    put(file, lambda path: _tiff(path, pages[0] if len(pages) == 1 else pages))


def write_overlay(target: Path, image: np.ndarray, mask: np.ndarray, num_classes: int) -> None:
    """One plane of the mask, `(height, width)`, drawn over its image."""
    from segnosis.training import pictures

    shown = pictures.grey_or_colour(image).copy()
    found = mask > 0
    shown[found] = shown[found] // 2 + pictures.paint(mask, num_classes)[found] // 2
    picture = pictures.png(shown)
    put(overlay_file(target), lambda path: path.write_bytes(picture))


def put(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file of that name in a folder of its own, and put it in place when it is whole.

    Raises:
        RunError: The folder cannot be written, or is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as folder:
            made = Path(folder) / target.name
            write(made)
            made.replace(target)
    except OSError as error:
        raise RunError(
            "The output folder must be writable and have room.",
            received={"path": str(target), "problem": error.strerror or str(error)},
            cure="Free some space, or choose another folder with `-o`.",
        ) from error


def _beside(target: Path, ending: str) -> Path:
    stem = target.name.removesuffix(".gz")
    return target.with_name(stem.rsplit(".", 1)[0] + ending)


def _png(mask: np.ndarray, colours: np.ndarray) -> bytes:
    picture = Image.fromarray(mask)
    picture.putpalette(colours.ravel().tolist())
    out = io.BytesIO()
    picture.save(out, format="PNG", optimize=True)
    return out.getvalue()


def _tiff(path: Path, pages: np.ndarray) -> None:
    import tifffile

    tifffile.imwrite(path, pages, compression="zlib", photometric="minisblack", maxworkers=1)
