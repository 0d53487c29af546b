"""Reading a training history from whatever keeps one: a Keras History, its dict, or a CSVLogger file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segnosis.core.errors import ArgumentError, DataError


def read_history(history: Any) -> dict[str, list[float]] | None:
    """Metric name → value per epoch.

    Args:
        history: `keras.callbacks.History`, its `.history`, the path of a file that `CSVLogger` wrote, or `None`.

    Example:
        >>> read_history({"loss": [1, 0.5], "val_loss": [1.1, 0.7]})
        {'loss': [1.0, 0.5], 'val_loss': [1.1, 0.7]}
    """
    if history is None:
        return None
    if isinstance(history, str | Path):
        return _read_csv(Path(history))
    values = getattr(history, "history", history)
    if not isinstance(values, Mapping):
        raise ArgumentError(
            "A history is a keras History, its dict of lists, or the path of a CSVLogger file.",
            received={"history": history},
            cure="Pass what `model.fit` returned.",
        )
    return {
        str(name): [float(value) for value in column]
        for name, column in values.items()
        if all(_is_number(value) for value in column)
    }


def _read_csv(path: Path) -> dict[str, list[float]]:
    if not path.is_file():
        raise DataError(
            "A history file is one that `keras.callbacks.CSVLogger` wrote.",
            file=path,
            received={"problem": "missing"},
            cure="Name the file given to `CSVLogger`.",
        )
    with path.open(encoding="utf-8", newline="") as lines:
        dialect = ";" if ";" in lines.readline() else ","
        lines.seek(0)
        rows = list(csv.DictReader(lines, delimiter=dialect))
    names = [name for name in (rows[0] if rows else {}) if name and name != "epoch"]
    if not names:
        raise DataError(
            "A history file has a header line and a line per epoch.",
            file=path,
            received={"epochs": len(rows)},
            cure="Name the file given to `CSVLogger`, after at least one epoch.",
        )
    return {name: [float(row[name]) for row in rows if _is_number(row[name])] for name in names}


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
