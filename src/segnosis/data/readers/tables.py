"""What tables of encoded images (parquet, Arrow, TFRecord) share: which column is the image and which the mask."""

from __future__ import annotations

import io
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from segnosis.data.readers import images
from segnosis.data.readers.base import path_id
from segnosis.data.readers.naming import split_of_folder

IMAGES = ("image", "images", "img", "pixel_values", "photo", "picture", "input", "image_raw", "scan", "x")
MASKS = ("mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "segmentation_mask",
         "semantic_segmentation", "semantic_mask", "gt", "ground_truth", "target", "label_raw", "mask_raw",
         "conditioning_image", "y")  # fmt: skip
GROUPS = ("patient", "patient_id", "subject", "subject_id", "case", "case_id", "slide", "slide_id", "group", "video",
          "scene", "volume")  # fmt: skip


def pick(names: Collection[str], wanted: Collection[str]) -> str | None:
    """The column that is customarily named so, the likeliest first.

    Example:
        >>> pick(["Mask", "image", "id"], MASKS)
        'Mask'
    """
    known = {name.lower(): name for name in names}
    return next((known[word] for word in wanted if word in known), None)


def split_of(path: str) -> str | None:
    """The split that a shard's name or folder tells.

    Example:
        >>> split_of("data/train-00000-of-00002.parquet"), split_of("val/00.tfrecord"), split_of("x/shard-3.arrow")
        ('train', 'val', None)
    """
    words = (re.split(r"[-_.]", part)[0] for part in reversed(path_id(path).split("/")))
    return next((split for word in words if (split := split_of_folder(word))), None)


def mask_of(path: Path, data: bytes) -> np.ndarray:
    """A mask from its encoded bytes, as stored."""
    return images.decode(path, data=data)


def image_of(path: Path, data: bytes, like: tuple[int, int] | None = None) -> np.ndarray:
    """A picture from its encoded bytes."""
    return images.decode_colour(path, like=like, data=data)


def png(array: np.ndarray) -> bytes:
    """An array as a PNG file, for examples."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()
