"""nnU-Net and Medical Segmentation Decathlon: `imagesTr/`, `labelsTr/` and what `dataset.json` tells of them.

Channels are files `case_0000`, `case_0001`, … (nnU-Net) or the last axis (Decathlon), of NIfTI volumes or of pictures.
Class names come from `labels`; a label `ignore` is no class. Pairs that `training` lists are taken as listed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers import images, json_records, nifti
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_mask, join, ordered, path_id
from segnosis.data.readers.naming import groups_of, volume_group

PRIORITY = 18
LOOKS_FOR = "nnU-Net or Decathlon: `dataset.json` with `imagesTr/` and `labelsTr/`, of NIfTI volumes or pictures"
RANDOM_ACCESS = False
_VOLUMES = (".nii.gz", ".nii")
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_Found = tuple[str, dict[str, Any], list[Entry], list[str]]


def recognise(folder: Folder) -> str | None:
    """A `dataset.json` tells labels, and images and labels pair as it says."""
    found = _find(folder)
    if found is None:
        return None
    path, told, rows, _ = found
    kind = "Decathlon" if "training" in told and "file_ending" not in told else "nnU-Net"
    first = rows[0]
    channels = f" of {len(first.image)} files of channels" if isinstance(first.image, tuple) else ""
    return f"{kind}: `{path}` with {len(rows)} images{channels}, such as `{first.image_file}` with `{first.mask_file}`"


def index(folder: Folder) -> Index:
    """One entry per case with a label; planes of volumes become samples."""
    found = _find(folder)
    assert found is not None, "index() is called on what recognise() has recognised"
    _, told, rows, missing = found
    volumes = _is_volume(rows[0])
    if volumes:
        rows = [row._replace(slices=nifti.image_planes(folder.root, str(row.mask_file), channels=1)) for row in rows]
        group_by: str | None = "patient"
    else:
        groups, group_by = groups_of([row.id for row in rows], [])
        rows = [row._replace(group=group) for row, group in zip(rows, groups, strict=True)]
    names, ignore = label_names(told)
    saw = recognise(folder) or ""
    if volumes:
        planes, patients = sum(max(row.slices, 1) for row in rows), len({row.group for row in rows})
        saw += f"; {planes} planes of {patients} patients"
    if missing:
        saw += f"; {len(missing)} cases without image or label are left out, such as `{missing[0]}`"
    return Index(
        ordered(rows, grouped=group_by is not None), saw, class_names=names, ignore_value=ignore, group_by=group_by
    )


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """Planes of a volume, its plane `k`, or a picture; several files become channels."""
    if _is_volume(entry):
        return nifti.read_image(root, entry, k)
    files = (entry.image,) if isinstance(entry.image, str) else entry.image
    parts = [images.decode_colour(root / file, like=like) for file in files]
    if len({part.shape[:2] for part in parts}) > 1:
        raise DataError(
            "The pictures that are channels of one image have one size.",
            file=root / files[0],
            received={"sizes": sorted({part.shape[:2] for part in parts})},
            cure="Export them again on one grid.",
        )
    return parts[0] if len(parts) == 1 else np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], 2)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """Planes of a volume, its plane `k`, or a picture of class ids."""
    return nifti.read_mask(root, entry, k) if _is_volume(entry) else images.decode(root / str(entry.mask_file))


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype from the headers."""
    if _is_volume(entry):
        return nifti.image_kind(root, entry)
    kinds = [images.kind(root / file) for file in ((entry.image,) if isinstance(entry.image, str) else entry.image)]
    return sum(channels for channels, _ in kinds), max((dtype for _, dtype in kinds), key=lambda dtype: dtype[0] == "f")


def spacing(root: Path, entry: Entry) -> tuple[float, float] | None:
    """Millimetres between rows and between columns of a volume's plane."""
    return nifti.spacing(root, entry) if _is_volume(entry) else None


def affine(root: Path, entry: Entry) -> np.ndarray:
    """The volume's voxel → millimetre matrix, `(4, 4)`."""
    return nifti.affine(root, entry)


def write_mask(path: Path, planes: np.ndarray, like: Path) -> Path:
    """Write predicted planes as a volume on the grid of `like`."""
    return nifti.write_mask(path, planes, like)


def label_names(told: dict[str, Any]) -> tuple[tuple[str, ...], int | None]:
    """Names by class id, and the ignored value; no names where labels are regions of several values.

    Example:
        >>> label_names({"labels": {"background": 0, "liver": 1, "ignore": 2}})
        (('background', 'liver'), 2)
    """
    labels = told["labels"]
    try:
        by_value = all(str(key).isdecimal() for key in labels)
        named = {int(k if by_value else v): str(v if by_value else k) for k, v in labels.items()}
    except (ValueError, OverflowError, TypeError):  # a list of values is a region
        ignore = labels.get("ignore")
        return (), ignore if isinstance(ignore, int) else None
    ignored = next((value for value, name in named.items() if name.lower() == "ignore"), None)
    kept = {value: name for value, name in named.items() if value != ignored}
    return (tuple(kept[i] for i in range(len(kept))) if sorted(kept) == list(range(len(kept))) else ()), ignored


def example(root: Path) -> tuple[Truth, ...]:
    """Three cases of two channels, four planes each, three classes and a label to ignore."""
    import nibabel

    truths = []
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    told = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "edema": 1, "core": 2, "ignore": 3}}
    (root / "dataset.json").write_text(json.dumps({**told, "numTraining": 3, "file_ending": ".nii.gz"}))
    for case in range(3):
        grid = np.diag([1.25, 1.5, 8.0, 1.0])
        image = np.random.default_rng(case).normal(100, 20, (20, 16, 4, 2)).astype(np.float32)
        mask = np.stack([example_mask(10 * case + k, 4, (16, 20)).T for k in range(4)], axis=-1)
        for channel in range(2):
            file = root / "imagesTr" / f"brain_{case:03}_{channel:04}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(image[..., channel], grid), file)
        nibabel.save(nibabel.Nifti1Image(mask, grid), root / "labelsTr" / f"brain_{case:03}.nii.gz")
        for k in range(4):
            classes = np.where(mask[:, :, k].T == 3, 255, mask[:, :, k].T).astype(np.uint8)
            pixels = np.swapaxes(image[:, :, k], 0, 1)
            truths.append(Truth(f"brain_{case:03}_plane{k:03d}", f"brain_{case:03}", pixels, classes, "train"))
    return tuple(truths)


def _find(folder: Folder) -> _Found | None:
    """The first `dataset.json` that pairs something: its path, content, entries and the cases left out."""
    if "nnunet" not in folder.memo:
        folder.memo["nnunet"] = None
        for path in sorted(folder.paths(("dataset.json",)), key=lambda path: path.count("/")):
            try:
                told = json_records.load(folder.root / path)
            except DataError:
                continue
            if not isinstance(told, dict) or not isinstance(told.get("labels"), dict):
                continue
            listed = told.get("training")
            rows, missing = _listed(folder, path, listed) if isinstance(listed, list) else ([], [])
            if not rows:
                rows, missing = _by_name(folder, path.rpartition("/")[0])
            if rows:
                folder.memo["nnunet"] = path, told, rows, missing
                break
    return folder.memo["nnunet"]  # type: ignore[return-value]


def _listed(folder: Folder, path: str, listed: list[Any]) -> tuple[list[Entry], list[str]]:
    """What Decathlon's `training` lists: `{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}`."""
    rows: list[Entry] = []
    missing: list[str] = []
    for item in listed:
        if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in ("image", "label")):
            continue
        own = path.rpartition("/")[0]
        image, mask = (folder.inside(item[key], told_by=path, below=(own,)) for key in ("image", "label"))
        if image is None or mask is None:
            missing.append(item["image"])
            continue
        name = path_id(mask).rsplit("/", 1)[-1]
        rows.append(Entry(image, mask, name, volume_group(name), "train"))
    return rows, missing


def _by_name(folder: Folder, own: str) -> tuple[list[Entry], list[str]]:
    """What nnU-Net pairs: `imagesTr/case_0000.x`, `imagesTr/case_0001.x`, … with `labelsTr/case.x`."""
    rows: list[Entry] = []
    missing: list[str] = []
    for tail, split in (("Tr", "train"), ("Val", "val"), ("Ts", "test")):
        labels = {path_id(name): name for name in folder.files.get(join(own, f"labels{tail}"), ()) if _known(name)}
        channels: dict[str, list[str]] = {}
        for name in folder.files.get(join(own, f"images{tail}"), ()):
            if _known(name):
                numbered = _CHANNEL.fullmatch(path_id(name))
                channels.setdefault(numbered[1] if numbered else path_id(name), []).append(name)
        for case, label in labels.items():
            files = tuple(join(own, f"images{tail}/{name}") for name in sorted(channels.get(case, ())))
            if files:
                image = files[0] if len(files) == 1 else files
                rows.append(Entry(image, join(own, f"labels{tail}/{label}"), case, volume_group(case), split))
            else:
                missing.append(label)
        if labels:
            missing += [names[0] for case, names in channels.items() if case not in labels]
    return rows, missing


def _known(name: str) -> bool:
    return name.lower().endswith(_VOLUMES + images.SUFFIXES)


def _is_volume(entry: Entry) -> bool:
    return entry.image_file.lower().endswith(_VOLUMES)
