"""NIfTI volumes: `*.nii.gz` with masks beside them (`_gt`, `_seg`, …) or in `labelsTr/`; every plane is a sample.

A volume's planes run along its slice axis, the one of the widest spacing. A plane is stored transposed, rows along the
second axis in plane, so that it is read without a copy. The group is the patient: the volume's
name without phase and frame.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers import nifti_volume
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_mask, ordered, path_id
from segnosis.data.readers.naming import key_of, preference, role_of_folder, split_of_folder, volume_group
from segnosis.data.readers.nifti_volume import as_planes, frames_of, in_order, opened, slice_axis, voxels

PRIORITY = 30
LOOKS_FOR = "NIfTI volumes `*.nii(.gz)` with masks named `_gt`, `_seg`, `_mask` or `label`, or in `labelsTr/`"
RANDOM_ACCESS = False
_SUFFIXES = (".nii.gz", ".nii")

write_mask = nifti_volume.write_mask
write_planes = nifti_volume.write_planes
write_probabilities = nifti_volume.write_probabilities


def recognise(folder: Folder) -> str | None:
    """There are NIfTI files, and some are masks of others."""
    if not any(True for _ in folder.paths(_SUFFIXES)):
        return None
    pairs, alone = _pairs(folder)
    if not pairs:
        return None
    image, mask = _last(_first(pairs[0][0])), _last(pairs[0][1])
    saw = f"{len(pairs)} NIfTI volumes paired with their masks by name, `{image}` with `{mask}`"
    return saw + (f"; {len(alone)} volumes without mask are left out" if alone else "")


def index(folder: Folder) -> Index:
    """One entry per volume; its planes become samples."""
    pairs, alone = _pairs(folder)
    rows = []
    for image, mask, name, split in pairs:
        planes = image_planes(folder.root, mask, channels=1)
        rows.append(Entry(image, mask, name, volume_group(name.rsplit("/", 1)[-1]), split, planes))
    names, ignore = _dataset_json(folder)
    number, patients = sum(max(row.slices, 1) for row in rows), len({row.group for row in rows})
    saw = f"{recognise(folder)}; {number} planes of {patients} patients"
    return Index(
        ordered(rows, grouped=True),
        saw,
        class_names=names,
        ignore_value=ignore,
        group_by="patient",
        files=tuple(path for path in folder.paths((".txt", ".csv", ".json"))),
        # Of several files an image, one alone is a channel, and no image.
        alone=tuple(alone) if all(isinstance(row.image, str) for row in rows) else (),
    )


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """Planes `(planes, height, width)` or `(planes, height, width, channels)`, or the one plane `k`."""
    files = (entry.image,) if isinstance(entry.image, str) else entry.image
    planes = []
    for file in files:
        image = opened(root / file)
        axis = slice_axis(image)
        planes.append(as_planes(voxels(root / file, image), axis, frames_of(image.shape, axis, entry.slices)))
    shapes = {plane.shape for plane in planes}
    if len(shapes) > 1:
        raise DataError(
            "The volumes that are channels of one image have one size.",
            file=root / files[0],
            received={"sizes": sorted(shapes)},
            cure="Resample them to one grid.",
        )
    whole = planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)
    if entry.slices and len(whole) != entry.slices:
        raise DataError(
            "A volume and its mask have the same planes.",
            file=root / files[0],
            received={"planes of the image": len(whole), "planes of the mask": entry.slices},
            cure="Pair the mask with the volume it was drawn on.",
        )
    return whole if k is None else whole[k]


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """Planes `(planes, height, width)` of stored values, whole numbers as integers; or the one plane `k`."""
    path = root / str(entry.mask_file)
    volume, axis = voxels(path, opened(path)), slice_axis(opened(root / entry.image_file))
    planes = as_planes(volume, axis, frames_of(volume.shape, axis, entry.slices))
    if planes.dtype.kind == "f":
        rounded = np.rint(planes)
        if np.array_equal(rounded, planes):  # a float header around whole numbers: the numbers are what is stored
            low, high = float(planes.min(initial=0)), float(planes.max(initial=0))
            planes = rounded.astype(np.uint8 if low >= 0 and high < 256 else np.int32)
    return planes if k is None else planes[k]


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels from the headers; volumes are float32."""
    if not isinstance(entry.image, str):
        return len(entry.image), "float32"
    image = opened(root / entry.image)
    in_time = frames_of(image.shape, slice_axis(image), entry.slices)
    return int(image.shape[3]) if len(image.shape) == 4 and not in_time else 1, "float32"


def image_planes(root: Path, file: str, *, channels: int | None = None) -> int:
    """Planes of a volume, those of all its frames where a fourth axis is that of time.

    It is where `channels` is 1: a mask has one, and so may have what a network takes. Else it is that of the channels.
    """
    try:
        image = opened(root / file)
        frames = image.shape[3] if len(image.shape) == 4 and channels == 1 else 1
        return int(image.shape[slice_axis(image)] * frames) if len(image.shape) > 2 else 1
    except DataError:  # told when it is read
        return 1


def together(root: Path, files: Sequence[str], channels: int | None) -> list[tuple[str, str | tuple[str, ...]]]:
    """Id of each image, and its file, or those of its `channels` where all of them are there.

    Channels are `x_0000`, `x_0001`, …, or, with the same words for every image, `x_flair`, `x_t1`, …: in the order of
    the words, as those with masks are.

    Example:
        >>> together(Path(), ["x_0000.nii", "x_0001.nii", "y_0000.nii"], 2)
        [('x', ('x_0000.nii', 'x_0001.nii')), ('y_0000', 'y_0000.nii')]
        >>> together(Path(), ["x_t1.nii", "x_flair.nii"], 2)
        [('x', ('x_flair.nii', 'x_t1.nii'))]
    """
    by_id = {path_id(file): file for file in files}
    found: list[tuple[str, str | tuple[str, ...]]] = []
    named: dict[str, dict[str, str]] = defaultdict(dict)
    for file in files:
        path = path_id(file)
        parts = [f"{path[:-5]}_{number:04d}" for number in range(channels or 0)]
        image, _, word = path.rpartition("_")
        if len(parts) > 1 and path in parts and all(part in by_id for part in parts):
            if path == parts[0]:
                found.append((path[:-5], tuple(by_id[part] for part in parts)))
            continue
        found.append((path, file))
        if len(parts) > 1 and image and not word.isdecimal() and not _has_channels(root / file):
            named[image][word] = file
    whole = {image: words for image, words in named.items() if len(words) == channels}
    if len({frozenset(words) for words in whole.values()}) != 1:
        return found
    joined = {file for words in whole.values() for file in words.values()}
    return [
        *((path, file) for path, file in found if file not in joined),
        *((image, tuple(words[word] for word in sorted(words))) for image, words in whole.items()),
    ]


def _has_channels(path: Path) -> bool:
    """Whether a volume has a fourth axis, and so is no channel of another."""
    try:
        shape = opened(path).shape
    except DataError:  # told when it is read
        return False
    return len(shape) > 3 and shape[3] > 1


def spacing(root: Path, entry: Entry) -> tuple[float, float] | None:
    """Millimetres between rows and between columns of a plane."""
    image = opened(root / entry.image_file)
    zooms = [float(z) for z in image.header.get_zooms()[:3]]
    columns, rows = [z for i, z in enumerate(zooms) if i != slice_axis(image)] if len(zooms) == 3 else zooms[:2]
    return (rows, columns) if rows > 0 and columns > 0 else None


def affine(root: Path, entry: Entry) -> np.ndarray:
    """The image's voxel → millimetre matrix, `(4, 4)`."""
    return np.asarray(opened(root / entry.image_file).affine, dtype=np.float64)


def read_planes(root: Path, entry: Entry) -> Iterator[np.ndarray] | None:
    """The planes of `read_image`, each read as it is asked for; `None` where they are not stored one after the other.

    They are where the slice axis is the last in space, in one file: a compressed one is read on from plane to plane.
    """
    path = root / entry.image_file
    image = opened(path, keep_file_open=True)
    if not isinstance(entry.image, str) or len(image.shape) < 3 or slice_axis(image) != 2:
        return None
    frames = frames_of(image.shape, 2, entry.slices)
    if entry.slices != image.shape[2] * max(frames, 1) or (len(image.shape) == 4 and not frames):
        return None

    return in_order(path, image, entry.slices, frames)


def example(root: Path) -> tuple[Truth, ...]:
    """Three patients in two phases, four planes each, rows and columns of different length and spacing."""
    import nibabel

    truths = []
    for patient in range(3):
        for phase in ("ED", "ES"):
            seed = patient * 10 + (phase == "ES")
            image = np.random.default_rng(seed).normal(100, 20, (20, 16, 4)).astype(np.float32)
            mask = np.stack([example_mask(seed + k, 4, (16, 20)).T for k in range(4)], axis=-1)
            grid = np.diag([1.25, 1.5, 8.0, 1.0])
            name = f"case{patient}_sa_{phase}"
            nibabel.save(nibabel.Nifti1Image(image, grid), root / f"{name}.nii.gz")
            nibabel.save(nibabel.Nifti1Image(mask, grid), root / f"{name}_gt.nii.gz")
            truths += [
                Truth(f"{name}_plane{k:03d}", f"case{patient}", image[:, :, k].T[..., None], mask[:, :, k].T)
                for k in range(4)
            ]
    return tuple(truths)


def _pairs(folder: Folder) -> tuple[list[tuple[tuple[str, ...] | str, str, str, str | None]], list[str]]:
    """((image file or files), mask file, id, split) of each volume with a mask, and those that have none."""
    if "nifti" in folder.memo:
        return folder.memo["nifti"]  # type: ignore[return-value]
    masks: dict[tuple[str, str], list[str]] = defaultdict(list)
    pictures: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in folder.paths(_SUFFIXES):
        where, _, _ = path.rpartition("/")
        stem = path_id(path).rsplit("/", 1)[-1]
        key, role = key_of(stem)
        places = where.split("/") if where else []
        place = next((told for part in reversed(places) if (told := role_of_folder(part))), None)
        if (
            place
        ):  # `imagesTr/x_0000.nii.gz`, `labelsTr/x.nii.gz`: the folder tells the role, and is not part of the key
            role, where = place, "/".join(part for part in places if role_of_folder(part) != place)
            tail = "/".join(str(split_of_folder(part)) for part in places if role_of_folder(part) == place)
            where = f"{where}|{tail}"
        base, _, channel = key.rpartition("_")
        if place == "image" and channel.isdecimal() and len(channel) == 4 and base:
            key = base
        (masks if role == "mask" else pictures)[(where, key)].append(path)
    found: list[tuple[tuple[str, ...] | str, str, str, str | None]] = []
    used: set[str] = set()
    for (where, key), files in sorted(masks.items()):
        images = pictures.get((where, key), [])
        if len(images) > 1 and not all(re.search(r"_\d{4}$", path_id(path)) for path in images):
            raise DataError(
                "A mask belongs to one volume, or to the channels `_0000`, `_0001`, … of one.",
                file=folder.root / files[0],
                received={"volumes of that name": sorted(images)},
                cure="Rename or remove all but one of them.",
            )
        if not images:  # `x_flair`, `x_t1`, `x_seg`: every other volume of the name is a channel
            images = [p for (w, k), paths in pictures.items() if w == where and k.startswith(key + "_") for p in paths]
        if not images:
            continue
        mask = max(sorted(files), key=preference)
        split = next((s for part in mask.split("/")[:-1] if (s := split_of_folder(part))), None)
        name = key or where.split("|")[0].rsplit("/", 1)[-1]
        used.update(images)
        found.append((images[0] if len(images) == 1 else tuple(sorted(images)), mask, name, split))
    alone = [path for paths in pictures.values() for path in paths if path not in used]
    folder.memo["nifti"] = (found, alone)
    return found, alone


def _dataset_json(folder: Folder) -> tuple[tuple[str, ...], int | None]:
    """Class names and ignored value of a `dataset.json` (Medical Segmentation Decathlon, nnU-Net)."""
    for path in folder.paths(("dataset.json",)):
        try:
            labels = dict(json.loads(folder.text(path)).get("labels", {}))
            named = {int(v): str(k) for k, v in labels.items()} if not all(str(k).isdecimal() for k in labels) else None
            named = named if named is not None else {int(k): str(v) for k, v in labels.items()}
        except (ValueError, OverflowError, TypeError, AttributeError):
            continue
        ignore = next((value for value, name in named.items() if name.lower() == "ignore"), None)
        named = {value: name for value, name in named.items() if value != ignore}
        if named and sorted(named) == list(range(len(named))):
            return tuple(named[i] for i in range(len(named))), ignore
    return (), None


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _first(files: str | tuple[str, ...]) -> str:
    return files if isinstance(files, str) else files[0]
