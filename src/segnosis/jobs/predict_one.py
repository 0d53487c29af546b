"""One file predicted, in whatever process: its mask, and beside it what else was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.discovery import imported
from segnosis.core.errors import DataError
from segnosis.data.dataset import Dataset, harmonise
from segnosis.data.windows import TiffWindows, write_tiff
from segnosis.jobs.prediction_files import (
    TIFF,
    mask_file,
    overlay_file,
    probabilities_file,
    put,
    write_mask,
    write_overlay,
    write_probabilities,
)

if TYPE_CHECKING:
    from segnosis.training.postprocess import Postprocessing
    from segnosis.training.predict import Ensemble

LARGE = 1 << 24
"""Pixels of a TIFF from which on it is read and written by windows, where nothing is asked for that needs it whole."""
HUGE = 1 << 26
"""Pixels of a TIFF from which on it is never whole in memory."""


@dataclass(frozen=True)
class Settings:
    """How all files of a call are predicted; plain values, so that it travels to other processes.

    Attributes:
        runs: Run folders; several are an ensemble.
        probabilities, overlay: What is written beside the mask.
        mirror, scales, precision: As `segnosis.predict` takes them.
        postprocessing: `Postprocessing.to_json` as text.
    """

    runs: tuple[str, ...]
    probabilities: bool = False
    overlay: bool = False
    mirror: bool | None = None
    scales: tuple[float, ...] = (1.0,)
    precision: str | None = None
    postprocessing: str = "{}"


@dataclass(frozen=True)
class Task:
    """One file to predict.

    Attributes:
        images: A data set of that file alone.
        output: Folder for the mask.
        settings: How.
    """

    images: Dataset
    output: Path
    settings: Settings

    @property
    def target(self) -> Path:
        """Where the mask goes."""
        return mask_file(self.images, self.output)

    @property
    def id(self) -> str:
        """The image's name, as in `areas.csv`."""
        return self.images.source.index.entries[0].id


Told = tuple[str, str, int, float, float | str, str]
"""Image, class, pixels (voxels), their share, their area or volume, its unit: a line of `areas.csv`."""


class Done(NamedTuple):
    """What is told of a file that is predicted."""

    rows: list[Told]
    filled: bool
    """Whether it held NaN or infinity, read as the number that was told."""


def files_of(task: Task) -> list[Path]:
    """Every file that a task writes, the mask first."""
    target, settings = task.target, task.settings
    files = [target]
    if settings.probabilities:
        files.append(probabilities_file(task.images, target))
    if settings.overlay:
        files.append(overlay_file(target))
    return files


def predict_one(task: Task) -> Done | DataError:
    """Predict the file of `task` and write its mask, last of all; gives its areas, or what is wrong with the file."""
    source = task.images.source
    entry = source.index.entries[0]
    file, target = source.root / entry.image_file, task.target
    try:
        if not entry.slices and file.suffix.lower() in TIFF and (windows := _large(file, task.settings)) is not None:
            with windows:
                rows = _rows(task, _by_windows(task, windows, target))
        elif (planes := _planes(task)) is not None:
            rows = _rows(task, _by_planes(task, planes, file, target))
        else:
            rows = _rows(task, _whole(task, file, target))
        return Done(rows, bool(source.filled))
    except DataError as error:  # one bad file of a million is told at the end, when the others are done
        return error


def _whole(task: Task, file: Path, target: Path) -> np.ndarray:
    """Pixels per class of a file that fits in memory."""
    from segnosis.training import pictures

    settings, source = task.settings, task.images.source
    entry = source.index.entries[0]
    predictor, post, spec = ensemble(settings), _post(settings.postprocessing), spec_of(settings.runs[0])
    masks, kept, images = [], [], []
    for k in range(max(entry.slices, 1)):
        image = harmonise(source.image(entry, k if entry.slices else None), spec.channels, spec.dtype, file)
        found = predictor.probabilities(image)
        masks.append(post.decide(found))
        kept += [found] if settings.probabilities else []
        images += [image] if settings.overlay else []
    mask = post.shaped(np.stack(masks))
    if settings.probabilities:
        write_probabilities(task.images, target, np.stack(kept))
    if settings.overlay:
        shown = int(np.argmax([np.count_nonzero(plane) for plane in mask]))
        write_overlay(target, images[shown], mask[shown], spec.num_classes)
    write_mask(task.images, target, mask, pictures.palette(spec.num_classes))
    return np.bincount(mask.ravel(), minlength=spec.num_classes)


def _by_windows(task: Task, windows: TiffWindows, target: Path) -> np.ndarray:
    """Pixels per class of a TIFF that is never in memory as a whole."""
    from segnosis.training import pictures

    settings, post = task.settings, _post(task.settings.postprocessing)
    predictor, spec, source = ensemble(settings), spec_of(settings.runs[0]), task.images.source
    if asked := _needs_whole(settings):
        raise DataError(
            f"A TIFF of {HUGE >> 20} megapixels or more is predicted by windows, and never whole.",
            file=windows.path,
            received={"needs it whole": ", ".join(asked), "size": windows.size},
            cure="Leave that out for this image, or cut the image into smaller ones.",
        )
    counts = np.zeros(spec.num_classes, np.int64)

    def read(top: int, left: int, height: int, width: int) -> np.ndarray:
        pixels = source.fill(source.index.entries[0], windows.read(top, left, height, width))
        return harmonise(pixels, spec.channels, spec.dtype, windows.path)

    bands = _counted((post.decide(rows) for _, rows in predictor.rows(read, windows.size)), counts)
    put(target, lambda path: write_tiff(path, bands, windows.size, pictures.palette(spec.num_classes)))
    return counts


def _counted(masks: Iterator[np.ndarray], counts: np.ndarray) -> Iterator[np.ndarray]:
    """The masks as they come; their pixels are added to `counts`, `(num_classes,)`."""
    for mask in masks:
        counts += np.bincount(mask.ravel(), minlength=len(counts))
        yield mask


def _planes(task: Task) -> Iterator[np.ndarray] | None:
    """The planes of a volume that is not whole in memory: where its format can, and nothing asks for all of them."""
    source, settings = task.images.source, task.settings
    if settings.probabilities or settings.overlay or _post(settings.postprocessing).shapes:
        return None
    entry, reader = source.index.entries[0], source.reader
    return reader.read_planes(source.root, entry) if entry.slices and hasattr(reader, "read_planes") else None


def _by_planes(task: Task, planes: Iterator[np.ndarray], file: Path, target: Path) -> np.ndarray:
    """Pixels per class of a volume of which one plane at a time is in memory."""
    settings, source = task.settings, task.images.source
    predictor, post, spec = ensemble(settings), _post(settings.postprocessing), spec_of(settings.runs[0])
    counts = np.zeros(spec.num_classes, np.int64)

    def mask_of(plane: np.ndarray) -> np.ndarray:
        image = harmonise(source.fill(source.index.entries[0], plane), spec.channels, spec.dtype, file)
        return post.decide(predictor.probabilities(image))

    masks = _counted(map(mask_of, planes), counts)
    put(target, lambda path: cast(Any, source.reader).write_planes(path, masks, file))
    return counts


def _needs_whole(settings: Settings) -> list[str]:
    """What is asked for that no window can answer."""
    whole = {
        "--probabilities": settings.probabilities,
        "--overlay": settings.overlay,
        "--scales": settings.scales != (1.0,),
        "--postprocess with largest pieces or holes": _post(settings.postprocessing).shapes,
        "a run that stretches images": any(one.fit == "resize" for one in ensemble(settings).predictors),
    }
    return [name for name, is_asked in whole.items() if is_asked]


@lru_cache(maxsize=2)
def ensemble(settings: Settings) -> Ensemble:
    """The runs' models as their plans apply them, loaded once a process."""
    imported("keras")  # where its backend is missing, one error says so
    from segnosis.jobs.run import opened
    from segnosis.training.predict import Ensemble, Predictor

    changes: dict[str, Any] = {"scales": settings.scales}
    if settings.mirror is not None:
        changes["mirror"] = settings.mirror
    runs = [opened(folder) for folder in settings.runs]
    return Ensemble([Predictor.planned(r.plan, r.model(), precision=settings.precision, **changes) for r in runs])


@lru_cache(maxsize=2)
def _post(text: str) -> Postprocessing:
    from segnosis.training.postprocess import Postprocessing

    return Postprocessing.from_json(json.loads(text))


@lru_cache(maxsize=2)
def spec_of(run: str) -> DatasetSpec:
    """What the data set was that a run was trained on."""
    from segnosis.jobs.run import opened

    return opened(run).spec


def _large(file: Path, settings: Settings) -> TiffWindows | None:
    """The windows of a TIFF better not read whole; of others nothing, a damaged one is told when it is read."""
    try:
        windows = TiffWindows(file)
    except DataError:
        return None
    pixels = windows.size[0] * windows.size[1]
    # More pages may be bands of the same image, which only its reader knows.
    if pixels >= HUGE or (pixels >= LARGE and windows.pages == 1 and not _needs_whole(settings)):
        return windows
    windows.__exit__(None, None, None)
    return None


def _rows(task: Task, counts: np.ndarray) -> list[Told]:
    """Lines of `areas.csv`, in millimetres where the format knows the size of a pixel."""
    source = task.images.source
    entry, reader, names = source.index.entries[0], source.reader, spec_of(task.settings.runs[0]).class_names
    one, unit = None, ""
    if entry.slices and hasattr(reader, "affine"):
        one, unit = abs(float(np.linalg.det(reader.affine(source.root, entry)[:3, :3]))), "mm3"
    elif hasattr(reader, "spacing") and (spacing := reader.spacing(source.root, entry)) is not None:
        one, unit = spacing[0] * spacing[1], "mm2"
    total = int(counts.sum())
    return [
        (task.id, name, int(n), round(int(n) / total, 6), "" if one is None else round(int(n) * one, 3), unit)
        for name, n in zip(names, counts, strict=True)
    ]
