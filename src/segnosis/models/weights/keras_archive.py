"""A whole model that Keras saved, such as the `model.keras` of a run: its weights, by the names of its layers."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from segnosis.core.errors import DataError
from segnosis.models.weights import hdf5, keras_hdf5
from segnosis.models.weights.mapping import Layer, Source

SAYS = "a model that Keras saved (.keras), such as that of a run"
# Names in it do not tell which model they were nested in: what only a backbone is filled from may hold anything beside.
BACKBONE = re.compile(r"(?!)")
CLASSIFIER = keras_hdf5.CLASSIFIER

_WEIGHTS = "model.weights.h5"


def recognises(path: Path) -> bool:
    """A zip with Keras' file of weights in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return _WEIGHTS in archive.namelist()


def read(path: Path) -> dict[str, np.ndarray]:
    """`{"encoder1_conv1/0": array, …}`; the model's configuration is not looked at."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_WEIGHTS) as file:
            return keras_hdf5.plainly_named(hdf5.read(file))
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise DataError(
            "A `.keras` file is a zip with a file of weights in it.",
            file=path,
            received={"problem": str(error)},
            cure="Save the model again with `model.save`.",
        ) from error


def sources(layer: Layer, names: Collection[str]) -> dict[str, Source]:
    """As in a file of weights alone."""
    return keras_hdf5.sources(layer, names)
