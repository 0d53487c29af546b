"""Reads what Keras wrote as HDF5: `{"layer/0": array, …}`, the weights of each layer in Keras' order.

Variable names differ between versions of Keras and carry suffixes, so layers are taken by name and their weights by
order, as Keras itself does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import h5py
import numpy as np

from segnosis.core.errors import DataError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def names(path: Path) -> set[str]:
    """Names of all weights in the file; none when it is no HDF5 file of Keras."""
    if not path.is_file():
        return set()
    with path.open("rb") as start:
        if start.read(8) != _SIGNATURE:
            return set()
    try:
        with h5py.File(path) as file:
            return {name for name, _ in _weights(file)}
    except (OSError, KeyError):
        return set()


def read(source: Path | IO[bytes]) -> dict[str, np.ndarray]:
    """Every weight of a file, which holds a whole model (`.h5`) or weights alone (`.h5`, `.weights.h5`)."""
    found: dict[str, np.ndarray] = {}
    try:
        with h5py.File(source) as file:
            for name, weight in _weights(file):
                if name in found:
                    raise KeyError(f"two layers are named {name.rsplit('/', 1)[0]!r}")
                found[name] = np.asarray(weight)
    except (OSError, KeyError) as error:
        raise DataError(
            "A file of Keras weights is HDF5 with a named group per layer, as Keras 2 and Keras 3 since 3.6 write it.",
            file=source.name,
            received={"problem": str(error)},
            cure="Get the file again, or load it into its own model once and save that with `model.save_weights`.",
        ) from error
    return found


def _weights(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    return _keras3(file) if "layers" in file else _legacy(file.get("model_weights", file))


def _legacy(file: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Keras 1 and 2, and whole models by Keras 3: a group per layer, its weights named in order in an attribute."""
    for layer in file.attrs["layer_names"]:
        layer = layer.decode() if isinstance(layer, bytes) else layer
        for index, weight in enumerate(file[layer].attrs["weight_names"]):
            yield f"{layer}/{index}", file[layer][weight]


def _keras3(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Keras 3's `.weights.h5`: groups after the class of each layer, the layer's own name in an attribute."""
    for key, inside in group.items():
        if key == "vars":
            for index in range(len(inside)):
                yield f"{inside.attrs['name']}/{index}", inside[str(index)]
        elif key != "optimizer" and isinstance(inside, h5py.Group):
            yield from _keras3(inside)
