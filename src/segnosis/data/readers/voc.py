"""The PASCAL VOC devkit: `JPEGImages/`, `SegmentationClass/` and the split lists in `ImageSets/Segmentation/`.

Masks are palette files whose indices are the classes; 255, the white border around every object, is no class. The
classes are VOC's 21, unless a `classes.txt` beside `JPEGImages/` names your own, one a line, background first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers import images
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_mask, join, ordered, path_id

PRIORITY = 20
LOOKS_FOR = "a VOC devkit: `JPEGImages/`, `SegmentationClass/`, lists in `ImageSets/Segmentation/*.txt`"
# fmt: off
CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on
_MASKS = ("SegmentationClassAug", "SegmentationClassRaw", "SegmentationClass", "SegmentationClassPNG")
_SPLITS = {"train": "train", "val": "val", "test": "test"}


def recognise(folder: Folder) -> str | None:
    """Both folders of a devkit are there, beside each other."""
    found = _devkit(folder)
    if found is None:
        return None
    _, masks, lists = found
    told = "split lists " + ", ".join(f"`{name}.txt`" for name in sorted(lists)) if lists else "no split lists"
    return f"a PASCAL VOC devkit: `JPEGImages/` with `{masks}/`, {told}"


def index(folder: Folder) -> Index:
    """One entry per image that a split list names, or per image with a mask where there are no lists."""
    found = _devkit(folder)
    assert found is not None, "index() is called on what recognise() has recognised"
    top, masks, lists = found
    pictures = {path_id(name): name for name in folder.files.get(join(top, "JPEGImages"), ()) if images_named(name)}
    marks = {path_id(name): name for name in folder.files.get(join(top, masks), ()) if images_named(name)}
    split_of: dict[str, str | None] = {}
    for split in ("train", "val", "test", "trainval"):
        for name in lists.get(split, ()):
            split_of.setdefault(name, _SPLITS.get(split))
    listed = bool(split_of)
    if not listed:
        split_of = dict.fromkeys(name for name in pictures if name in marks)
    missing = [name for name in split_of if name not in pictures or name not in marks]
    names = [name for name in split_of if name in pictures and name in marks]
    if not names:
        raise DataError(
            "A VOC devkit pairs `JPEGImages/<id>.jpg` with a mask `<id>.png`.",
            file=folder.root / top,
            received={"images": len(pictures), "masks": len(marks), "ids in the lists": len(split_of) if listed else 0},
            cure="Give image and mask the same name, and write that name, without suffix, into the list.",
        )
    saw = f"{recognise(folder)}; {len(names)} pairs"
    if missing:
        shown = ", ".join(missing[:3])
        saw += (
            f"; {len(missing)} listed without image or mask are left out ({shown}{', …' if len(missing) > 3 else ''})"
        )
    rows = [
        Entry(join(join(top, "JPEGImages"), pictures[n]), join(join(top, masks), marks[n]), n, n, split_of[n])
        for n in names
    ]
    return Index(ordered(rows), saw, ignore_value=255, files=_sidecars(folder, top))


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """The photograph."""
    return images.decode_colour(root / entry.image_file, like=like)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """The palette's indices."""
    return images.decode(root / str(entry.mask_file))


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype from the header."""
    return images.kind(root / entry.image_file)


def example(root: Path) -> tuple[Truth, ...]:
    """Five pairs, three to train on: palette masks of 21 classes with 255 around an object."""
    from PIL import Image

    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    palette = np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8)
    truths = []
    for i in range(5):
        id, split = f"2007_00000{i}", "train" if i < 3 else "val"
        image, mask = np.full((24, 32, 3), 40 * i + 20, np.uint8), example_mask(i, classes=4) * 5
        mask[0, :] = 255
        Image.fromarray(image).save(root / "JPEGImages" / f"{id}.jpg", quality=95)
        stored = Image.fromarray(mask)
        stored.putpalette(palette.tobytes())
        stored.save(root / "SegmentationClass" / f"{id}.png")
        with (root / "ImageSets" / "Segmentation" / f"{split}.txt").open("a") as out:
            out.write(f"{id}\n")
        truths.append(Truth(id, id, image, mask, split))
    return tuple(truths)


def known_colours() -> dict[int, str]:
    """The customary colour of each class, packed: for masks that were saved as colours instead of palettes."""
    return {_colour(class_id): name for class_id, name in enumerate(CLASS_NAMES)}


def _colour(class_id: int) -> int:
    """The VOC colour map: bit 0, 3, 6 of the id make the high bits of red, 1, 4, 7 of green, 2, 5, 8 of blue."""
    red, green, blue = (sum((class_id >> (3 * j + channel) & 1) << (7 - j) for j in range(3)) for channel in range(3))
    return red << 16 | green << 8 | blue


def known_names(values: frozenset[int]) -> tuple[str, ...]:
    """The 20 objects' names when the stored `values` can be VOC's, else none."""
    return CLASS_NAMES if values and max(values) <= 20 and min(values) >= 0 and len(values) > 2 else ()


def images_named(name: str) -> bool:
    """Whether a file name is one of an image."""
    return name.lower().endswith(images.SUFFIXES)


def _devkit(folder: Folder) -> tuple[str, str, dict[str, list[str]]] | None:
    """(folder that holds the devkit, name of its mask folder, split lists)."""
    for name in folder.files:
        top, _, last = name.rpartition("/")
        if last != "JPEGImages":
            continue
        masks = next((mask for mask in _MASKS if join(top, mask) in folder.files), None)
        if masks is None:
            continue
        where = join(top, "ImageSets/Segmentation")
        lists = {}
        for file in folder.files.get(where, ()):
            if file.endswith(".txt"):
                lines = folder.text(f"{where}/{file}", limit=1 << 28).splitlines()
                lists[file[:-4]] = [line.split()[0] for line in lines if line.strip()]
        return top, masks, lists
    return None


def _sidecars(folder: Folder, top: str) -> tuple[str, ...]:
    return tuple(
        join(top, name) for name in folder.files.get(top, ()) if name.lower().endswith((".txt", ".csv", ".json"))
    )
