"""Opening a folder: the readers are asked in turn, and the one that recognises the layout says what it saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from segnosis.core import discovery
from segnosis.core.errors import ArgumentError, DataError, is_number
from segnosis.data.dataset import Dataset
from segnosis.data.readers.base import Entry, Folder, Index, Reader, ordered, path_id
from segnosis.data.readers.images import SUFFIXES
from segnosis.data.source import Source

_READERS = "segnosis.data.readers"
_FORMATS: dict[str, tuple[str, ...]] = {
    "nifti": (".nii", ".nii.gz"),
    "hdf5": (".h5", ".hdf5", ".hdf"),
    "dicom": (),
    "image_folders": SUFFIXES,
}
"""Reader → suffixes of the images that it reads without masks, none where it asks the files; the first is taken."""


def open(
    path: str | Path,
    *,
    reader: str | None = None,
    class_names: Sequence[str] | None = None,
    ignore_class: int | None = None,
    nan: float | None = None,
) -> Dataset:
    """Open a data set; the layout is recognised by itself.

    Args:
        path: Folder of the data set.
        reader: Name of a reader (`segnosis list readers`) to use instead of recognising the layout.
        class_names: Name per class, background first, where the files do not tell them.
        ignore_class: Stored mask value that is no class, where the files do not tell it.
        nan: Number that pixels of NaN or infinity are read as; when left out, an image with some is an error.

    Returns:
        The data set. No image has been decoded yet; class ids and channels are found when first asked for.

    Raises:
        DataError: The folder is missing or empty, its layout is not recognised, or images and masks do not pair.

    Example:
        >>> import tempfile
        >>> from segnosis.data.readers import image_folders
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     truths = image_folders.example(Path(folder))
        ...     data = open(folder)
        ...     len(data), data[0].image.shape, data.spec.class_names
        (6, (24, 32, 3), ('background', 'foreground'))
    """
    folder = Folder.look(_place(path))
    module = _load(reader) if reader else _recognise(folder)
    if module.recognise(folder) is None:
        raise _unknown(folder, [module])
    index = module.index(folder)
    names = tuple(class_names) if class_names else None
    return Dataset(Source(folder.root, module, index, names, ignore_class, _number(nan)))


def open_images(
    path: str | Path,
    *,
    without: str | Path | None = None,
    channels: int | None = None,
    nan: float | None = None,
) -> Dataset:
    """Open images to predict them, with and without masks: a data set, or images alone.

    Images alone are pictures, NIfTI, HDF5 or DICOM files. All are of one format; files of others lying beside are in
    the index's `left_out`.

    Args:
        path: Folder or file.
        without: Folder inside `path` that is left out: what was predicted before.
        channels: Of the images that the network takes. Where it is 1, a fourth axis of a volume without mask is that of
            time, its frames are predicted one by one; where it is more, files `NAME_0000`, `NAME_0001`, …, or
            `NAME_flair`, `NAME_t1`, … with the same words for every image, are channels of one image.
        nan: Number that pixels of NaN or infinity are read as; when left out, an image with some is an error.

    Raises:
        DataError: Nothing is there, or nothing that could be predicted.
    """
    where, nan = _place(path), _number(nan)
    if not where.exists():
        raise DataError(
            "Images to predict are a folder or a file.",
            file=where,
            received={"problem": "no such file or folder"},
            cure="Check the spelling of the path.",
        )
    single = where.name if where.is_file() else None
    if single:  # what lies beside it may be a whole home folder
        folder = Folder(where.parent.resolve(), {"": [single]})
    else:
        folder = Folder.look(where, without=None if without is None else Path(without))
        try:
            module = _recognise(folder)
            return _all_images(folder, module, channels, nan)
        except DataError:  # no masks there is the usual case; what is wrong with the images is told below
            pass
    formats = _formats(folder)
    for name, files in formats.items():
        module = _load(name)
        index = Index(
            ordered(_without_masks(folder, module, files, channels)),
            f"{len(files)} images without masks",
            left_out=tuple(file for other in formats if other != name for file in formats[other]),
        )
        return Dataset(Source(folder.root, module, index, nan=nan))
    raise DataError(
        "Images to predict are pictures, NIfTI, HDF5 or DICOM files.",
        file=where,
        received={"files": folder.count()},
        cure="Name a folder that holds some, or one such file.",
    )


def _place(path: str | Path) -> Path:
    if path == "":
        raise ArgumentError("Data has a path.", received={"path": path}, cure="Name a folder: `.` is this one.")
    return Path(path).expanduser()


def _all_images(folder: Folder, module: Reader, channels: int | None, nan: float | None) -> Dataset:
    """The images of a recognised layout, also those without a mask."""
    index = module.index(folder)
    rows = [*index.entries, *_without_masks(folder, module, index.alone, channels)]
    entries = ordered(rows, grouped=True) if index.alone else index.entries
    used = {file for row in entries for file in (row.image_file, row.mask_file)}
    others = [files for files in _formats(folder).values() if used.isdisjoint(files)]
    index = replace(index, entries=entries, left_out=tuple(file for files in others for file in files))
    return Dataset(Source(folder.root, module, index, nan=nan))


def _formats(folder: Folder) -> dict[str, list[str]]:
    """The files of each format that is there."""
    found = {
        name: sorted(folder.paths(suffixes)) if suffixes else cast(Any, _load(name)).image_files(folder)
        for name, suffixes in _FORMATS.items()
    }
    return {name: files for name, files in found.items() if files}


def _without_masks(folder: Folder, module: Any, files: Sequence[str], channels: int | None) -> list[Entry]:
    if not hasattr(module, "image_planes"):
        return [Entry(f, None, path_id(f).rsplit("/", 1)[-1], path_id(f)) for f in files]
    if hasattr(module, "together"):
        images = module.together(folder.root, files, channels)
    else:
        images = [(path_id(f), f) for f in files]
    rows = []
    for path, image in images:
        first = image if isinstance(image, str) else image[0]
        planes = module.image_planes(folder.root, first, channels=channels)
        rows.append(Entry(image, None, path.rsplit("/", 1)[-1], path, None, planes))
    return rows


def _recognise(folder: Folder) -> Reader:
    readers = sorted((_load(name) for name in discovery.names(_READERS)), key=lambda module: module.PRIORITY)
    for module in readers:
        if module.recognise(folder) is not None:
            return module
    raise _unknown(folder, readers)


def _number(nan: float | None) -> float | None:
    if nan is not None and not (is_number(nan) and math.isfinite(nan)):
        raise ArgumentError("`nan` is what pixels of no number are read as.", received={"nan": nan}, cure="Pass 0.")
    return None if nan is None else float(nan)


def _load(name: str) -> Reader:
    return cast(Reader, discovery.load(_READERS, name))


def _unknown(folder: Folder, readers: Sequence[Reader]) -> DataError:
    count = folder.count()
    pictures = sum(number for suffix, number in count.items() if suffix in SUFFIXES)
    found = ", ".join(f"{number} {suffix}" for suffix, number in list(count.items())[:6])
    places = sorted(folder.files)[:6]
    cure = "Put masks into a folder `masks/` beside a folder `images/`, each named as its image."
    if pictures and len(readers) > 1:
        cure = "No mask was found by name. " + cure
    if "hint" in folder.memo:
        cure = str(folder.memo["hint"])
    if folder.links_out:
        cure += f" {len(folder.links_out)} links lead out of the folder and are not followed."
    known = "that a reader knows (`segnosis list readers`)" if len(readers) > 1 else f"of: {readers[0].LOOKS_FOR}"
    return DataError(
        f"The files of a data set have a layout {known}.",
        file=folder.root,
        received={"files": found, "folders": places},
        cure=cure,
    )
