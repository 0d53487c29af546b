"""A U-Net of segmentation_models.pytorch with a ResNet encoder in safetensors.

It fits `unet(…, backbone="resnet34", width=16, head_kernel=3)`, whose decoder has the same 256-128-64-32-16 filters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import numpy as np

from segnosis.models.weights import safetensors_file
from segnosis.models.weights.mapping import Layer, Source
from segnosis.models.weights.torchvision import resnet_sources

SAYS = "safetensors of a U-Net of segmentation_models.pytorch with a ResNet encoder"
BACKBONE = re.compile(r"^encoder\.")
CLASSIFIER = re.compile(r"^encoder\.fc\.")
BUILT_AS = 'unet(…, backbone="resnet34", width=16, head_kernel=3)'
EPSILON = 1e-5  # PyTorch's

_DECODER = re.compile(r"decoder(\d)_(conv|norm)(\d)")
_DEPTH = 5


def recognises(path: Path) -> bool:
    """The names of the encoder's stem and of the decoder's first block."""
    return safetensors_file.has(safetensors_file.names(path), "encoder.conv1.weight", "decoder.blocks.0.conv1.0.weight")


def read(path: Path) -> dict[str, np.ndarray]:
    """`{"encoder.conv1.weight": array, …}`."""
    return safetensors_file.read(path)


def sources(layer: Layer, names: Collection[str]) -> dict[str, Source]:
    """Decoder blocks count from the coarsest there, and join the skip after, not before, what comes from below."""
    if layer.in_backbone:
        return resnet_sources(layer, "encoder.")
    if layer.name == "head":
        return safetensors_file.convolution(layer, "segmentation_head.0")
    match = _DECODER.fullmatch(layer.name)
    if match is None:
        return {}
    level, what, number = match.groups()
    prefix = f"decoder.blocks.{_DEPTH - int(level)}.conv{number}"
    if what == "norm":
        return safetensors_file.normalization(layer, f"{prefix}.1")
    if number == "1":
        return {"kernel": Source(f"{prefix}.0.weight", _joins_skip_first(layer))}
    return safetensors_file.convolution(layer, f"{prefix}.0")


def _joins_skip_first(layer: Layer) -> Callable[[np.ndarray], np.ndarray]:
    return partial(_moved, below=_channels_below(layer))


def _moved(array: np.ndarray, *, below: int) -> np.ndarray:
    kernel = safetensors_file.kernel(array)
    return np.concatenate([kernel[:, :, below:], kernel[:, :, :below]], axis=2)


def _channels_below(layer: Layer) -> int:
    """Channels that come from below: of the tensor that is joined with the skip, all of them where there is none."""
    source = layer.layer.input
    operation = source._keras_history.operation
    joined = operation.input
    return int(joined[-1].shape[-1]) if isinstance(joined, list) else int(source.shape[-1])
