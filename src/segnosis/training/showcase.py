"""Pictures of samples: the best, the median and the worst by score, and those whose masks are in doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from segnosis.core.errors import DataError
from segnosis.core.run_folder import RunFolder, write_bytes
from segnosis.core.sample import Sample
from segnosis.training import pictures
from segnosis.training.predict import Predictor

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset

_SIDE = 384
_REVIEWED = 6
"""Doubtful masks that are shown as pictures."""
_SHEET, _SHEET_SIDE = 8, 192
"""Samples on the sheet, and pixels of the longer side of each."""
_LEAST = 96
"""Pixels a side of what is shown around a doubtful region, at least."""


def choose(rows: list[dict[str, Any]], each: int = 2) -> list[tuple[str, dict[str, Any]]]:
    """`each` best, median and worst rows by foreground Dice; rows without foreground anywhere have none and are out.

    Example:
        >>> rows = [{"id": str(i), "foreground_dice": i / 10} for i in range(7)]
        >>> [(kind, row["id"]) for kind, row in choose(rows, each=1)]
        [('best', '6'), ('median', '3'), ('worst', '0')]
    """
    ranked = sorted(
        (row for row in rows if row["foreground_dice"] is not None),
        key=lambda row: (-row["foreground_dice"], row["id"]),
    )
    if len(ranked) <= 3 * each:
        return [("held-out", row) for row in ranked]
    middle = (len(ranked) - each) // 2
    return [
        *(("best", row) for row in ranked[:each]),
        *(("median", row) for row in ranked[middle : middle + each]),
        *(("worst", row) for row in ranked[-each:]),
    ]


def save(folder: RunFolder, predictor: Predictor, dataset: Dataset, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write image, truth, prediction and error of the chosen samples into `pictures/`.

    Returns:
        One entry a sample: `kind`, `id`, `foreground_dice`, and the file names of its four pictures.
    """
    index = {name: position for position, name in enumerate(dataset.ids)}
    num_classes = dataset.spec.num_classes
    shown = []
    for number, (kind, row) in enumerate(choose(rows), start=1):
        made = _pictures(predictor, dataset[index[row["id"]]], num_classes)
        entry = {"kind": kind, "id": row["id"], "foreground_dice": row["foreground_dice"]}
        shown.append({**entry, "files": _written(folder, f"held-out-{number}", made)})
    return shown


def sheet(folder: RunFolder, dataset: Dataset) -> list[dict[str, str]]:
    """Write a few samples, spread over the data set, each with its mask laid over it, into `pictures/`.

    Returns:
        A row a sample: `id` and `file`; unreadable ones are left out.
    """
    rows: list[dict[str, str]] = []
    for index in sorted({round(k * (len(dataset) - 1) / (_SHEET - 1)) for k in range(_SHEET)} if len(dataset) else ()):
        try:
            sample = dataset[index]
        except DataError:
            continue  # told by the checks and counted among the scores
        if sample.mask is None:
            continue
        image = pictures.fitted(pictures.grey_or_colour(sample.image), _SHEET_SIDE)
        painted = pictures.paint(sample.mask.astype(np.int64), dataset.spec.num_classes)
        size = image.shape[1::-1]
        painted = cv2.resize(painted, size, interpolation=cv2.INTER_NEAREST)
        both = np.where(painted.any(axis=-1, keepdims=True), image * 0.5 + painted * 0.5, image).astype(np.uint8)
        file = folder.pictures / f"sample-{len(rows) + 1}.png"
        line = np.full((2, size[0], 3), 255, np.uint8)
        write_bytes(file, pictures.png(np.concatenate([image, line, both], axis=0)))
        rows.append({"id": sample.id, "file": file.name})
    return rows


def review(
    folder: RunFolder, predictor: Predictor, parts: Mapping[str, Dataset], doubts: dict[str, Any] | None
) -> None:
    """Write pictures of the surroundings of the most doubtful regions; their rows get `files`, as `save` names them.

    Args:
        folder: Run folder.
        predictor: What doubts.
        parts: The samples of each part of the data set.
        doubts: What `segnosis.training.measures.doubts.merged` returns.
    """
    for number, row in enumerate((doubts or {"listed": []})["listed"][:_REVIEWED], start=1):
        dataset = parts[row["part"]]
        made = _pictures(predictor, dataset[dataset.ids.index(row["id"])], dataset.spec.num_classes)
        rows, columns = _around(row["box"], made["image"].shape[:2])
        row["files"] = _written(folder, f"review-{number}", {name: made[name][rows, columns] for name in made})


def _around(box: Sequence[int], size: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a square about three times a box, moved to lie inside an image where one fits."""
    side = max(_LEAST, 3 * max(box[2:]))
    cut = []
    for start, length, whole in zip(box[:2], box[2:], size, strict=True):
        first = max(0, min(start + length // 2 - side // 2, whole - side))
        cut.append(slice(first, min(whole, first + side)))
    return cut[0], cut[1]


def _pictures(predictor: Predictor, sample: Sample, num_classes: int) -> dict[str, np.ndarray]:
    """Image, truth, prediction and error of a sample with a mask."""
    assert sample.mask is not None, "only scored samples are shown"
    guess, truth = predictor.mask(sample.image), sample.mask.astype(np.int64)
    return {
        "image": pictures.grey_or_colour(sample.image),
        "truth": pictures.paint(truth, num_classes),
        "prediction": pictures.paint(guess, num_classes),
        "error": pictures.error(truth, guess, num_classes),
    }


def _written(folder: RunFolder, stem: str, made: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Names of the files that the pictures were written to."""
    for name, picture in made.items():
        write_bytes(folder.pictures / f"{stem}-{name}.png", pictures.png(pictures.fitted(picture, _SIDE)))
    return {name: f"{stem}-{name}.png" for name in made}
