"""Reads the strides off a finished network, to tap its levels and to turn strides into dilation."""

from __future__ import annotations

import re

import keras
from keras import KerasTensor, layers


def strides(model: keras.Model) -> dict[str, tuple[int, int]]:
    """`{operation: (stride of its input, stride of its output)}`, in the order of the graph.

    Operations without height and width, as those that weigh channels by the image's mean, are left out.
    """
    of_tensor: dict[int, int | None] = {}
    found: dict[str, tuple[int, int]] = {}
    for operation in model.operations:
        if isinstance(operation, layers.InputLayer):
            of_tensor[id(operation.output)] = 1
            continue
        before = [of_tensor[id(tensor)] for tensor in keras.tree.flatten(operation.input)]
        known = [stride for stride in before if stride is not None]
        flat = isinstance(operation, layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D) or not known
        for output in keras.tree.flatten(operation.output):
            of_tensor[id(output)] = None if flat else max(known) * own_stride(operation)
        if not flat:
            found[operation.name] = (max(known), max(known) * own_stride(operation))
    return found


def own_stride(operation: keras.Operation) -> int:
    """By how much one operation divides height and width."""
    if isinstance(operation, keras.Sequential):
        product = 1
        for layer in operation.layers:
            product *= own_stride(layer)
        return product
    step = getattr(operation, "strides", 1)
    return int(step[0]) if isinstance(step, list | tuple) else int(step)


def levels(model: keras.Model) -> dict[str, KerasTensor]:
    """`{"P1": …}`: of every stride 2^k the last tensor before the network strides again."""
    by_name = {operation.name: operation for operation in model.operations}
    last = {
        after: by_name[name].output
        for name, (_, after) in strides(model).items()
        if not isinstance(by_name[name], layers.ZeroPadding2D)
    }
    return {f"P{level}": last[2**level] for level in range(1, 6) if 2**level in last}


def dilated(model: keras.Model, output_stride: int) -> keras.Model:
    """A copy of `model` on its own input, no output coarser than `output_stride`.

    Strides beyond become dilation of what follows, so that every kernel looks at the pixels it looked at before. Every
    convolution is padded "same", which is what a padding layer before an unpadded one does, but for any image size; and
    two layers that keras.applications keeps to itself become stock ones, so that a saved copy opens with plain Keras.
    """
    at = strides(model)

    def copy(operation: keras.Operation) -> keras.Operation:
        return _copy(operation, at.get(operation.name, (1, 1))[0], output_stride)

    return keras.models.clone_model(model, input_tensors=model.input, clone_function=copy)


def _copy(operation: keras.Operation, stride: int, output_stride: int) -> keras.Operation:
    config = operation.get_config()
    if isinstance(operation, keras.Sequential):
        copies = []
        for layer in operation.layers:
            copies.append(_copy(layer, stride, output_stride))
            stride *= own_stride(layer)
        return keras.Sequential(copies, name=operation.name)
    if isinstance(operation, layers.Conv2D | layers.DepthwiseConv2D):
        config["padding"] = "same"
        if stride * own_stride(operation) > output_stride:
            config["strides"] = (1, 1)
            config["dilation_rate"] = (max(stride // output_stride, 1),) * 2 if max(config["kernel_size"]) > 1 else 1
    elif isinstance(operation, layers.ZeroPadding2D):
        return layers.Identity(name=operation.name)
    elif type(operation).__name__ == "StochasticDepth":
        return layers.Dropout(config["drop_path_rate"], noise_shape=(None, 1, 1, 1), name=operation.name)
    elif type(operation).__name__ == "LayerScale":
        return layers.EinsumDense(
            "bhwc,c->bhwc",
            output_shape=(None, None, config["projection_dim"]),
            kernel_initializer=keras.initializers.Constant(config["init_values"]),
            name=operation.name,
        )
    elif re.fullmatch(r"layer_normalization_\d+", operation.name):
        # ConvNeXt's last one is named by a count of all layers so far; weights are found by name.
        config["name"] = "layer_normalization"
    return type(operation).from_config(config)
