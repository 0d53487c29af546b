"""Reads a safetensors file of PyTorch weights: names and numbers, nothing that could run."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np

from segnosis.core.errors import DataError, MissingPackageError
from segnosis.models.weights.mapping import Layer, Source


def names(path: Path) -> frozenset[str]:
    """Names of the tensors in the file, from its header; none when it is no safetensors file."""
    if not path.is_file():
        return frozenset()
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= path.stat().st_size - 8:
            return frozenset()
        header = file.read(length)
    try:
        return frozenset(json.loads(header)) - {"__metadata__"} if header[:1] == b"{" else frozenset()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return frozenset()


def read(path: Path) -> dict[str, np.ndarray]:
    """Every tensor, without PyTorch's counters of batches, which nothing but its own training looks at."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise MissingPackageError("safetensors", purpose="reading safetensors", extra="weights") from error
    try:
        tensors = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, TypeError, KeyError) as error:
        raise DataError(
            "A safetensors file is whole, and holds numbers of a kind NumPy knows.",
            file=path,
            received={"problem": str(error)},
            cure="Get the file again; bfloat16 weights are saved once more as float32.",
        ) from error
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}


def kernel(array: np.ndarray) -> np.ndarray:
    """PyTorch's `(filters, channels, height, width)` → Keras' `(height, width, channels, filters)`."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def convolution(layer: Layer, prefix: str) -> dict[str, Source]:
    """The weights of a PyTorch convolution named `prefix`."""
    return {
        role: Source(f"{prefix}.weight", kernel) if role == "kernel" else Source(f"{prefix}.bias")
        for role in layer.roles
    }


def normalization(layer: Layer, prefix: str) -> dict[str, Source]:
    """The weights of a PyTorch batch normalization named `prefix`."""
    theirs = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    return {role: Source(f"{prefix}.{theirs[role]}") for role in layer.roles}


def either(layer: Layer, convolution_name: str, normalization_name: str) -> dict[str, Source]:
    """One or the other, by what the layer is."""
    if "gamma" in layer.roles:
        return normalization(layer, normalization_name)
    return convolution(layer, convolution_name)


def has(names_in_file: Collection[str], *needed: str) -> bool:
    """Whether all of `needed` are among the names."""
    return set(needed) <= set(names_in_file)
