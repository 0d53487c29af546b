"""Reading a functional graph backwards from an output, telling operations by what they do to numbers, not by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional

_FUNCTIONS = ("sigmoid", "hard_sigmoid", "tanh", "relu", "relu6", "softplus", "elu", "log_softmax")
_GATHERS = (keras.layers.Add, keras.layers.Average, keras.layers.Concatenate, keras.layers.Maximum)
OUTPUT_LIKE = ("softmax", "sigmoid", "hard_sigmoid")


@dataclass(frozen=True)
class Step:
    """One operation between the last layer with weights and the output.

    Attributes:
        layer: Name of the layer or operation.
        does: `"softmax"`, `"sigmoid"`, … as seen on random numbers; `"passes"` when values go through (reshape,
            resize, crop), `"thresholds"` when it emits whole numbers, `"clips"`, `"linear"`, else `"unknown"`.
        axis: Axis that a soft-max runs over, counted from the end: −1 is the channels.
    """

    layer: str
    does: str
    axis: int | None = None


@dataclass(frozen=True)
class Ending:
    """How an output comes about.

    Attributes:
        shape: Shape of the output, `None` for free sizes.
        layer: Name of the last layer with weights.
        steps: From that layer's own activation to the output.
        fed_by: The one activation of everything that feeds that layer, when it is one that usually ends a model.
    """

    shape: tuple[int | None, ...]
    layer: str
    steps: tuple[Step, ...]
    fed_by: str | None


def graph_of(model: Any) -> Functional | None:
    """The functional graph in `model`: its own or a Sequential's; `None` for a subclass with a `call` of its own."""
    if isinstance(model, keras.Sequential):
        return model._functional
    if isinstance(model, Functional) and type(model).call in (Functional.call, keras.Model.call):
        return model
    return None


def ending(tensor: Any) -> Ending:
    """Walk back from a graph's output to the last layer with weights.

    Args:
        tensor: A symbolic output of a functional model.
    """
    steps: list[Step] = []
    layer, fed_by = "", None
    for operation, node in _back(tensor):
        if getattr(operation, "weights", None):
            layer = operation.name
            steps.extend(_own_activation(operation, node))
            fed_by = _common_activation(node.input_tensors, tensor.shape[-1])
            break
        if len(node.input_tensors) != 1:
            layer = operation.name
            common = _common_activation(node.input_tensors, tensor.shape[-1])
            steps.append(Step(operation.name, common or "unknown", -1 if common else None))
            break
        steps.append(_told(operation, node))
    return Ending(tuple(tensor.shape), layer, tuple(reversed(steps)), fed_by)


def beginning(model: Any) -> list[Any]:
    """Layers from the input on, until one that has kernels or several followers, that one included last.

    Nested models are entered. Empty without a graph or with several inputs.
    """
    graph = graph_of(model)
    if graph is None or len(graph.inputs) != 1:
        return []
    layers: list[Any] = []
    tensor = graph.inputs[0]
    while True:
        followers = [
            (operation, node)
            for operation in graph.operations
            for node in operation._inbound_nodes
            if any(tensor is given for given in node.input_tensors) and node in _nodes(graph)
        ]
        if len(followers) != 1:
            return layers
        operation, node = followers[0]
        inner = graph_of(operation)
        if inner is not None and len(inner.inputs) == 1:
            nested = beginning(operation)
            return [*layers, *nested]
        layers.append(operation)
        if has_kernels(operation) or len(node.output_tensors) != 1:
            return layers
        tensor = node.output_tensors[0]


def goes_around(model: Any, variable: Any) -> bool:
    """Whether something of the inputs reaches an output without passing the layer that `variable` belongs to."""
    graph = graph_of(model)
    return graph is not None and any(_inputs_behind(graph, tensor, variable) for tensor in graph.outputs)


def has_kernels(layer: Any) -> bool:
    """Whether a layer has learned or is to learn, frozen or not; statistics of a normalization alone do not count."""
    matrices = any(len(weight.shape) > 1 for weight in getattr(layer, "weights", ()))
    return matrices or bool(getattr(layer, "trainable_weights", None))


def all_layers(model: Any) -> Iterator[Any]:
    """Every layer inside `model`, nested ones too, containers left out."""
    for layer in model._flatten_layers(include_self=False):
        if not list(layer._flatten_layers(include_self=False)):
            yield layer


def told(function: Callable[[Any], Any], shape: Sequence[int | None]) -> tuple[str, int | None]:
    """What an elementwise or soft-max-like function does, from its answer to random numbers.

    Args:
        function: Tensor → tensor.
        shape: Shape of what it is given, free sizes as `None`.

    Returns:
        A word of `Step.does` and the soft-max axis.

    Example:
        >>> told(keras.ops.softmax, (None, 8, 8, 3)), told(keras.ops.relu, (None, 8, 8, 3))
        (('softmax', -1), ('relu', None))
    """
    sizes = [size or 4 for size in shape]
    sizes[0] = 2
    probe = np.random.default_rng(0).normal(0.0, 4.0, sizes).astype("float32")
    answer = np.asarray(keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(probe))))
    if answer.dtype.kind in "iub":
        return "thresholds", None
    answer = answer.astype("float32")
    if answer.shape == probe.shape:
        if np.allclose(answer, probe, atol=0.02):
            return "linear", None
        for axis in range(probe.ndim - 1, 0, -1):
            exponents = np.exp(probe - probe.max(axis=axis, keepdims=True))
            if np.allclose(answer, exponents / exponents.sum(axis=axis, keepdims=True), atol=0.01):
                return "softmax", axis - probe.ndim
        for name in _FUNCTIONS:
            known = keras.ops.convert_to_numpy(getattr(keras.activations, name)(keras.ops.convert_to_tensor(probe)))
            if np.allclose(answer, known, atol=0.02):
                return name, None
        low, high = answer.min(), answer.max()
        if (
            not np.array_equal(answer, np.round(answer))
            and np.mean((answer == low) | (answer == high)) > 0.2
            and np.allclose(answer, probe.clip(low, high), atol=0.02)
        ):
            return "clips", None
    if np.array_equal(answer, np.round(answer)):
        return "thresholds", None
    inside = probe.min() - 0.02 <= answer.min() < 0 and answer.max() <= probe.max() + 0.02
    return ("passes" if inside else "unknown"), None


def _back(tensor: Any) -> Iterator[tuple[Any, Any]]:
    """Operations and their nodes from `tensor` back along single inputs, entering nested models.

    Layers of several inputs that hand one of them on, as those that add a loss do, are left out.
    """
    outer: list[Any] = []
    while True:
        operation, node_index, tensor_index = tensor._keras_history
        node = operation._inbound_nodes[node_index]
        inner = graph_of(operation)
        if inner is not None and len(inner.inputs) == 1:
            outer.append(node)
            tensor = keras.tree.flatten(inner.outputs)[tensor_index]
            continue
        if isinstance(operation, keras.layers.InputLayer):
            if not outer:
                return
            tensor = outer.pop().input_tensors[0]
            continue
        handed_on = _handed_on(operation, node)
        if handed_on is not None:
            tensor = handed_on
            continue
        yield operation, node
        if not node.input_tensors:
            return
        tensor = node.input_tensors[0]


def _handed_on(operation: Any, node: Any) -> Any | None:
    """That of several inputs which a layer of the user's own gives back as it is."""
    own = isinstance(operation, keras.layers.Layer) and not type(operation).__module__.startswith("keras.")
    if not own or operation.weights or len(node.input_tensors) < 2 or len(node.output_tensors) != 1:
        return None
    random = np.random.default_rng(0)
    probes = {}
    for tensor in node.input_tensors:
        numbers = random.random([2, *(size or 4 for size in tensor.shape[1:])])
        probes[id(tensor)] = keras.ops.cast(numbers, tensor.dtype)  # whole numbers become 0, which every index may be
    losses = list(operation._losses)
    try:
        arguments, keywords = node.arguments.fill_in(probes)
        answer = keras.ops.convert_to_numpy(operation(*arguments, **keywords))
    except Exception:  # whatever a layer of the user's own raises at numbers it does not expect
        return None
    finally:
        operation._losses[:] = losses
    for tensor in node.input_tensors:
        given = keras.ops.convert_to_numpy(probes[id(tensor)])
        if given.shape == answer.shape and given.dtype.kind == "f" and np.array_equal(given, answer):
            return tensor
    return None


def _inputs_behind(graph: Functional, tensor: Any, without: Any) -> set[int]:
    """Numbers of the inputs of `graph` that lead to `tensor` past the layer of a variable."""
    numbers = {id(one): number for number, one in enumerate(graph.inputs)}
    reached, waiting, seen = set[int](), [tensor], set[int]()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if id(tensor) in numbers:
            reached.add(numbers[id(tensor)])
            continue
        operation, node_index, tensor_index = tensor._keras_history
        given = operation._inbound_nodes[node_index].input_tensors
        if (inner := graph_of(operation)) is not None:
            behind = _inputs_behind(inner, keras.tree.flatten(inner.outputs)[tensor_index], without)
            waiting.extend(given[number] for number in behind)
        elif not any(one is without for one in getattr(operation, "variables", ())):
            waiting.extend(given)
    return reached


def _told(operation: Any, node: Any) -> Step:
    given = node.input_tensors[0]

    def apply(value: Any) -> Any:
        arguments, keywords = node.arguments.fill_in({id(given): value})
        return operation(*arguments, **keywords)

    if isinstance(operation, keras.layers.Dropout | keras.layers.SpatialDropout2D | keras.layers.Identity):
        return Step(operation.name, "passes")
    try:
        does, axis = told(apply, given.shape)
    except Exception:  # a layer that takes only the sizes it was built with: what it does stays unknown
        does, axis = "unknown", None
    return Step(operation.name, does, axis)


def _own_activation(layer: Any, node: Any) -> list[Step]:
    inner = getattr(layer, "layer", layer)  # TimeDistributed and its like
    function = getattr(inner, "activation", None)
    if isinstance(layer, keras.layers.BatchNormalization | keras.layers.GroupNormalization):
        return [Step(layer.name, "linear")]
    if function is None:
        stock = type(inner).__module__.startswith("keras.")
        return [Step(layer.name, "linear" if stock else "unknown")]
    try:
        does, axis = told(function, node.output_tensors[0].shape)
    except Exception:  # an activation that wants other shapes: what it does stays unknown
        does, axis = "unknown", None
    return [Step(layer.name, does, axis)]


def _common_activation(tensors: Sequence[Any], channels: int | None) -> str | None:
    """The one output-like activation that all `tensors` come from, through gathering and reshaping layers.

    Of more `channels` than the output has, they are features, and sigmoid a hidden unit.
    """
    found = set()
    for tensor in tensors:
        for operation, node in _back(tensor):
            if getattr(operation, "weights", None):
                features = channels is not None and (node.outputs[0].shape[-1] or 0) > channels
                found |= {"unknown"} if features else {step.does for step in _own_activation(operation, node)}
                break
            if len(node.input_tensors) != 1:
                common = _common_activation(node.input_tensors, channels) if isinstance(operation, _GATHERS) else None
                found.add(common or "unknown")
                break
            step = _told(operation, node)
            if step.does not in ("passes", "linear"):
                found.add(step.does)
                break
    only = found.pop() if len(found) == 1 else None
    return only if only in OUTPUT_LIKE else None


def _nodes(graph: Functional) -> list[Any]:
    return [node for nodes in graph._nodes_by_depth.values() for node in nodes]
