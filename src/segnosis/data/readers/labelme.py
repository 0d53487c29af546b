"""LabelMe annotations: beside each image a JSON file of polygons, rectangles, circles or masks with a label each.

Labels become class ids in alphabetical order, from 1 on; `_background_` is 0 and `__ignore__` no class. Objects are
painted from the largest to the smallest. Lines and points have no area and are left out.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers import images, json_records
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_image, ordered, path_id
from segnosis.data.readers.masks_drawn import Patch, cropped, paint, polygon
from segnosis.data.readers.naming import groups_of, natural, split_of_folder

PRIORITY = 14
LOOKS_FOR = "LabelMe annotations: `a.json` with `shapes` and `imagePath` for each image"
IGNORE = 255
_MOST_CLASSES = 254
_AREAS = ("polygon", "rectangle", "circle", "mask")
_IGNORED = ("__ignore__", "_ignore_")


def recognise(folder: Folder) -> str | None:
    """One of the first JSON files has LabelMe's words."""
    files = sorted(folder.paths((".json",)))
    if any(_looks_like_labelme(folder.root / path) for path in files[:8]):
        return "LabelMe annotations, one JSON file of shapes per image"
    return None


def index(folder: Folder) -> Index:
    """One entry per JSON file of shapes; a damaged one is told when it is read."""
    labels: Counter[str] = Counter()
    without_area: Counter[str] = Counter()
    found: list[tuple[str, str]] = []
    missing: list[str] = []
    damaged: list[tuple[str, str]] = []
    for path in folder.paths((".json",)):
        try:
            told = _load(folder.root / path)
        except DataError:
            image = next((name for end in images.SUFFIXES if (name := _beside(folder, path, end))), None)
            damaged += [(image, path)] if image else []
            continue
        if "shapes" not in told:
            continue
        own = path.rpartition("/")[0]
        name = folder.inside(told["imagePath"], told_by=path, below=(own, f"{own}/images" if own else "images", ""))
        name = name or next((near for end in images.SUFFIXES if (near := _beside(folder, path, end))), None)
        if name is None and not told.get("imageData"):
            missing.append(path)
            continue
        found.append((name or path, path))
        for shape in told["shapes"]:
            kind = str(shape.get("shape_type") or "polygon")
            (labels if kind in _AREAS else without_area)[str(shape["label"]) if kind in _AREAS else kind] += 1
    names = _names(folder, labels)
    if not found:
        raise DataError(
            "A LabelMe file names its image by `imagePath`, relative to itself, or holds it.",
            file=folder.root / (missing[0] if missing else ""),
            received={"files whose image is missing": len(missing)},
            cure="Put each image beside its JSON file.",
        )
    groups, group_by = groups_of([path_id(path) for _, path in found], [])
    rows = []
    key = json.dumps(names)  # one text, shared by all entries
    for (image, path), group in zip([*found, *damaged], [*groups, *(path for _, path in damaged)], strict=True):
        id = path_id(path).rsplit("/", 1)[-1]
        split = next((s for part in path.split("/")[:-1] if (s := split_of_folder(part))), None)
        rows.append(Entry(image, path, id, group if group_by else id, split, key=key))
    saw = f"{recognise(folder)}: {sum(labels.values())} shapes of {len(names) - 1} labels in {len(rows)} images"
    if without_area:
        saw += f"; without area and left out: {', '.join(f'{n} × {kind}' for kind, n in sorted(without_area.items()))}"
    if missing:
        saw += f"; {len(missing)} files whose image is missing are left out, such as `{missing[0]}`"
    return Index(
        ordered(rows, grouped=group_by is not None), saw, class_names=names, ignore_value=IGNORE, group_by=group_by
    )


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """The picture, from its own file or from within the JSON."""
    path = root / entry.image_file
    return images.decode_colour(path, like=like, data=_held(path) if entry.image_file == entry.mask_file else None)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """Class ids painted from the shapes, `(height, width)` uint8."""
    path = root / str(entry.mask_file)
    told = _load(path)
    try:
        size = int(told["imageHeight"]), int(told["imageWidth"])
        if entry.image_file != entry.mask_file:
            stored = images.size(root / entry.image_file)
        else:
            stored = images.decode(path, data=_held(path)).shape[:2]
        if size not in (stored, stored[::-1]):
            raise ValueError(f"shapes for an image of {size}, which has {stored}")
        class_of = {name: number for number, name in enumerate(json.loads(entry.key))} | dict.fromkeys(_IGNORED, IGNORE)
        drawn = []
        for shape in told["shapes"]:
            if str(shape.get("shape_type") or "polygon") in _AREAS and str(shape["label"]) in class_of:
                drawn.append((class_of[str(shape["label"])], partial(_draw, path, shape, size)))
        return paint(drawn, size, IGNORE)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise json_records.broken(path, error) from error


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype from the header."""
    path = root / entry.image_file
    return images.kind(path, data=_held(path) if entry.image_file == entry.mask_file else None)


def example(root: Path) -> tuple[Truth, ...]:
    """Four images with a rectangle, a polygon, a part to ignore and a point; the last image is within its file."""
    from PIL import Image

    truths = []
    for i in range(4):
        id, image = f"photo {i}", example_image(i)
        Image.fromarray(image).save(root / f"{id}.png")
        held = base64.b64encode((root / f"{id}.png").read_bytes()).decode() if i == 3 else None
        if held:
            (root / f"{id}.png").unlink()
        shapes = [
            {"label": "road", "points": [[1, 2], [11.0, 9.0]], "shape_type": "rectangle"},
            {"label": "car", "points": [[4, 4], [6, 4], [6, 6], [4, 6]], "shape_type": "polygon"},
            {"label": "__ignore__", "points": [[20, 10], [30, 10], [30, 20], [20, 20]], "shape_type": None},
            {"label": "car", "points": [[3, 3]], "shape_type": "point"},
        ]
        told = {"version": "5.0", "shapes": shapes, "imagePath": f"{id}.png", "imageData": held}
        (root / f"{id}.json").write_text(json.dumps({**told, "imageHeight": 24, "imageWidth": 32}))
        mask = np.zeros((24, 32), np.uint8)
        mask[10:20, 20:30] = IGNORE
        mask[2:9, 1:11] = 2
        mask[4:6, 4:6] = 1
        truths.append(Truth(id, id, image, mask))
    return tuple(truths)


def _looks_like_labelme(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            seen = file.read(1 << 16)
            file.seek(max(len(seen), file.seek(0, 2) - 4096))
            seen += file.read()
    except OSError:
        return False
    return b'"shapes"' in seen and b'"imagePath"' in seen


def _load(path: Path) -> dict[str, Any]:
    told = json_records.load(path)
    shapes = told.get("shapes", []) if isinstance(told, dict) else None
    named = isinstance(told, dict) and ("shapes" not in told or isinstance(told.get("imagePath"), str))
    if not named or not isinstance(shapes, list) or not all(isinstance(s, dict) and "label" in s for s in shapes):
        raise json_records.broken(path, ValueError("no object with `imagePath` and a list of `shapes` with labels"))
    return told


def _held(path: Path) -> bytes:
    try:
        return base64.b64decode(_load(path)["imageData"])
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        raise json_records.broken(path, error) from error


def _beside(folder: Folder, path: str, suffix: str) -> str | None:
    return folder.inside(path_id(path) + suffix, told_by=path)


def _names(folder: Folder, labels: Counter[str]) -> tuple[str, ...]:
    names = sorted((label for label in labels if label not in (*_IGNORED, "_background_")), key=natural)
    if len(names) > _MOST_CLASSES:
        raise DataError(
            f"Masks hold at most {_MOST_CLASSES} classes.",
            file=folder.root,
            received={"labels": len(names), "first": names[:6]},
            cure="Label objects by their class, and number them in `group_id`.",
        )
    return ("_background_" if "_background_" in labels else "background", *names)


def _draw(path: Path, shape: dict[str, Any], size: tuple[int, int]) -> list[Patch]:
    """The pixels of one shape."""
    points = np.asarray(shape["points"], np.float64).reshape(-1, 2)
    kind = str(shape.get("shape_type") or "polygon")
    if kind == "polygon":
        return [polygon(points, size)]
    if len(points) != 2 or not np.isfinite(points).all():
        raise ValueError(f"a {kind} of {len(points)} points instead of 2")
    if kind == "circle":
        angles = np.linspace(0, 2 * math.pi, 360, endpoint=False)
        radius = float(np.hypot(*(points[1] - points[0])))
        return [polygon(points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1), size)]
    (left, top), (right, bottom) = points.min(0), points.max(0)
    if kind == "rectangle":
        return [polygon(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), size)]
    stored = images.decode(path, data=base64.b64decode(shape["mask"]))
    pixels = (stored.reshape(*stored.shape[:2], -1) > 0).any(axis=2)
    if pixels.shape != (round(bottom - top) + 1, round(right - left) + 1):
        raise ValueError(f"a mask of {pixels.shape} for a box of {(round(bottom - top) + 1, round(right - left) + 1)}")
    whole = np.zeros(size, bool)
    y, x = round(top), round(left)
    if y < 0 or x < 0 or y >= size[0] or x >= size[1]:
        raise ValueError("a mask outside the image")
    part = whole[y : y + pixels.shape[0], x : x + pixels.shape[1]]
    part[...] = pixels[: part.shape[0], : part.shape[1]]
    return [cropped(whole)]
