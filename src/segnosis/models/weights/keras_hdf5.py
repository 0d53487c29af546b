"""Files of keras.applications, and whatever else Keras saved from layers of the same names."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from segnosis.models.weights import hdf5
from segnosis.models.weights.mapping import Layer, Source

SAYS = "HDF5 of keras.applications, or of anything else that Keras saved (.h5 or .weights.h5)"
BACKBONE = re.compile(r"")
CLASSIFIER = re.compile(r"^(predictions|logits|conv_2|conv_1(_bn)?|\w+_head_(layernorm|dense))/")


def recognises(path: Path) -> bool:
    """Any HDF5 file of Keras but the community's DeepLab."""
    names = hdf5.names(path)
    return bool(names) and "concat_projection/0" not in names


def read(path: Path) -> dict[str, np.ndarray]:
    """`{"stem_conv/0": array, …}`."""
    return plainly_named(hdf5.read(path))


def plainly_named(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tensors, their layers named as Keras 3 names them."""
    found = {}
    for name, tensor in tensors.items():
        layer, index = name.rsplit("/", 1)
        found[f"{_plain(layer)}/{index}"] = tensor
    return found


def sources(layer: Layer, names: Collection[str]) -> dict[str, Source]:
    """A layer by its name; inside a `Sequential`, older files number its weights through under the outer name."""
    first = 0
    outer = layer.parents[-1] if layer.parents else ""
    known = (layer.name, _as_in_mobilenet_v2(layer.name), outer)
    name = next((name for name in map(_plain, known) if f"{name}/0" in names), _plain(layer.name))
    if name == _plain(outer):
        # ConvNeXt's: convolution then normalization in its stem, the reverse before its other stages; two weights each.
        first = 2 if ("layernorm" in layer.name) == outer.endswith("_stem") else 0
    return {role: Source(f"{name}/{first + index}") for index, role in enumerate(layer.roles)}


def _plain(name: str) -> str:
    """Keras 2 wrote `expanded_conv/squeeze_excite/Conv` and `Conv/BatchNorm`, and numbered what had no name."""
    name = name.lower().replace("/batchnorm", "_bn").replace("/", "_")
    return re.sub(r"^layer_normalization_\d+$", "layer_normalization", name)


def _as_in_mobilenet_v2(name: str) -> str:
    """Our MobileNetV2 has DeepLab's names; Keras calls the same layers otherwise."""
    if name in ("conv", "conv_norm"):
        return {"conv": "Conv1", "conv_norm": "bn_Conv1"}[name]
    return re.sub(r"^expanded_conv_(\d+)_", r"block_\1_", name.replace("_norm", "_BN"))
