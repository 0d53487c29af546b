"""The same network with cheaper arithmetic while it trains, on any backend; nothing of it is saved.

The layers, their variables and the model are those of `segnosis.models`; only how a training step computes them
differs. Predictions, and the file that is saved, are Keras' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from segnosis.models.nodes import Graph, Part, doubling
from segnosis.training import kernels
from segnosis.training.recorder import TwoTermModel
from segnosis.training.stream import fed


class FasterModel(TwoTermModel):
    """A functional model that computes some of its layers another way while it trains, with the same result.

    - A nearest up-sampling in front of a 3×3 convolution becomes a 4×4 transposed convolution of stride 2: 16 products
      a pixel pair in place of 36. Its kernel is computed from that of the convolution at every step.
    - BatchNormalization is one operation in place of a dozen.
    - Kernels between many channels learn by products of matrices.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.autocast = False  # layers cast their own variables; sums of a kernel's products are float32

    def fit(self, x: Any, *, callbacks: Sequence[Any] = (), **settings: Any) -> Any:
        """Keras' fit on a feed."""
        batches, own = fed(x)
        return super().fit(batches, callbacks=[*own, *callbacks], **settings)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Keras' outputs."""
        if not training or not kernels.available():
            return super().call(inputs, training=training, mask=mask)
        return _run(self, inputs)


def _run(model: Any, inputs: Any) -> Any:
    """Outputs of a functional model, those nested in it unfolded."""
    graph = Graph(model, normalization=False, upsampling=True)
    tensors = {id(old): new for old, new in zip(model.inputs, keras.tree.flatten(inputs), strict=True)}
    for node in graph.nodes:
        if id(node) in graph.skipped:
            continue
        if id(node) in graph.parts:
            outputs = _split(node.operation, graph.parts[id(node)], tensors)
        else:
            outputs = _outputs(node.operation, *node.arguments.fill_in(tensors))
        tensors |= {id(o): new for o, new in zip(node.outputs, keras.tree.flatten(outputs), strict=True)}
    return keras.tree.map_structure(lambda tensor: tensors[id(tensor)], model._outputs_struct)


def _outputs(operation: Any, args: Any, kwargs: Any) -> Any:
    if kwargs.get("training") is None:  # else the network itself says whether this part learns
        if hasattr(operation, "_nodes_by_depth"):
            return _run(operation, *args)
        if type(operation) is layers.BatchNormalization and _fits(operation, *args):
            return _normalize(operation, *args)
        if type(operation) is layers.Conv2D and _learns_by_products(operation):
            return _convolve(operation, *args)
    return operation(*args, **kwargs)  # that this is training it knows from the context of the call


def _fits(norm: Any, x: Any) -> bool:
    """Whether TensorFlow's operation does what the layer does: statistics of the batch, per channel of an image."""
    plain = norm.trainable and norm.scale and norm.center and not norm.synchronized and not norm.renorm
    return plain and len(x.shape) == 4 and norm.axis in (-1, 3)


def _normalize(norm: Any, x: Any) -> Any:
    x = ops.cast(x, norm.compute_dtype)
    y, mean, variance = kernels.normalized(x, norm.gamma, norm.beta, norm.epsilon)
    for variable, value in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
        variable.assign(variable * norm.momentum + value * (1.0 - norm.momentum))
    return y


def _learns_by_products(convolution: Any) -> bool:
    """Whether the gradient of its kernel is made another way; TensorFlow's borders are simple where nothing strides."""
    simple = convolution.padding == "valid" or max(convolution.strides) == 1 or convolution.kernel_size == (1, 1)
    plain = convolution.groups == 1 and convolution.activity_regularizer is None
    return simple and plain and kernels.by_products(convolution.kernel, convolution.compute_dtype)


def _convolve(convolution: Any, x: Any) -> Any:
    dtype = convolution.compute_dtype
    x, kernel = ops.cast(x, dtype), ops.cast(convolution.kernel, dtype)
    x = kernels.convolution(
        x, kernel, strides=convolution.strides, padding=convolution.padding, dilation=convolution.dilation_rate
    )
    if convolution.use_bias:
        x = x + ops.cast(convolution.bias, dtype)
    return convolution.activation(x)


def _split(convolution: Any, parts: list[Part], tensors: dict[int, Any]) -> Any:
    """A 3×3 convolution of joined maps as a sum: over those of full size, and of each small map transposed."""
    dtype = convolution.compute_dtype
    maps = [ops.cast(tensors[id(part.tensor)], dtype) for part in parts]
    # Not by slices: TensorFlow pads their gradients one by one and adds them up.
    cuts = [part.channels.stop for part in parts[:-1]]
    kernels_of = ops.split(convolution.kernel, cuts, axis=2) if cuts else [convolution.kernel]
    sums, full, kernels_full = [], [], []
    for part, x, kernel in zip(parts, maps, kernels_of, strict=True):
        if part.doubled:
            larger = ops.cast(_doubled(kernel), dtype)
            if kernels.by_products(larger, dtype):
                sums.append(kernels.convolution_transposed(x, larger))
            else:
                sums.append(ops.conv_transpose(x, larger, strides=2, padding="same"))
        else:
            full.append(x)
            kernels_full.append(kernel)
    if full:
        kernel = ops.cast(ops.concatenate(kernels_full, axis=2), dtype)
        x = ops.concatenate(full, axis=-1)
        if kernels.by_products(kernel, dtype):
            sums.append(kernels.convolution(x, kernel, strides=(1, 1), padding="same", dilation=(1, 1)))
        else:
            sums.append(ops.conv(x, kernel, padding="same"))
    x = sum(sums[1:], sums[0])
    if convolution.use_bias:
        x = x + ops.cast(convolution.bias, dtype)
    return convolution.activation(x)


_SUMS = doubling(np.eye(9, dtype=np.float32).reshape(3, 3, 9, 1))[:, :, 0].reshape(16, 9)
"""Which of the nine products fall together in each of the sixteen."""


def _doubled(kernel: Any) -> Any:
    """`models.nodes.doubling` of a kernel that learns."""
    inside, filters = kernel.shape[2:]
    summed = ops.matmul(_SUMS, ops.reshape(kernel, (9, inside * filters)))
    return ops.transpose(ops.reshape(summed, (4, 4, inside, filters)), (0, 1, 3, 2))
