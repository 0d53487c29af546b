"""The graph of a functional model, and what of it can be computed with less work to the same end."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import KerasTensor, layers

_LINEAR = keras.activations.linear
OUTPUT_CHANNELS = {
    # Axes of a kernel that make its output channels, and which weight that kernel is.
    layers.Conv2D: ((3,), 0),
    layers.Conv2DTranspose: ((2,), 0),
    layers.DepthwiseConv2D: ((2, 3), 0),
    layers.SeparableConv2D: ((3,), 1),
}


class Part(NamedTuple):
    """Channels of a convolution's input, and the tensor they come from; `doubled` where it is up-sampled on the way."""

    tensor: KerasTensor
    channels: slice
    doubled: bool


class Graph:
    """The nodes of one functional model in the order of computation, and what can be folded into what.

    Attributes:
        norms: BatchNormalization to fold, by its convolution's node.
        passed: Nodes whose output is their input: those BatchNormalizations.
        parts: Input of a convolution that takes up-sampled maps, by its node.
        skipped: Nodes that compute nothing any more: the up-samplings and concatenations before it.
    """

    def __init__(self, model: Any, *, normalization: bool, upsampling: bool) -> None:
        depths = sorted(model._nodes_by_depth, reverse=True)
        self.nodes = [node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input]
        self._maker = {id(tensor): node for node in self.nodes for tensor in node.outputs}
        self._uses = Counter(id(tensor) for node in self.nodes for tensor in node.input_tensors)
        self._uses.update(id(tensor) for tensor in model.outputs)
        self._calls = Counter(id(node.operation) for node in self.nodes)
        self.norms: dict[int, Any] = {}
        self.parts: dict[int, list[Part]] = {}
        self.passed: set[int] = set()
        self.skipped: set[int] = set()
        for node in self.nodes:
            if normalization and isinstance(node.operation, layers.BatchNormalization):
                self._find_norm(node)
            if upsampling and isinstance(node.operation, layers.Conv2D):
                self._find_doubled(node)

    def _find_norm(self, node: Any) -> None:
        maker = self._only(node.input_tensors[0])
        if maker is None or type(maker.operation) not in OUTPUT_CHANNELS or self._calls[id(node.operation)] > 1:
            return
        convolution, norm, axes = maker.operation, node.operation, len(node.input_tensors[0].shape)
        linear = convolution.activation is _LINEAR
        if linear and self._calls[id(convolution)] == 1 and norm.axis in (-1, axes - 1):
            self.norms[id(maker)] = norm
            self.passed.add(id(node))

    def _find_doubled(self, node: Any) -> None:
        layer = node.operation
        plain = layer.kernel_size == (3, 3) and layer.strides == layer.dilation_rate == (1, 1) and layer.groups == 1
        if not plain or layer.padding != "same" or self._calls[id(layer)] > 1 or type(layer) is not layers.Conv2D:
            return
        maker = self._only(node.input_tensors[0])
        joined = (
            maker is not None and isinstance(maker.operation, layers.Concatenate) and maker.operation.axis in (-1, 3)
        )
        parts, skipped, start = [], [], 0
        for tensor in maker.input_tensors if joined else node.input_tensors[:1]:
            up = self._only(tensor)
            doubled = up is not None and doubles(up.operation)
            channels = slice(start, start := start + tensor.shape[-1])
            parts.append(Part(up.input_tensors[0] if doubled else tensor, channels, doubled))
            skipped += [id(up)] if doubled else []
        if skipped:
            self.parts[id(node)] = parts
            self.skipped.update(skipped, [id(maker)] if joined else [])

    def _only(self, tensor: KerasTensor) -> Any:
        """The node that makes `tensor`, where nothing else uses it."""
        return self._maker.get(id(tensor)) if self._uses[id(tensor)] == 1 else None


def doubling(kernel: np.ndarray) -> np.ndarray:
    """The 4×4 kernel that does in one transposed convolution what doubling and `kernel` `(3, 3, in, out)` do in two.

    A row of the doubled map falls on one of the small map's rows twice; its products are summed beforehand.
    """
    sums = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)
    return np.einsum("ai,bj,ijcf->abfc", sums, sums, kernel).astype(np.float32)


def doubles(layer: Any) -> bool:
    """Whether every pixel becomes four alike."""
    return isinstance(layer, layers.UpSampling2D) and layer.size == (2, 2) and layer.interpolation == "nearest"
