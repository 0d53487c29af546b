"""One folder a sample, one mask file per object: `<id>/images/<id>.png`, `<id>/masks/*.png` (Data Science Bowl 2018).

The masks of a sample are united: a pixel is what any of its objects says it is.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers import images
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_image, example_mask, ordered
from segnosis.data.readers.naming import natural, role_of_folder, split_of_folder

PRIORITY = 10
LOOKS_FOR = "one folder a sample with `images/` and `masks/` (one mask file per object)"


def recognise(folder: Folder) -> str | None:
    """Samples are folders that hold a folder of one image and a folder of one or more masks."""
    found = _samples(folder)
    if not found:
        return None
    image, mask = found[0][1].rsplit("/", 2)[-2], found[0][2].rsplit("/", 1)[-1]
    masks = sum(len(folder.files.get(row[2], ())) for row in found)
    return (
        f"{len(found)} sample folders, each with one image in `{image}/`; {masks} masks of objects in `{mask}/`, united"
    )


def index(folder: Folder) -> Index:
    """One entry per sample folder."""
    rows = []
    for name, image, mask in _samples(folder):
        split = next((found for part in name.split("/")[:-1] if (found := split_of_folder(part))), None)
        id = name.rsplit("/", 1)[-1]
        rows.append(Entry(image, mask, id, id, split))
    return Index(ordered(rows), recognise(folder) or "")


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """The image as stored; alpha is kept here and dropped where a sample is made."""
    return images.decode_colour(root / entry.image_file, like=like)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """Maximum over the sample's object masks: 0 outside, the objects' own value (mostly 255) inside."""
    folder = root / str(entry.mask_file)
    union: np.ndarray | None = None
    try:
        names = sorted(item.name for item in os.scandir(folder) if _is_image(item.name))
    except OSError as error:
        raise DataError(
            "Every file of a data set must be there while it is read.",
            file=folder,
            received={"problem": error.strerror},
            cure="Put it back, or open the data set again.",
        ) from error
    for name in names:
        path = folder / name
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            continue
        mask = _plane(images.decode(path))
        if union is None:
            union = mask.copy()
        elif mask.shape != union.shape:
            raise DataError(
                "All object masks of a sample have one size.",
                file=path,
                received={"size": mask.shape, "size of the others": union.shape},
                cure="Export this mask again at the size of its image.",
            )
        else:
            np.maximum(union, mask, out=union)
    if union is None:
        raise DataError(
            "A sample has at least one mask.", file=folder, received={"masks": 0}, cure="Remove the sample."
        )
    return union


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype from the header."""
    return images.kind(root / entry.image_file)


def example(root: Path) -> tuple[Truth, ...]:
    """Four samples of RGBA images with one mask per object."""
    from PIL import Image

    truths = []
    for i in range(4):
        name = f"sample {i} é"
        (root / name / "images").mkdir(parents=True)
        (root / name / "masks").mkdir()
        image, mask = example_image(i, (24, 32, 4)), example_mask(i, classes=4)
        image[..., 3] = 255
        Image.fromarray(image).save(root / name / "images" / f"{name}.png")
        for k in range(1, 4):
            Image.fromarray(np.where(mask == k, 255, 0).astype(np.uint8)).save(root / name / "masks" / f"object{k}.png")
        truths.append(Truth(name, name, image[..., :3], (mask > 0).astype(np.uint8)))
    return tuple(truths)


def _samples(folder: Folder) -> list[tuple[str, str, str]]:
    """(sample folder, image file, mask folder), found once."""
    if "instance_folders" in folder.memo:
        return folder.memo["instance_folders"]  # type: ignore[return-value]
    roles: dict[str, dict[str, str]] = {}
    for name in folder.files:
        parent, _, last = name.rpartition("/")
        role = role_of_folder(last) if parent else None
        if role:
            roles.setdefault(parent, {})[role] = name
    found = []
    for parent, pair in roles.items():
        if len(pair) < 2:
            continue
        pictures = [name for name in folder.files[pair["image"]] if _is_image(name)]
        masks = [name for name in folder.files[pair["mask"]] if _is_image(name)]
        if len(pictures) == 1 and masks:
            found.append((parent, f"{pair['image']}/{pictures[0]}", pair["mask"]))
    several = any(len(folder.files[mask]) > 1 for _, _, mask in found)
    usual = len(found) >= 2 and several and 2 * len(found) > len([pair for pair in roles.values() if "image" in pair])
    found.sort(key=lambda row: natural(row[0]))
    folder.memo["instance_folders"] = found if usual else []
    return found if usual else []


def _is_image(name: str) -> bool:
    return name.lower().endswith(images.SUFFIXES) and not name.startswith(".")


def _plane(mask: np.ndarray) -> np.ndarray:
    if mask.ndim == 2:
        return mask
    return mask[..., 0] if mask.shape[2] == 2 else mask[..., :3].max(axis=2)
