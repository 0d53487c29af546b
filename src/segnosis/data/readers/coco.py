"""COCO annotations: JSON files of polygons or run lengths per object, with the images in folders beside them.

Category ids become class ids in their order, from 1 on; 0 is what belongs to no object. Objects are painted from the
largest to the smallest, so that what lies upon another stays to be seen; a crowd (`iscrowd`) is no class and is painted
first. A pixel belongs to a polygon when its centre lies inside.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers import images, json_records
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_image, join, ordered, path_id
from segnosis.data.readers.masks_drawn import Patch, compressed_runs, cropped, paint, polygon, runs
from segnosis.data.readers.naming import split_of_folder, tokens

PRIORITY = 12
LOOKS_FOR = "COCO annotations: `*.json` with `images`, `annotations` of polygons or run lengths, and `categories`"
IGNORE = 255
_LISTS = ("images", "annotations", "categories")
_MOST_CLASSES = 254
_MOST_FILES = 64
_ENDS = 1 << 16


@dataclass
class _File:
    """What one JSON file holds: image and category records, and per image where its annotations are written."""

    path: str
    images: dict[Any, dict[str, Any]] = field(default_factory=dict)
    categories: dict[int, dict[str, Any]] = field(default_factory=dict)
    annotations: dict[Any, list[tuple[int, int, int, int]]] = field(default_factory=dict)
    boxes_alone: int = 0


def recognise(folder: Folder) -> str | None:
    """A JSON file below the root starts as COCO's do."""
    files = _files(folder)
    return f"COCO annotations in {', '.join(f'`{path}`' for path in files[:4])}" if files else None


def index(folder: Folder) -> Index:
    """One entry per image that a JSON file lists and that is there."""
    files = [_read(folder, path) for path in _files(folder)]
    class_of, names = _classes(folder, files)
    rows: list[Entry] = []
    missing: list[str] = []
    for file in files:
        split = _split(file.path)
        below = _folders(folder, file.path, split)
        for image_id, record in file.images.items():
            name = str(record["file_name"])
            image = folder.inside(name, told_by=file.path, below=below) or _by_name(folder, name)
            if image is None:
                missing.append(name)
                continue
            height, width = int(record.get("height") or 0), int(record.get("width") or 0)
            objects = (
                f"{IGNORE if crowd else class_of[category]}:{start}:{end}"
                for category, crowd, start, end in file.annotations.get(image_id, ())
                if category in class_of
            )
            id = path_id(image).rsplit("/", 1)[-1]
            rows.append(Entry(image, file.path, id, id, split, key=" ".join((f"{height}:{width}", *objects))))
    if not rows:
        raise DataError(
            "COCO annotations list images by `file_name`, which lie in a folder of the data set.",
            file=folder.root / files[0].path,
            received={"images listed": len(missing), "first": missing[0] if missing else None, "found": 0},
            cure="Put the images beside the JSON file, or into `images/`.",
        )
    count = sum(len(spans) for file in files for spans in file.annotations.values())
    saw = f"{recognise(folder)}: {count} objects of {len(names) - 1} categories in {len(rows)} images"
    if missing:
        saw += f"; {len(missing)} listed images are not there and left out, such as `{missing[0]}`"
    alone = sum(file.boxes_alone for file in files)
    saw += f"; {alone} annotations have a box but no outline and are left out" if alone else ""
    entries = _unique(folder, rows)
    return Index(entries, saw, class_names=names, ignore_value=IGNORE)


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """The picture, turned as the annotator saw it."""
    return images.decode_colour(root / entry.image_file, like=like)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """Class ids painted from the annotations, `(height, width)` uint8, crowds 255."""
    path = root / str(entry.mask_file)
    told, *objects = entry.key.split()
    height, width = map(int, told.split(":"))
    size = images.size(root / entry.image_file)
    if height and (height, width) not in (size, size[::-1]):
        raise DataError(
            "Annotations are drawn on an image of the size that they tell.",
            file=path,
            received={"image_file": entry.image_file, "told": (height, width), "image": size},
            cure="Export the annotations again for these images.",
        )
    size = (height, width) if height else size
    drawn = []
    for item in objects:
        class_id, start, end = map(int, item.split(":"))
        drawn.append((class_id, partial(_draw, path, start, end, size)))
    return paint(drawn, size, IGNORE)


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype from the header."""
    return images.kind(root / entry.image_file)


def example(root: Path) -> tuple[Truth, ...]:
    """Two splits: polygons with a hole in reach, both kinds of run lengths, a crowd, category ids with gaps."""
    from PIL import Image

    truths = []
    categories = [{"id": 3, "name": "cell"}, {"id": 7, "name": "größe"}]
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        data: dict[str, Any] = {"info": {"year": 2017}, "images": [], "annotations": [], "categories": categories}
        for i in range(2):
            name = f"{split} {i}.png"
            image = example_image(i + 10 * (split == "val"))
            Image.fromarray(image).save(root / split / name)
            data["images"].append({"id": i, "file_name": name, "height": 24, "width": 32})
            corners = [2.0, 3.0, 12.0, 3.0, 12.0, 15.0, 2.0, 15.0]
            crowd, dot = np.zeros((24, 32), bool), np.zeros((24, 32), bool)
            crowd[:, 28:], dot[5:8, 4 : 7 + i] = True, True
            for category, shape in (
                (3, [corners]),
                (7, {"size": [24, 32], "counts": _counts(dot)}),
                (3, {"size": [24, 32], "counts": _counts(crowd)}),
                (7, {"size": [24, 32], "counts": "d?2f00l6"}),
            ):
                is_crowd = int(category == 3 and isinstance(shape, dict))
                record = {"image_id": i, "category_id": category, "segmentation": shape, "iscrowd": is_crowd}
                data["annotations"].append({"id": len(data["annotations"]), **record})
            mask = np.zeros((24, 32), np.uint8)
            mask[crowd] = IGNORE
            mask[3:15, 2:12] = 1
            mask[dot] = mask[20:22, 20:22] = 2
            truths.append(Truth(f"{split} {i}", f"{split} {i}", image, mask, split))
        (root / split / "_annotations.coco.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return tuple(truths)


def _files(folder: Folder) -> list[str]:
    """The annotation files; where some are named `instances_…`, those of key points or captions beside them are not."""
    if "coco" not in folder.memo:
        found = []
        for name, files in folder.files.items():
            written = [join(name, file) for file in files if file.lower().endswith(".json")]
            if len(written) <= _MOST_FILES:  # more are files of one image each, which another reader knows
                found += [path for path in written if _looks_like_coco(folder.root / path)]
        named = [path for path in found if "instances" in path.rsplit("/", 1)[-1].lower()]
        folder.memo["coco"] = sorted(named or found)
    return folder.memo["coco"]  # type: ignore[return-value]


def _looks_like_coco(path: Path) -> bool:
    """By the words at the start and the end: the whole file is read by `index`."""
    try:
        with path.open("rb") as file:
            seen = file.read(_ENDS)
            file.seek(max(len(seen), file.seek(0, 2) - _ENDS))
            seen += file.read()
    except OSError:
        return False
    lists = b'"images"' in seen or b'"categories"' in seen
    return lists and b'"image_id"' in seen and (b'"segmentation"' in seen or b'"iscrowd"' in seen)


def _read(folder: Folder, path: str) -> _File:
    file = _File(path)

    def take(name: str, item: dict[str, Any], start: int, end: int) -> None:
        if name == "images":
            str(item["file_name"]), int(item.get("height") or 0), int(item.get("width") or 0)
            file.images[_hashable(item["id"])] = item
        elif name == "categories":
            file.categories[int(item["id"])] = item
        elif item.get("segmentation"):
            spans = file.annotations.setdefault(_hashable(item["image_id"]), [])
            spans.append((int(item["category_id"]), int(bool(item.get("iscrowd"))), start, end))
        else:
            file.boxes_alone += 1

    json_records.walk(folder.root / path, _LISTS, take)
    return file


def _hashable(value: Any) -> Any:
    if not isinstance(value, int | str):
        raise ValueError(f"an image's id is a number or a name, not {value!r:.40}")
    return value


def _classes(folder: Folder, files: list[_File]) -> tuple[dict[int, int], tuple[str, ...]]:
    """Category id → class id, the same in all files, and names by class id."""
    named: dict[int, str] = {}
    for file in files:
        for id, record in file.categories.items():
            name = str(record.get("name") or f"category {id}")
            if named.setdefault(id, name) != name:
                raise DataError(
                    "A category id means the same in all annotation files of a data set.",
                    file=folder.root / file.path,
                    received={"id": id, "name": name, "elsewhere": named[id]},
                    cure="Number the categories alike, or open each file's folder by itself.",
                )
    used = Counter(span[0] for file in files for spans in file.annotations.values() for span in spans)
    parents = {str(record.get("supercategory")) for file in files for record in file.categories.values()}
    # Roboflow writes the project's name as a category of its own, which no object has.
    ids = [id for id in sorted(set(named) | set(used)) if used[id] or id != 0 or named[0] not in parents]
    background = [id for id in ids if named.get(id, "").strip("_ ").lower() == "background"]
    class_of = dict.fromkeys(background, 0) | {
        id: number for number, id in enumerate((id for id in ids if id not in background), start=1)
    }
    if len(class_of) > _MOST_CLASSES:
        raise DataError(
            f"Masks hold at most {_MOST_CLASSES} classes.",
            file=folder.root / files[0].path,
            received={"categories": len(class_of)},
            cure="Merge categories in the annotation file.",
        )
    names = ["background", *(named.get(id, f"category {id}") for id in ids if id not in background)]
    return class_of, tuple(names)


def _split(path: str) -> str | None:
    """`train/x.json`, `instances_train2017.json`."""
    stem = path_id(path)
    for part in reversed(stem.split("/")):
        for word in (part, *part.replace("-", "_").split("_"), *tokens(part)):
            found = split_of_folder(word)
            if found:
                return found
    return None


def _folders(folder: Folder, path: str, split: str | None) -> list[str]:
    """Where the images of a JSON file may lie, likeliest first."""
    own = path.rpartition("/")[0]
    up = own.rpartition("/")[0]
    others = [name for name in folder.files if name not in (own, up, "")]
    same = [name for name in others if split and any(split_of_folder(part) == split for part in name.split("/"))]
    usual = [join(base, name) for base in (own, up) for name in ("images", "data", "JPEGImages")]
    return list(dict.fromkeys([own, *same, *usual, up, ""]))


def _by_name(folder: Folder, name: str) -> str | None:
    """The only file of that name, in whatever folder."""
    key = "coco names"
    if key not in folder.memo:
        places: dict[str, list[str]] = {}
        for path in folder.paths(images.SUFFIXES):
            places.setdefault(path.rsplit("/", 1)[-1], []).append(path)
        folder.memo[key] = places
    known: dict[str, list[str]] = folder.memo[key]  # type: ignore[assignment]
    found = known.get(name.replace("\\", "/").rsplit("/", 1)[-1], [])
    return found[0] if len(found) == 1 else None


def _unique(folder: Folder, rows: list[Entry]) -> tuple[Entry, ...]:
    """An image that two files list is one sample of the first; others keep apart by their folders."""
    first: dict[str, Entry] = {}
    for row in rows:
        known = first.setdefault(row.image_file, row)
        if known is not row:
            raise DataError(
                "Each image has its annotations in one file.",
                file=folder.root / row.image_file,
                received={"files": [known.mask_file, row.mask_file]},
                cure="Remove one of the annotation files.",
            )
    return ordered(first.values())


def _draw(path: Path, start: int, end: int, size: tuple[int, int]) -> list[Patch]:
    """The object whose annotation is written at these bytes of a file."""
    try:
        told = json_records.load_part(path, start, end)["segmentation"]
        if isinstance(told, list):
            parts = [told] if told and not isinstance(told[0], list) else told
            return [polygon(np.asarray(part, np.float64).reshape(-1, 2), size) for part in parts]
        if tuple(map(int, told["size"])) != size:
            raise ValueError(f"run lengths of {told['size']} in an image of {size}")
        counts = told["counts"]
        return [cropped(compressed_runs(counts, size) if isinstance(counts, str) else runs(counts, size))]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise json_records.broken(path, ValueError(f"annotation at byte {start}: {error}")) from error


def _counts(mask: np.ndarray) -> list[int]:
    """Run lengths of a mask down its columns, zeros first."""
    flat = mask.T.ravel()
    bounds = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    return [0] * bool(flat[0]) + np.diff(bounds).tolist()
