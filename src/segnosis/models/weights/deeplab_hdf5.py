"""The Keras community's HDF5 files of DeepLab v3+, Xception or MobileNetV2, made from the published checkpoints."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from segnosis.models.weights import hdf5
from segnosis.models.weights.mapping import Layer, Source

SAYS = "an HDF5 file of the Keras community's DeepLab v3+"
BACKBONE = re.compile(r"^(entry_flow|middle_flow|exit_flow|Conv(_BN)?/|expanded_conv)")
CLASSIFIER = re.compile(r"^(predictions|Logits)")


def recognises(path: Path) -> bool:
    """HDF5 with the head's layer, which no classifier has."""
    return "concat_projection/0" in hdf5.names(path)


def read(path: Path) -> dict[str, np.ndarray]:
    """`{"entry_flow_conv1_1/0": array, …}`."""
    return hdf5.read(path)


def sources(layer: Layer, names: Collection[str]) -> dict[str, Source]:
    """`_BN` for normalizations, blocks of one unit without its number, the middle flow without its block."""
    name = re.sub(r"_norm$", "_BN", layer.name)
    if layer.in_backbone:
        name = re.sub(r"^(entry|exit)_flow_(block\d+)_unit1_", r"\1_flow_\2_", name)
        name = re.sub(r"^middle_flow_block1_unit(\d+)_", r"middle_flow_unit_\1_", name)
        name = re.sub(r"^conv(?=_BN$|$)", "Conv", name)
    elif name == "logits":
        # `logits_semantic` for the published classes, else `custom_logits_semantic`.
        name = "custom_logits_semantic" if "custom_logits_semantic/0" in names else "logits_semantic"
    return {role: Source(f"{name}/{index}") for index, role in enumerate(layer.roles)}
