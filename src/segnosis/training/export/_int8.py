"""Eight-bit ONNX: convolutions on whole numbers, with ranges measured on images the model was trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def quantize(source: Path, target: Path, images: Sequence[np.ndarray]) -> None:
    """Write `source`, an ONNX file, again with its convolutions in int8; all but the first and the last one.

    Args:
        source: ONNX file with the input `image`.
        target: Where the smaller file goes.
        images: Batches `(batch, height, width, channels)` float32 of raw pixels; the ranges of all feature maps are
            those met on them.
    """
    import onnx
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):
        """Hands out `images` one after the other."""

        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"image": batch} for batch in self._left), None)

    convolutions = [node.name for node in onnx.load(source).graph.node if node.op_type == "Conv"]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends a preparation that the checked file does not need
    try:
        quantization.quantize_static(
            str(source),
            str(target),
            Images(),
            # Only convolutions: the arithmetic that pads to a multiple counts pixels, and must stay exact.
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[*convolutions[:1], *convolutions[-1:]],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    finally:
        logging.disable(before)
