"""DeepLab's published TensorFlow checkpoints, with Xception-65 or MobileNetV2, by the names of the reference code."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from segnosis.core.errors import DataError, MissingPackageError
from segnosis.models.weights.mapping import Layer, Source

SAYS = "a TensorFlow checkpoint of the reference DeepLab"
BACKBONE = re.compile(r"^(xception_65|MobilenetV2)/")
CLASSIFIER = re.compile(r"^(xception_65/logits|MobilenetV2/(Conv_1|Logits|Predictions))/")
# What the training that wrote the checkpoint kept for itself.
_TRAINING = re.compile(r"^global_step$|/(Momentum|Adam(_1)?|ExponentialMovingAverage)$|^beta[12]_power$")

_XCEPTION = re.compile(r"(entry|middle|exit)_flow_(?:block(\d+)_unit(\d+)_)?(\w+)")
_MOBILENET = re.compile(r"(expanded_conv(?:_\d+)?)_(expand|depthwise|project)")
_ROLES = {"kernel": "weights", "bias": "biases"}


def recognises(path: Path) -> bool:
    """A checkpoint is a prefix with an index beside it; the index or a data file may be named too."""
    return _prefix(path).with_name(f"{_prefix(path).name}.index").is_file()


def read(path: Path) -> dict[str, np.ndarray]:
    """Every tensor by its name, without the state of the training."""
    try:
        # The format is TensorFlow's own, with its own compression; nothing else reads it in full.
        import tensorflow as tf
    except ImportError as error:
        raise MissingPackageError(
            "tensorflow", purpose="reading a TensorFlow checkpoint", extra="tensorflow"
        ) from error
    try:
        checkpoint = tf.train.load_checkpoint(str(_prefix(path)))
        names = sorted(checkpoint.get_variable_to_shape_map())
        return {name: checkpoint.get_tensor(name) for name in names if not _TRAINING.search(name)}
    except (ValueError, tf.errors.OpError) as error:
        raise DataError(
            "A TensorFlow checkpoint is an index and its data files, all beside each other.",
            file=path,
            received={"problem": str(error).splitlines()[0]},
            cure="Unpack the archive again, and name the prefix, as in `model.ckpt`.",
        ) from error


def sources(layer: Layer, names: Collection[str]) -> dict[str, Source]:
    """The reference's scopes: a normalization lies inside its convolution's, a separable convolution is two."""
    scope = _scope(layer)
    if scope is None:
        return {}
    if "gamma" in layer.roles:
        return {role: Source(f"{scope}/BatchNorm/{role}") for role in layer.roles}
    if scope.endswith("depthwise"):
        return {"kernel": Source(f"{scope}/depthwise_weights")}
    return {role: Source(f"{scope}/{_ROLES[role]}") for role in layer.roles if role in _ROLES}


def _scope(layer: Layer) -> str | None:
    name = layer.name.removesuffix("_norm")
    if not layer.in_backbone:
        if name == "logits":
            return "logits/semantic"
        return f"decoder/{name}" if name.startswith(("decoder_", "feature_projection")) else name
    if match := _XCEPTION.fullmatch(name):
        flow, block, unit, rest = match.groups()
        inside = f"block{block}/unit_{unit}/xception_module/{rest}" if block else rest
        return f"xception_65/{flow}_flow/{inside}"
    if name == "conv":
        return "MobilenetV2/Conv"
    if match := _MOBILENET.fullmatch(name):
        return "MobilenetV2/{}/{}".format(*match.groups())
    return None


def _prefix(path: Path) -> Path:
    return path.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name))
