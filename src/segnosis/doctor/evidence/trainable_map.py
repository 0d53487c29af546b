"""Which layers train, which are frozen, and which still hold the random numbers they were made with."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras.src.initializers.random_initializers import RandomInitializer

from segnosis.doctor.evidence._two_samples import distance
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.graph import all_layers, graph_of
from segnosis.doctor.random_state import random_state_kept, to_host

PRICE = "static"

_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
_CONSTANTS = {"bias": 0.0, "beta": 0.0, "gamma": 1.0, "moving_mean": 0.0, "moving_variance": 1.0}
_ENOUGH = 64
_SAMPLE = 4096
_GROWS = (keras.layers.UpSampling2D, keras.layers.Conv2DTranspose)


@dataclass(frozen=True)
class Part:
    """One layer with weights.

    Attributes:
        name: Its name, with the nested model's before it: `encoder/block1_conv`.
        kind: Its class.
        weights: Number of weights.
        is_trainable: Whether any of them trains.
        is_normalization: Whether it is a BatchNormalization, which also moves statistics while it is trainable.
        is_drawn: Whether its kernel still holds what its random initializer gives; `None` without such a kernel.
        is_moved: Whether a weight that starts at a known number (a bias, a scale, a statistic) left it.
        scale: Largest root mean square of its kernels, relative to He's, sqrt(2 / inputs); `None` without a kernel.
        is_constant: Whether its kernels hold one single number and several units share it.
        stage: `"encoder"`, `"decoder"` (behind an upsampling) or `"head"`.
    """

    name: str
    kind: str
    weights: int
    is_trainable: bool
    is_normalization: bool
    is_drawn: bool | None
    is_moved: bool
    scale: float | None
    is_constant: bool
    stage: str

    @property
    def block(self) -> str:
        """Name of its block: all up to the first number, `exit_flow_block2` of `exit_flow_block2_conv`."""
        found = re.match(r".*?\d+(?=_)", self.name)
        return found.group(0) if found else ""


@dataclass(frozen=True)
class TrainableMap:
    """All layers with weights, in the model's order.

    Attributes:
        parts: The layers.
        overruled: BatchNormalization layers that are called with `training=False` and are trainable nevertheless:
            `fit` overrules the call.
    """

    parts: tuple[Part, ...]
    overruled: tuple[str, ...]

    @property
    def frozen(self) -> tuple[Part, ...]:
        """Layers of which nothing trains."""
        return tuple(part for part in self.parts if not part.is_trainable)

    @property
    def live_normalizations(self) -> tuple[Part, ...]:
        """BatchNormalization layers that move."""
        return tuple(part for part in self.parts if part.is_normalization and part.is_trainable)


def measure(model: keras.Model, heads: Sequence[Head]) -> TrainableMap:
    """Walk the layers; weights are read, nothing is called."""
    last = {head.layer for head in heads if head.layer}
    behind = _behind_upsampling(model)
    names = _paths(model)
    parts = []
    with random_state_kept():
        for layer in all_layers(model):
            if not layer.weights:
                continue
            stage = "head" if layer.name in last else "decoder" if id(layer) in behind else "encoder"
            kernels = _kernels(layer)
            parts.append(
                Part(
                    name=names.get(id(layer), layer.name),
                    kind=type(layer).__name__,
                    weights=int(sum(np.prod(v.shape) for v in layer.weights)),
                    is_trainable=bool(layer.trainable_weights),
                    is_normalization=isinstance(layer, keras.layers.BatchNormalization),
                    is_drawn=_is_drawn(layer, kernels),
                    is_moved=_is_moved(layer),
                    scale=_scale(layer, kernels.values()),
                    is_constant=_is_constant(kernels.values()),
                    stage=stage,
                )
            )
    return TrainableMap(tuple(parts), tuple(_overruled(model)))


def _paths(model: Any, before: str = "") -> dict[int, str]:
    found = {}
    for layer in getattr(model, "layers", ()):
        found[id(layer)] = before + layer.name
        if isinstance(layer, keras.Model):
            found |= _paths(layer, f"{before}{layer.name}/")
    return found


def _behind_upsampling(model: Any, given: bool = False) -> set[int]:
    """Ids of layers that an enlarged feature map reaches."""
    graph = graph_of(model)
    if graph is None:
        return {id(layer) for layer in all_layers(model)} if given else set()
    enlarged: dict[int, bool] = {id(tensor): given for tensor in graph.inputs}
    found: set[int] = set()
    for nodes in (graph._nodes_by_depth[depth] for depth in sorted(graph._nodes_by_depth, reverse=True)):
        for node in nodes:
            operation = node.operation
            reached = any(enlarged.get(id(tensor), False) for tensor in node.input_tensors)
            grows = isinstance(operation, _GROWS) or _grows(node)
            if graph_of(operation) is not None:
                found |= _behind_upsampling(operation, reached)
            if reached or isinstance(operation, keras.layers.Conv2DTranspose):
                found.add(id(operation))
            for tensor in node.output_tensors:
                enlarged[id(tensor)] = reached or grows
    return found


def _grows(node: Any) -> bool:
    def height(tensors: Sequence[Any]) -> int | None:
        sizes = [tensor.shape[1] for tensor in tensors if len(tensor.shape) == 4 and tensor.shape[1]]
        return max(sizes, default=None)

    before, after = height(node.input_tensors), height(node.output_tensors)
    return before is not None and after is not None and 1 < before < after and len(node.input_tensors) == 1


def _is_drawn(layer: Any, kernels: Mapping[str, np.ndarray]) -> bool | None:
    answers = []
    for name, kernel in kernels.items():
        initializer = getattr(layer, f"{name}_initializer", getattr(layer, name.replace("kernel", "initializer"), None))
        if not isinstance(initializer, RandomInitializer):
            continue
        value, fresh = kernel.ravel(), to_host(initializer(kernel.shape)).ravel()
        if np.array_equal(value, fresh):
            answers.append(True)
        elif value.size >= _ENOUGH:
            answers.append(_alike(value, fresh))
    return all(answers) if answers else None


def _kernels(layer: Any) -> dict[str, np.ndarray]:
    kernels = ((name, getattr(layer, name, None)) for name in _KERNELS)
    return {name: to_host(kernel) for name, kernel in kernels if isinstance(kernel, keras.Variable)}


def _scale(layer: Any, kernels: Iterable[np.ndarray]) -> float | None:
    scales = []
    for index, kernel in enumerate(kernels):
        if kernel.ndim < 2:
            continue
        units = kernel.shape[-2] if isinstance(layer, keras.layers.Conv2DTranspose) else kernel.shape[-1]
        is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D) or (
            isinstance(layer, keras.layers.SeparableConv2D) and index == 0
        )
        inputs = float(np.prod(kernel.shape[:2])) if is_depthwise else kernel.size / max(1, units)
        size = np.linalg.norm(kernel.ravel()) / np.sqrt(kernel.size)
        scales.append(float(size / np.sqrt(2.0 / max(1.0, inputs))))
    finite = [scale for scale in scales if np.isfinite(scale)]
    return max(finite, default=None)


def _is_constant(kernels: Collection[np.ndarray]) -> bool:
    return bool(kernels) and all(k.shape[-1] > 1 and k.size > 4 and np.ptp(k) == 0 for k in kernels)


def _alike(value: np.ndarray, fresh: np.ndarray) -> bool:
    """Whether both come from one distribution: Kolmogorov and Smirnov's distance at 1 %, and no value out of reach."""
    step = max(1, value.size // _SAMPLE)
    ours, theirs = value[::step], fresh[::step]
    in_reach = np.abs(ours).max() <= 1.25 * np.abs(theirs).max()
    return bool(distance(ours, theirs) < 1.63 * np.sqrt(2 / ours.size) and in_reach)


def _is_moved(layer: Any) -> bool:
    for name, start in _CONSTANTS.items():
        variable = getattr(layer, name, None)
        initializer = getattr(layer, f"{name}_initializer", None)
        if not isinstance(variable, keras.Variable) or isinstance(initializer, RandomInitializer):
            continue
        first = start if initializer is None else to_host(initializer(variable.shape))
        if not np.allclose(to_host(variable), first, atol=1e-7):
            return True
    return False


def _overruled(model: Any) -> list[str]:
    found: list[str] = []
    graph = graph_of(model)
    if graph is None:
        return found
    for operation in graph.operations:
        nodes = [node for node in operation._inbound_nodes if node in _own_nodes(graph)]
        told = any(node.arguments.kwargs.get("training") is False for node in nodes)
        inside = [operation, *getattr(operation, "_flatten_layers", lambda **_: ())(include_self=False)]
        if told:
            found += [
                layer.name for layer in inside if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
            ]
        elif graph_of(operation) is not None:
            found += _overruled(operation)
    return found


def _own_nodes(graph: Any) -> list[Any]:
    return [node for nodes in graph._nodes_by_depth.values() for node in nodes]
