"""Plane images with masks of the same name, in parallel folders (`images/`, `masks/`) or side by side (`a_mask.png`).

Folders and files may be named in the field's many ways; what was paired with what is said in `saw`. Splits are taken
from folders named `train`, `val` and `test`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers import images
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_image, example_mask, join, ordered, path_id
from segnosis.data.readers.naming import (
    base_of_folder,
    groups_of,
    key_of,
    natural,
    preference,
    role_of_folder,
    split_of_folder,
)

PRIORITY = 90
LOOKS_FOR = (
    "parallel folders like `images/` and `masks/` (`label/`, `gt/`, `annotations/`, …), or `a.png` with `a_mask.png`"
)


@dataclass
class Found:
    """Pairs as (image, mask or masks), what kind of pairing, and who was left alone."""

    how: str = ""
    pairs: list[tuple[str, str | tuple[str, ...]]] = field(default_factory=list)
    images_alone: list[str] = field(default_factory=list)
    masks_alone: list[str] = field(default_factory=list)
    masks_seen: list[str] = field(default_factory=list)


def recognise(folder: Folder) -> str | None:
    """Some images have a mask by name."""
    found = pairs_by_name(folder)
    return found.how if found.pairs else None


def index(folder: Folder) -> Index:
    """One entry per image with a mask; images and masks alone are left out and counted in `saw`."""
    found = pairs_by_name(folder)
    saw = f"{len(found.pairs)} pairs: {found.how}"
    for what, alone in (("images without mask left out", found.images_alone), ("masks not used", found.masks_alone)):
        if alone:
            shown = ", ".join(f"`{name}`" for name in sorted(alone, key=natural)[:3])
            saw += f"; {len(alone)} {what}: {shown}{', …' if len(alone) > 3 else ''}"
    if folder.links_out:
        saw += f"; {len(folder.links_out)} links that lead out of the folder are not followed"
    folders = [image.rpartition("/")[0] for image, _ in found.pairs]
    places = {name: _place(name) for name in set(folders)}
    splits = {name: _split(name) for name in places}
    ids = [path_id(image) for image, _ in found.pairs]
    groups, group_by = groups_of(ids, [places[name] for name in folders])
    names = [id.rpartition("/")[2] for id in ids]
    told = groups if group_by is not None else names
    rows = [
        Entry(image, mask, id, group, splits[name])
        for (image, mask), id, group, name in zip(found.pairs, names, told, folders, strict=True)
    ]
    sidecars = tuple(path for path in folder.paths((".txt", ".csv", ".json")) if path.count("/") <= 1)
    return Index(
        ordered(rows, grouped=group_by is not None),
        saw,
        group_by=group_by,
        files=sidecars,
        alone=tuple(found.images_alone),
    )


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """The image as stored, palettes as colours."""
    return images.decode_colour(root / entry.image_file, like=like)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """The mask as stored: palettes as indices, several masks united."""
    if entry.mask is None or isinstance(entry.mask, str):
        return images.decode(root / str(entry.mask))
    masks = [images.decode(root / name) for name in entry.mask]
    if len({mask.shape for mask in masks}) > 1:
        raise DataError(
            "All masks of an image have one size.",
            file=root / entry.mask[0],
            received={"sizes": sorted({mask.shape for mask in masks})},
            cure="Export them again at the size of the image.",
        )
    return np.maximum.reduce(masks)


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype from the header."""
    return images.kind(root / entry.image_file)


def example(root: Path) -> tuple[Truth, ...]:
    """Six pairs in parallel folders, awkward names, 0/255 masks."""
    from PIL import Image

    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    truths = []
    for i, id in enumerate(("plain", "two words", 'it\'s "quoted"', "<script>alert(1)<", "größe", "a.b.c")):
        id = f"{id} {chr(97 + i)}"
        image, mask = example_image(i), example_mask(i)
        Image.fromarray(image).save(root / "images" / f"{id}.png")
        Image.fromarray(mask * 255).save(root / "masks" / f"{id}_mask.png")
        truths.append(Truth(id, id, image, mask))
    return tuple(sorted(truths, key=lambda truth: natural(truth.id)))


def pairs_by_name(folder: Folder) -> Found:
    """Which file is the mask of which, found once."""
    if "image_folders" not in folder.memo:
        kept = {
            name: [file for file in files if file.lower().endswith(images.SUFFIXES)]
            for name, files in folder.files.items()
        }
        kept = {name: files for name, files in kept.items() if files}
        parallel = _parallel(folder.root, kept)
        most = 4 * len(parallel.pairs) > sum(map(len, kept.values()))  # more than half of the files are paired already
        beside = Found() if most else _beside(kept)
        if not parallel.pairs and parallel.images_alone and parallel.masks_seen:
            image, mask = parallel.images_alone[0], parallel.masks_seen[0]
            folder.memo["hint"] = f"No mask has the name of its image: `{image}`, `{mask}`. Give both the same name."
        folder.memo["image_folders"] = parallel if len(parallel.pairs) >= len(beside.pairs) else beside
    return folder.memo["image_folders"]  # type: ignore[return-value]


def _parallel(root: Path, folders: dict[str, list[str]]) -> Found:
    roles = {name: _role(name) for name in folders}
    by_base: dict[str, list[str]] = defaultdict(list)
    for name, role in roles.items():
        if role == "mask":
            by_base[base_of_folder(name)].append(name)
    if not by_base:
        return Found()
    found, hows, used = Found(), [], set()
    all_masks = [name for names in by_base.values() for name in names]
    found.masks_seen = [join(name, min(folders[name])) for name in sorted(all_masks)[:1]]
    sources = [name for name, role in roles.items() if role == "image"]
    sources += [name for name, role in roles.items() if role is None and base_of_folder(name) in by_base]
    sources = sources or [name for name, role in roles.items() if role is None]
    for source in sorted(sources, key=natural):
        candidates = by_base.get(base_of_folder(source), [])
        if not candidates and len(all_masks) <= 40:
            split = _split(source)
            candidates = [name for name in all_masks if _split(name) == split] or all_masks
        scored = []
        for name in candidates:
            pairs = _match(folders[source], folders[name])
            if pairs:
                share = round(len(pairs) / min(len(folders[source]), len(folders[name])), 1)
                scored.append((preference(name), min(share, 1.0), name, pairs))
        if not scored:
            found.images_alone += [join(source, name) for name in folders[source]]
            continue
        best = max(share for _, share, _, _ in scored)
        scored = sorted((row for row in scored if row[1] >= best - 0.25), key=lambda row: (-row[0], -row[1], row[2]))
        if len(scored) > 1 and scored[0][:2] == scored[1][:2]:
            raise DataError(
                "One folder holds the masks of a folder of images.",
                file=root / source,
                received={"folders of masks that fit": [row[2] for row in scored]},
                cure="Move all but one of them out of the data set.",
            )
        _, _, target, pairs = scored[0]
        used.add(target)
        found.pairs += [
            (join(source, a), join(target, b) if isinstance(b, str) else tuple(join(target, c) for c in b))
            for a, b in pairs
        ]
        taken = {a for a, _ in pairs}
        found.images_alone += [join(source, name) for name in folders[source] if name not in taken]
        held = {name for _, b in pairs for name in ((b,) if isinstance(b, str) else b)}
        found.masks_alone += [
            join(target, name) for name in folders[target] if name not in held and preference(name) > -5
        ]
        hows.append((source or ".", target or "."))
    if hows:
        shown = ", ".join(f"`{a}/` with `{b}/`" for a, b in hows[:3]) + (
            f" and {len(hows) - 3} more" if len(hows) > 3 else ""
        )
        found.how = f"images in {shown}, paired by name"
    return found


def _beside(folders: dict[str, list[str]]) -> Found:
    found, example = Found(), None
    for name, files in sorted(folders.items(), key=lambda item: natural(item[0])):
        masks: dict[str, list[str]] = defaultdict(list)
        plain: dict[str, list[str]] = defaultdict(list)
        for file in files:
            key, role = key_of(path_id(file))
            (masks if role == "mask" else plain)[key].append(file)
        pairs: list[tuple[str, str | tuple[str, ...]]] = []
        for key, mine in plain.items():
            if key in masks:
                pairs.append((sorted(mine)[0], _choose(masks[key])))
        if not pairs:  # `a.jpg` the photograph, `a.png` its mask
            for mine in plain.values():
                photos = [file for file in mine if file.lower().endswith(images.LOSSY)]
                others = [file for file in mine if file.lower().endswith((".png", ".gif", ".bmp", ".tif", ".tiff"))]
                if len(photos) == 1 and len(others) == 1:
                    pairs.append((photos[0], others[0]))
        if not pairs:
            continue
        taken = {a for a, _ in pairs} | {c for _, b in pairs for c in ((b,) if isinstance(b, str) else b)}
        found.pairs += [
            (join(name, a), join(name, b) if isinstance(b, str) else tuple(join(name, c) for c in b)) for a, b in pairs
        ]
        found.images_alone += [join(name, file) for mine in plain.values() for file in mine if file not in taken]
        found.masks_alone += [
            join(name, file) for mine in masks.values() for file in mine if file not in taken and preference(file) > -5
        ]
        first = pairs[0][1] if isinstance(pairs[0][1], str) else pairs[0][1][0]
        example = example or (pairs[0][0], first)
    if example:
        found.how = f"images and masks beside each other, such as `{example[0]}` with `{example[1]}`"
    return found


def _keys(files: Iterable[str]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = defaultdict(list)
    for file in files:
        keys[key_of(path_id(file))[0]].append(file)
    return keys


def _match(mine: list[str], theirs: list[str]) -> list[tuple[str, str | tuple[str, ...]]]:
    """Pairs by equal stem where most stems are equal, else by key."""
    stems = {path_id(file): file for file in theirs}
    exact: list[tuple[str, str | tuple[str, ...]]] = [
        (file, stems[stem]) for file in mine if (stem := path_id(file)) in stems
    ]
    if 2 * len(exact) > min(len(mine), len(theirs)):
        return exact
    keys = _keys(theirs)
    by_key: list[tuple[str, str | tuple[str, ...]]] = [
        (files[0], _choose(keys[key])) for key, files in _keys(mine).items() if key in keys and len(files) == 1
    ]
    return by_key if len(by_key) > len(exact) else exact


def _choose(masks: list[str]) -> str | tuple[str, ...]:
    """The one mask of an image; numbered ones (`_mask`, `_mask_1`) are parts to be united."""
    best = max(map(preference, masks))
    masks = sorted((name for name in masks if preference(name) == best), key=natural)
    return masks[0] if len(masks) == 1 else tuple(masks)


def _role(path: str) -> str | None:
    return next((role for part in reversed(path.split("/")) if (role := role_of_folder(part))), None)


def _split(path: str) -> str | None:
    return next((split for part in path.split("/") if (split := split_of_folder(part))), None)


def _place(folder: str) -> str:
    """A folder below its role and split: a patient, a scene, a city."""
    return "/".join(part for part in folder.split("/") if not role_of_folder(part) and not split_of_folder(part))
