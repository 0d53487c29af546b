"""ONNX: one file for onnxruntime and everything else that reads it, with any batch, height and width."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segnosis.training.export import Call, _tensorflow

if TYPE_CHECKING:
    import keras

SUFFIX = ".onnx"
PACKAGES = ("tf2onnx", "onnx", "onnxruntime")
EXTRA = "onnx"
_AXES = ("batch", "height", "width", "channels")


def write(model: keras.Model, path: Path, facts: Mapping[str, str]) -> None:
    """Write `model` with the input `image` and the output `logits`; `facts` become the file's metadata."""
    _tensorflow.export(model, path, "onnx")
    import onnx

    stored = onnx.load(path)
    graph = stored.graph
    for value, name, shape in (
        (graph.input[0], "image", model.input_shape),
        (graph.output[0], "logits", model.output_shape),
    ):
        _rename(graph, value.name, name)
        sides = [axis if size is None else size for axis, size in zip(_AXES, shape, strict=True)]
        value.CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sides))
    onnx.helper.set_model_props(stored, dict(facts))
    onnx.checker.check_model(stored)
    onnx.save(stored, path)


def load(path: Path) -> Call:
    """The file in onnxruntime, on the processor."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run(["logits"], {"image": images})[0])


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
