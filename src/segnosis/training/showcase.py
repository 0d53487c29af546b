"""Pictures of held-out samples, chosen by score: the best, the median and the worst."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segnosis.core.run_folder import RunFolder, write_bytes
from segnosis.training import pictures
from segnosis.training.predict import Predictor

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset

_SIDE = 384


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
        sample = dataset[index[row["id"]]]
        if sample.mask is None:
            continue
        guess = predictor.mask(sample.image)
        truth = sample.mask.astype(np.int64)
        made = {
            "image": pictures.grey_or_colour(sample.image),
            "truth": pictures.paint(truth, num_classes),
            "prediction": pictures.paint(guess, num_classes),
            "error": pictures.error(truth, guess, num_classes),
        }
        entry = {"kind": kind, "id": row["id"], "foreground_dice": row["foreground_dice"], "files": {}}
        for name, picture in made.items():
            file = folder.pictures / f"held-out-{number}-{name}.png"
            write_bytes(file, pictures.png(pictures.fitted(picture, _SIDE)))
            entry["files"][name] = file.name
        shown.append(entry)
    return shown
