"""HDF5 files with an `image` and a `label` in each: every plane is a sample, grouped by patient.

The patient is told by the file's name. A file may hold one plane, one volume `(planes, height, width)` or a stack of
colour images `(planes, height, width, channels)`.
Links to other files, external and virtual storage are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_mask, ordered, path_id
from segnosis.data.readers.naming import split_of_folder, volume_group

PRIORITY = 40
LOOKS_FOR = "HDF5 files `*.h5` with the data sets `image` and `label` (or `mask`)"
RANDOM_ACCESS = True
SUFFIXES = (".h5", ".hdf5", ".hdf")
_IMAGES = ("image", "images", "img", "imgs", "raw", "data", "x", "volume", "scan")
_MASKS = (
    "label",
    "labels",
    "mask",
    "masks",
    "seg",
    "segmentation",
    "gt",
    "ground_truth",
    "groundtruth",
    "target",
    "annotation",
    "y",
)


def recognise(folder: Folder) -> str | None:
    """The first readable HDF5 file holds an image and a mask by name."""
    names = _names(folder)
    if names is None:
        return None
    image, mask, others = names
    count = sum(1 for _ in folder.paths(SUFFIXES))
    other = f"; `{'`, `'.join(others)}` is not used" if others else ""
    return f"{count} HDF5 files, each with `{image}` as the image and `{mask}` as the mask{other}"


def index(folder: Folder) -> Index:
    """One entry per file; its planes become samples."""
    names = _names(folder)
    assert names is not None, "index() is called on what recognise() has recognised"
    rows = []
    for path in folder.paths(SUFFIXES):
        name = path_id(path).rsplit("/", 1)[-1]
        split = next((s for part in (*path.split("/")[:-1], name) if (s := split_of_folder(part))), None)
        rows.append(Entry(path, path, name, volume_group(name), split, _planes(folder.root / path)))
    alone = len(rows) == 1
    planes = sum(max(row.slices, 1) for row in rows)
    groups = len({row.group for row in rows})
    saw = f"{recognise(folder)}; {planes} planes"
    saw += ", taken as independent images since they are in one file" if alone else f" of {groups} patients"
    return Index(
        ordered(rows, grouped=True),
        saw,
        group_by=None if alone or groups == planes else "patient",
        files=tuple(folder.paths((".txt", ".csv", ".json"))),
    )


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """Planes `(planes, height, width[, channels])`, or the one plane `k`."""
    return _read(root / entry.image_file, 0, k, entry.slices)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """Planes `(planes, height, width)`, or the one plane `k`."""
    return _read(root / str(entry.mask_file), 1, k, entry.slices)


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype of the image data set."""
    path = root / entry.image_file
    with _open(path) as file:
        image = file[_roles(file)[0] or ""]
        rank = len(image.shape) - bool(entry.slices)
        return (int(image.shape[-1]) if rank == 3 else 1), "uint8" if image.dtype == np.uint8 else "float32"


def image_planes(root: Path, file: str, *, channels: int | None = None) -> int:
    """Planes of a volume that has no mask; 0 for a single plane or a file that cannot be read."""
    try:
        with _open(root / file) as data:
            image = _roles(data)[0]
            shape: tuple[int, ...] = data[image].shape if image else ()
            return int(shape[0]) if len(shape) == 4 or (len(shape) == 3 and shape[2] > 4) else 0
    except DataError:
        return 0


def write_mask(path: Path, planes: np.ndarray, like: Path) -> Path:
    """Write predicted planes as the data set `label` of a new file."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("label", data=np.asarray(planes, dtype=np.uint8), compression="gzip")
    return path


def write_probabilities(path: Path, planes: np.ndarray, like: Path) -> Path:
    """Write `(planes, height, width, num_classes)` as the data set `probabilities` of a new file."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("probabilities", data=np.asarray(planes, dtype=np.float32), compression="gzip")
    return path


def example(root: Path) -> tuple[Truth, ...]:
    """Three patients in two frames, three planes each, with a scribble that is not used."""
    import h5py

    truths = []
    for patient in range(3):
        for frame in (1, 12):
            seed = patient * 20 + frame
            image = np.random.default_rng(seed).random((3, 16, 20)).astype(np.float32)
            mask = np.stack([example_mask(seed + k, 4, (16, 20)) for k in range(3)])
            name = f"patient{patient:03d}_frame{frame:02d}"
            with h5py.File(root / f"{name}.h5", "w") as file:
                file["image"], file["label"], file["scribble"] = image, mask, np.full_like(mask, 4)
            truths += [
                Truth(f"{name}_plane{k:03d}", f"patient{patient:03d}", image[k][..., None], mask[k]) for k in range(3)
            ]
    return tuple(truths)


def _names(folder: Folder) -> tuple[str, str, list[str]] | None:
    if "hdf5" not in folder.memo:
        found = None
        for path in sorted(folder.paths(SUFFIXES))[:8]:
            try:
                with _open(folder.root / path) as file:
                    image, mask = _roles(file)
                    if image and mask:
                        found = (image, mask, sorted(name for name in file if name not in (image, mask)))
                        break
            except DataError:
                continue
        folder.memo["hdf5"] = found
    return folder.memo["hdf5"]  # type: ignore[return-value]


def _roles(file: Any) -> tuple[str | None, str | None]:
    import h5py

    local = {}
    for name in file:
        if isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Dataset):
            local[name.lower()] = name
    image = next((local[name] for name in _IMAGES if name in local), None)
    return image, next((local[name] for name in _MASKS if name in local), None)


def _read(path: Path, role: int, k: int | None, slices: int) -> np.ndarray:
    with _open(path) as file:
        roles = _roles(file)
        name = roles[role]
        if name is None:
            raise DataError(
                f"Each HDF5 file has {'an image' if role == 0 else 'a mask'} of its own.",
                file=path,
                received={"data sets": sorted(file)},
                cure=f"Name it `{(_IMAGES, _MASKS)[role][0]}`; links to other files are not followed.",
            )
        data = file[name]
        if data.external or data.is_virtual:
            raise DataError(
                "The arrays of an HDF5 file lie in the file itself.",
                file=path,
                received={"data set": name, "problem": "external or virtual storage"},
                cure="Copy the arrays into the file.",
            )
        expected = 2 + bool(slices)
        if (
            data.dtype.kind not in "buif"
            or len(data.shape) not in (expected, expected + 1)
            or (role == 1 and len(data.shape) > expected and data.shape[-1] != 1)
        ):
            raise DataError(
                "An HDF5 image is an array of numbers (planes, height, width) with a mask of the same planes.",
                file=path,
                received={"data set": name, "shape": data.shape, "dtype": str(data.dtype)},
                cure="Save it as (planes, height, width), colours last.",
            )
        flat = role == 1 and len(data.shape) == expected + 1
        if slices and data.shape[0] != slices:
            raise DataError(
                "An image and its mask have the same planes.",
                file=path,
                received={"data set": name, "planes": data.shape[0], "planes of the mask": slices},
                cure="Pair the mask with the volume it was drawn on.",
            )
        array = np.asarray(data[()] if k is None else data[k])
        return array[..., 0] if flat else array


def _planes(path: Path) -> int:
    """Planes of the mask; 0 for a single plane, or for a file that cannot be read: the reading tells the error."""
    try:
        with _open(path) as file:
            mask = _roles(file)[1]
            shape: tuple[int, ...] = file[mask].shape if mask else ()
            single = len(shape) == 3 and shape[2] == 1 and len(file[_roles(file)[0] or mask].shape) == 2
            return int(shape[0]) if len(shape) in (3, 4) and not single else 0
    except DataError:
        return 0


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    import h5py

    try:
        file = h5py.File(path, "r")
    except Exception as error:  # h5py raises OSError, KeyError or RuntimeError on damaged files
        raise _broken(path, error) from error
    try:
        with file:
            yield file
    except DataError:
        raise
    except Exception as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(
        "An HDF5 file must be whole and readable.",
        file=path,
        received={"problem": f"{type(error).__name__}: {error}"},
        cure="Copy it again from its source, or remove it.",
    )
