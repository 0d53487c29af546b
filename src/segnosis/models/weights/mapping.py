"""Fits a file's tensors to a model's weights, checked both ways before the first one is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import keras
import numpy as np

from segnosis.core.errors import ArgumentError, DataError
from segnosis.models.freeze import leaves

_SHOWN = 12


@dataclass(frozen=True)
class Layer:
    """A layer with weights, as formats see it.

    Attributes:
        name: Its own name.
        parents: Names of the nested models it lies in, outermost first.
        roles: `{"kernel": variable, "gamma": variable, …}`, in Keras' order.
        layer: The layer itself.
    """

    name: str
    parents: tuple[str, ...]
    roles: dict[str, keras.Variable]
    layer: keras.layers.Layer

    @property
    def in_backbone(self) -> bool:
        """Whether it is part of the model's backbone."""
        return "backbone" in self.parents


@dataclass(frozen=True)
class Source:
    """Where a weight comes from: the tensor's name in the file, and how it is turned into Keras' layout."""

    tensor: str
    layout: Callable[[np.ndarray], np.ndarray] = field(default=np.asarray)


@dataclass(frozen=True)
class Loaded:
    """What `load_weights` did; printed, a sentence or two.

    Attributes:
        file: The file.
        format: Its format.
        tensors: How many tensors were set.
        weights: How many numbers these are.
        notes: What was changed to make them fit, one sentence each.
    """

    file: Path
    format: str
    tensors: int
    weights: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        start = f"Loaded {self.tensors:,} tensors, {self.weights:,} weights, from {self.file.name} ({self.format})."
        return " ".join([start, *self.notes])


class WeightsError(DataError):
    """A file and a model do not fit; nothing was loaded.

    Attributes:
        missing: Tensors that the model needs and the file does not have.
        left_over: Tensors of the file that have no place in the model.
        misshapen: `{tensor: (shape in the file, shape in the model)}`, both in Keras' layout.
    """

    def __init__(
        self,
        *,
        file: Path,
        format: str,
        missing: list[str],
        left_over: list[str],
        misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]],
        cure: str,
    ) -> None:
        self.missing, self.left_over, self.misshapen = missing, left_over, misshapen
        shapes = [f"{name} is {here}, the model's {there}" for name, (here, there) in misshapen.items()]
        parts = [
            f"{len(items)} {what}: {_listed(items)}"
            for what, items in (("missing", missing), ("left over", left_over), ("of another shape", shapes))
            if items
        ]
        super().__init__(
            f"Every tensor of a file has its place in the model, and every weight its tensor; nothing was loaded, for "
            f"in this file of format `{format}` are {'; '.join(parts)}.",
            file=file,
            cure=cure,
        )


def fill(model: keras.Model, path: Path, module: ModuleType, *, only: str | None) -> Loaded:
    """Set the weights of `model`, or of its part `only`, from the file at `path`, read by a format's module."""
    layers = _layers(model, only)
    tensors: Mapping[str, np.ndarray] = module.read(path)
    name = module.__name__.rsplit(".", 1)[-1]
    arrays: list[tuple[keras.Variable, np.ndarray]] = []
    missing, misshapen, notes, used = [], {}, [], set()
    for number, layer in enumerate(layers):
        sources: dict[str, Source] = module.sources(layer, tensors.keys())
        for role, variable in layer.roles.items():
            source = sources.get(role)
            if source is None or source.tensor not in tensors:
                missing.append(source.tensor if source else f"{'/'.join((*layer.parents, layer.name))}/{role}")
                continue
            used.add(source.tensor)
            array = source.layout(np.asarray(tensors[source.tensor]))
            if number == 0 and _other_colours(array, variable):
                notes.append(_says_colours(array.shape[2], variable.shape[2]))
                array = _recoloured(array, variable.shape[2])
            if array.shape != tuple(variable.shape):
                misshapen[source.tensor] = (array.shape, tuple(variable.shape))
            arrays.append((variable, array))
    left_over = [
        tensor
        for tensor in tensors
        if tensor not in used
        and not (only and (module.CLASSIFIER.search(tensor) or only != "backbone"))
        and not (only == "backbone" and not module.BACKBONE.search(tensor))
    ]
    if missing or left_over or misshapen:
        raise WeightsError(
            file=path,
            format=name,
            missing=missing,
            left_over=left_over,
            misshapen=misshapen,
            cure=_cure(module, missing, left_over, misshapen, only),
        )
    for variable, array in arrays:
        variable.assign(array)
    notes += _adopt_epsilon(model, layers, getattr(module, "EPSILON", None))
    return Loaded(path, name, len(arrays), sum(array.size for _, array in arrays), tuple(notes))


def _layers(model: keras.Model, only: str | None) -> list[Layer]:
    found = []
    for path, layer in leaves(model):
        *parents, name = path.split("/")
        if layer.weights and (only is None or only in (*parents, name)):
            # A layer's own seed is state of a training, no weight of the network.
            roles = {weight.name: weight for weight in layer.weights if "seed" not in weight.name}
            if roles:
                found.append(Layer(name, tuple(parents), roles, layer))
    if not found:
        raise ArgumentError(
            "`only` names a nested model or a layer with weights.",
            received={"only": only},
            cure='Pass only="backbone", or leave it out to fill the whole model.',
        )
    return found


def _other_colours(array: np.ndarray, variable: keras.Variable) -> bool:
    shape = tuple(variable.shape)
    same_else = array.ndim == 4 == len(shape) and array.shape[:2] == shape[:2] and array.shape[3] == shape[3]
    return same_else and array.shape[2] == 3 != shape[2]


def _recoloured(array: np.ndarray, channels: int) -> np.ndarray:
    """`(height, width, 3, filters)` → `(height, width, channels, filters)`, same response to equal channels."""
    if channels == 1:
        return array.sum(axis=2, keepdims=True)
    return array[:, :, np.arange(channels) % 3] * (array.shape[2] / channels)


def _says_colours(colours: int, channels: int) -> str:
    if channels == 1:
        return f"The first layer's weights were summed over {colours} colours, so that grey acts as equal colours."
    return f"The first layer's weights for {colours} colours were repeated for {channels}, scaled by 3/{channels}."


def _adopt_epsilon(model: keras.Model, layers: list[Layer], epsilon: float | None) -> list[str]:
    """Statistics mean what they meant where they were trained only with the same epsilon."""
    changed = []
    for one in layers:
        if isinstance(one.layer, keras.layers.BatchNormalization) and epsilon not in (None, one.layer.epsilon):
            one.layer.epsilon = epsilon
            changed.append(one.name)
    if not changed:
        return []
    # What was compiled has the old epsilon inside.
    model.train_function = model.test_function = model.predict_function = None
    return [f"{len(changed)} batch normalizations took the file's epsilon, {epsilon:g}."]


def _cure(
    module: ModuleType,
    missing: list[str],
    left_over: list[str],
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]],
    only: str | None,
) -> str:
    wrong = [*missing, *left_over, *misshapen]
    built = f", with `{module.BUILT_AS}`" if hasattr(module, "BUILT_AS") else ""
    if only is None and not any(module.BACKBONE.search(name) and not module.CLASSIFIER.search(name) for name in wrong):
        return (
            'Its backbone fits: pass only="backbone" to load that alone, or build the model as the file was '
            f"trained{built}."
        )
    return f"Build the model as the file was trained: same backbone, same number of classes, same options{built}."


def _listed(items: list[str]) -> str:
    rest = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {rest} more (all in the error's attributes)" if rest > 0 else "")
