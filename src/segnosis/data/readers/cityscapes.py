"""The layout of Cityscapes: `leftImg8bit/<split>/<city>/…_leftImg8bit.png` with `gtFine/…_gtFine_labelIds.png`.

Label ids become the 19 classes that the benchmark scores, everything else is ignored; masks of train ids are taken as
they are. Where other values occur (data of one's own in this layout), the masks are asked what they mean. The group is
the city's sequence.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from segnosis.data.labels import LabelScheme
from segnosis.data.readers import images
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_image, join, ordered
from segnosis.data.readers.naming import split_of_folder

PRIORITY = 16
LOOKS_FOR = "Cityscapes: `leftImg8bit/` with `gtFine/` (or `gtCoarse/`) and `*_labelIds.png` or `*_labelTrainIds.png`"
IGNORE = 255
# fmt: off
CLASS_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)
_SCORED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
# fmt: on
_LABEL_IDS = dict.fromkeys(range(-1, 34), IGNORE) | {label: i for i, label in enumerate(_SCORED)}
_TRAIN_IDS = {i: i for i in range(len(CLASS_NAMES))} | {IGNORE: IGNORE}
_IMAGE = re.compile(r"(.+)_leftImg8bit\.(?:png|jpe?g|webp)$", re.I)
_MASK = re.compile(r"(.+)_gt(Fine|Coarse)_label(TrainIds|Ids)\.png$", re.I)


def recognise(folder: Folder) -> str | None:
    """Images named `_leftImg8bit` have masks named `_gtFine_labelIds` or `_labelTrainIds`."""
    pairs, kind = _pairs(folder)
    return f"Cityscapes' layout: `leftImg8bit/` with masks `{kind}`" if pairs else None


def index(folder: Folder) -> Index:
    """One entry per image with a mask."""
    pairs, _ = _pairs(folder)
    rows = []
    for image, mask, name in pairs:
        split = next((found for part in image.split("/")[:-1] if (found := split_of_folder(part))), None)
        sequence = re.match(r"([^_]+_\d+)_\d+$", name)
        rows.append(Entry(image, mask, name, sequence[1] if sequence else name, split))
    grouped = len({row.group for row in rows}) < len(rows)
    if not grouped:
        rows = [row._replace(group=row.id) for row in rows]
    images_seen = sum(bool(_IMAGE.fullmatch(name)) for names in folder.files.values() for name in names)
    saw = f"{recognise(folder)}; {len(rows)} pairs"
    if images_seen > len(rows):
        saw += f"; {images_seen - len(rows)} images without mask left out"
    return Index(ordered(rows, grouped=grouped), saw, group_by="sequence" if grouped else None)


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """The street."""
    return images.decode_colour(root / entry.image_file, like=like)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """The ids as stored."""
    return images.decode(root / str(entry.mask_file))


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype from the header."""
    return images.kind(root / entry.image_file)


def known_values(values: frozenset[int]) -> LabelScheme | None:
    """The scheme of label ids or of train ids that `values` (255 left out) can be, if any."""
    if not values or min(values) < 0 or max(values) > 33:
        return None
    if len(values) >= 8 and max(values) < len(CLASS_NAMES):
        return LabelScheme(_TRAIN_IDS, CLASS_NAMES, IGNORE, says="values are Cityscapes' train ids, 255 is ignored")
    if max(values) < len(CLASS_NAMES) or 7 not in values:  # every street has a road
        return None
    says = "values are Cityscapes' label ids, of which the 19 scored ones are classes and the others ignored"
    return LabelScheme(_LABEL_IDS, CLASS_NAMES, IGNORE, says=says)


def example(root: Path) -> tuple[Truth, ...]:
    """Two cities, masks of label ids and of colours, of which the ids are taken."""
    from PIL import Image

    truths = []
    for i, (split, city) in enumerate((("train", "aachen"), ("train", "aachen"), ("train", "ulm"), ("val", "bonn"))):
        name = f"{city}_{i // 2:06}_{i:06}"
        places = [root / kind / split / city for kind in ("leftImg8bit", "gtFine")]
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        image, mask = example_image(i), np.full((24, 32), IGNORE, np.uint8)
        stored = np.full((24, 32), 3, np.uint8)
        for class_id in range(0, 19, 3):
            stored[class_id + i : class_id + i + 2] = _SCORED[class_id]
            mask[class_id + i : class_id + i + 2] = class_id
        Image.fromarray(image).save(places[0] / f"{name}_leftImg8bit.png")
        Image.fromarray(stored).save(places[1] / f"{name}_gtFine_labelIds.png")
        Image.fromarray(stored).save(places[1] / f"{name}_gtFine_instanceIds.png")
        Image.fromarray(example_image(i)).save(places[1] / f"{name}_gtFine_color.png")
        truths.append(Truth(name, f"{city}_{i // 2:06}", image, mask, split))
    return tuple(sorted(truths, key=lambda truth: truth.id))


def _pairs(folder: Folder) -> tuple[list[tuple[str, str, str]], str]:
    """(image, mask, name) of each image with a mask, and which masks were taken."""
    if "cityscapes" not in folder.memo:
        pictures: dict[str, str] = {}
        masks: dict[str, dict[str, str]] = {}
        for place, names in folder.files.items():
            for name in names:
                if image := _IMAGE.fullmatch(name):
                    pictures[image[1]] = join(place, name)
                elif mask := _MASK.fullmatch(name):
                    masks.setdefault(f"gt{mask[2].capitalize()}_label{mask[3]}", {})[mask[1]] = join(place, name)
        shared = {kind: len(pictures.keys() & known.keys()) for kind, known in masks.items()}
        kind = max(shared, key=lambda kind: (shared[kind], "Fine" in kind, "Train" in kind), default="")
        known = masks.get(kind, {})
        pairs = [(pictures[name], mask, name) for name, mask in known.items() if name in pictures]
        folder.memo["cityscapes"] = pairs, kind
    return folder.memo["cityscapes"]  # type: ignore[return-value]
