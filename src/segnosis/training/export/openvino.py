"""OpenVINO's two files, `.xml` and `.bin`, for Intel processors, made from the ONNX file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segnosis.training.export import Call, onnx

if TYPE_CHECKING:
    import keras

SUFFIX = ".xml"
PACKAGES = ("openvino", *onnx.PACKAGES)
EXTRA = "openvino"


def write(model: keras.Model, path: Path, facts: Mapping[str, str]) -> None:
    """Write `model` in float32, with `facts` under `rt_info/segnosis`."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        onnx.write(model, Path(folder) / "model.onnx", facts)
        read = openvino.Core().read_model(Path(folder) / "model.onnx")
        for name, fact in facts.items():
            read.set_rt_info(fact, ["segnosis", name])
        openvino.save_model(read, path, compress_to_fp16=False)


def load(path: Path) -> Call:
    """The files in OpenVINO, on the processor and in float32: left alone, it computes in bfloat16 where it can."""
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: np.asarray(compiled([images])[0])
