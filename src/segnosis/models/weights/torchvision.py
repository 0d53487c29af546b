"""torchvision's ResNet in safetensors, into the backbones `resnet18` to `resnet101`."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from segnosis.models.weights import safetensors_file
from segnosis.models.weights.mapping import Layer, Source

SAYS = "safetensors of torchvision's ResNet"
BACKBONE = re.compile(r"")
CLASSIFIER = re.compile(r"^fc\.")

_BLOCK = re.compile(r"layer(\d)_block(\d+)_(conv(\d)|shortcut)")


def recognises(path: Path) -> bool:
    """The names of the stem and of the first block."""
    return safetensors_file.has(safetensors_file.names(path), "conv1.weight", "layer1.0.conv1.weight")


def read(path: Path) -> dict[str, np.ndarray]:
    """`{"conv1.weight": array, …}`."""
    return safetensors_file.read(path)


def sources(layer: Layer, names: Collection[str]) -> dict[str, Source]:
    """Blocks are counted from 0 there, and the shortcut is a sequence of convolution and normalization."""
    return resnet_sources(layer, "") if layer.in_backbone else {}


def resnet_sources(layer: Layer, prefix: str) -> dict[str, Source]:
    """Sources of a layer of our ResNet whose names in the file begin with `prefix`."""
    name = layer.name.removesuffix("_norm")
    if name == "conv1":
        return safetensors_file.either(layer, f"{prefix}conv1", f"{prefix}bn1")
    match = _BLOCK.fullmatch(name)
    if match is None:
        return {}
    stage, block, part, number = match.groups()
    inside = f"{prefix}layer{stage}.{int(block) - 1}."
    if part == "shortcut":
        return safetensors_file.either(layer, f"{inside}downsample.0", f"{inside}downsample.1")
    return safetensors_file.either(layer, f"{inside}conv{number}", f"{inside}bn{number}")
