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
_LIMITS = {"float32_lowest": np.finfo(np.float32).min, "float32_highest": np.finfo(np.float32).max}


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
    _mean_by_stages(graph)
    onnx.helper.set_model_props(stored, dict(facts))
    onnx.checker.check_model(stored)
    onnx.save(stored, path)


def load(path: Path) -> Call:
    """The file in onnxruntime, on the processor."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run(["logits"], {"image": images})[0])


def _mean_by_stages(graph: Any) -> None:
    """Take means over an axis at a time: the mean of equally many means, and told to the last digits.

    onnxruntime adds up one value after the other: of a dark picture's 196,608 pixels the variance is wrong in the third
    digit, and so is everything behind a standardization. OpenVINO does so too, and makes one of means that follow each
    other; a clip at the limits of float32, which changes nothing, keeps them apart.
    """
    from onnx import helper, numpy_helper

    constants = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    for name, limit in _LIMITS.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(limit), name))
    nodes = []
    for node in graph.node:
        axes = constants.get(node.input[1]) if node.op_type == "ReduceMean" and len(node.input) > 1 else None
        kept = [attribute for attribute in node.attribute if attribute.name == "keepdims"]
        if axes is None or len(axes) < 2 or not (kept and kept[0].i):
            nodes.append(node)
            continue
        before = node.input[0]
        for stage, axis in enumerate(axes):
            over, mean = f"{node.name}__axis{stage}", f"{node.output[0]}__stage{stage}"
            after = f"{mean}_apart" if stage + 1 < len(axes) else node.output[0]
            graph.initializer.append(numpy_helper.from_array(axis.reshape(1), over))
            reduced = helper.make_node("ReduceMean", [before, over], [mean], f"{node.name}__{stage}")
            reduced.attribute.extend(kept)
            nodes += [reduced, helper.make_node("Clip", [mean, *_LIMITS], [after], f"{node.name}__{stage}_apart")]
            before = after
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    left = [constant for constant in graph.initializer if constant.name in used]
    del graph.initializer[:]
    graph.initializer.extend(left)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
