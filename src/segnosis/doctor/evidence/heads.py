"""What ends the model: each output's activations by a walk of the graph, and the loss and metrics that judge it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras.src.trainers.compile_utils import get_loss, get_metric  # what fit() itself makes of `loss=`, `metrics=`

from segnosis.doctor.case import Batch
from segnosis.doctor.graph import Step, all_layers, ending, graph_of
from segnosis.doctor.own_loss import OwnLoss
from segnosis.doctor.own_metric import own_metrics
from segnosis.doctor.packed import Packed, planes_packed
from segnosis.doctor.snapshot import steps_itself, untouched

PRICE = "static"

_FAMILIES = {
    "sparse_categorical_crossentropy": "sparse",
    "categorical_crossentropy": "one-hot",
    "categorical_focal_crossentropy": "one-hot",
    "binary_crossentropy": "binary",
    "binary_focal_crossentropy": "binary",
    "dice": "overlap",
    "tversky": "overlap",
}


@dataclass(frozen=True)
class Head:
    """One output of the model, and what judges it.

    Attributes:
        name: Name of the output.
        index: Position among the model's flat outputs.
        count: Number of outputs of the model.
        shape: `(batch, height, width, channels)`, `None` for free sizes; `()` when the graph is unknown.
        layer: Name of the last layer with weights; empty when unknown.
        steps: From that layer's own activation to the output; empty without a graph.
        fed_by: The output-like activation that already feeds that layer, or `None`.
        known: Whether the graph could be walked.
        loss: The Keras loss that judges this output, or `None`.
        loss_weight: Its weight in the sum.
        odd_weight: What stands in place of a weight and is no number, in words; empty when nothing does.
        metrics: Keras metrics of this output, or what a `test_step` of the model's own reports.
        packed: Planes of its targets that a loss of one's own takes for something else than classes, the last ones.
        problem: Why Keras cannot make a loss or metric of what was given; `fit()` raises the same.
    """

    name: str
    index: int
    count: int
    shape: tuple[int | None, ...] = ()
    layer: str = ""
    steps: tuple[Step, ...] = ()
    fed_by: str | None = None
    known: bool = False
    loss: Any = None
    loss_weight: float = 1.0
    odd_weight: str = ""
    metrics: tuple[Any, ...] = ()
    packed: int = 0
    problem: str | None = None

    @property
    def activations(self) -> tuple[Step, ...]:
        """The steps that change values."""
        return tuple(step for step in self.steps if step.does not in ("passes", "linear"))

    @property
    def sigmoids(self) -> bool:
        """Whether several channels end in a sigmoid each."""
        several = bool(self.shape) and (self.shape[-1] or 0) > 1
        return several and any(step.does == "sigmoid" for step in self.activations[-1:])

    @property
    def independent(self) -> bool:
        """Whether it gives `sigmoids` to a loss that wants no ids: its targets are planes."""
        return self.sigmoids and "sparse" not in self.loss_name.lower()

    @property
    def family(self) -> str | None:
        """`"sparse"`, `"one-hot"`, `"binary"` or `"overlap"` for Keras' own losses, `None` for anyone else's."""
        function = getattr(self.loss, "fn", None)
        own = str(getattr(function, "__module__", "")).startswith("keras.")
        return _FAMILIES.get(function.__name__) if function is not None and own else None

    @property
    def from_logits(self) -> bool | None:
        """What the loss was told about logits; `None` when it does not say."""
        return stated(self.loss, "from_logits", default=False if self.family else None)

    @property
    def loss_name(self) -> str:
        """The loss as its user calls it."""
        if isinstance(self.loss, OwnLoss):
            return str(self.loss.name)
        if isinstance(self.loss, Packed):
            return replace(self, loss=self.loss.asked).loss_name
        function = getattr(self.loss, "fn", None)
        if type(self.loss).__name__ == "LossFunctionWrapper":
            return str(getattr(function, "__name__", None) or self.loss.name)
        return type(self.loss).__name__

    @property
    def place(self) -> tuple[str, ...]:
        """Names of the layers that end the model here, the last first."""
        names = [step.layer for step in reversed(self.activations)] + [self.layer or self.name]
        return tuple(dict.fromkeys(names))

    def pick(self, structure: Any) -> Any:
        """The part of a structure of targets, weights or losses that is this output's; of a packed target the mask."""
        part = self._part(structure)
        is_whole = self.packed and np.ndim(part) == 4 and part.shape[-1] == (self.shape[-1] or 0) + self.packed
        return part[..., : -self.packed] if is_whole else part

    def _part(self, structure: Any) -> Any:
        if isinstance(structure, Mapping):
            if self.name in structure:
                return structure[self.name]
            return list(structure.values())[self.index] if len(structure) == self.count else None
        if isinstance(structure, list | tuple):
            if len(structure) == self.count:
                return structure[self.index]
            return structure[0] if len(structure) == 1 else None
        return structure


def stated(loss: Any, setting: str, default: Any = None) -> Any:
    """A setting such as `from_logits` or `ignore_class`, where the loss object itself states it."""
    for place in (getattr(loss, "_fn_kwargs", None), getattr(loss, "__dict__", None)):
        if isinstance(place, Mapping) and place.get(setting) is not None:
            return place[setting]
    return default


def measure(
    model: keras.Model, loss: Any = None, metrics: Any = None, batches: Sequence[Batch] | None = None
) -> tuple[Head, ...]:
    """One `Head` per output, in the model's order."""
    graph = graph_of(model)
    outputs = keras.tree.flatten(graph.outputs) if graph is not None else []
    shapes = [] if outputs or not batches else _shapes(model, batches[0])
    names = _names(model, graph, len(outputs) or len(shapes))
    weights = getattr(model._compile_loss, "_user_loss_weights", None)
    heads = []
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Keras warns of here, a check says in full
        for index, name in enumerate(names):
            head = Head(name, index, len(names))
            if outputs:
                end = ending(outputs[index])
                head = replace(head, shape=end.shape, layer=end.layer, steps=end.steps, fed_by=end.fed_by, known=True)
            else:
                shape = shapes[index] if index < len(shapes) else ()
                head = replace(head, shape=shape, layer=_last_layer(model) if len(names) == 1 else "")
            weight = head.pick(weights)
            if isinstance(weight, int | float | np.number):
                head = replace(head, loss_weight=float(weight))
            elif callable(weight) or isinstance(weight, str):
                head = replace(head, odd_weight=getattr(weight, "name", getattr(weight, "__name__", str(weight))))
            heads.append(_judged(head, loss, metrics, head.pick(batches[0].y) if batches else None))
    if len(heads) == 1 and not heads[0].metrics and batches and steps_itself(model):
        heads = [replace(heads[0], metrics=own_metrics(model, batches[0]))]
    return tuple(_unpacked(head, batches) for head in heads) if batches else tuple(heads)


def _unpacked(head: Head, batches: Sequence[Batch]) -> Head:
    """The head as one that is held against masks alone, where its targets carry more."""
    targets = [np.asarray(target) for batch in batches if (target := head.pick(batch.y)) is not None]
    channels = head.shape[-1] if head.shape else None
    planes = planes_packed(targets[0], channels) if targets and head.family is None and head.loss is not None else 0
    if not planes:
        return head
    metrics = tuple(Packed(metric, targets, planes) for metric in head.metrics)
    return replace(head, packed=planes, loss=Packed(head.loss, targets, planes), metrics=metrics)


def _last_layer(model: keras.Model) -> str:
    """Of a model without a graph: the layer with weights that was made last, most likely the head."""
    weighted = [layer.name for layer in all_layers(model) if layer.weights]
    return weighted[-1] if weighted else ""


def _shapes(model: keras.Model, batch: Batch) -> list[tuple[int | None, ...]]:
    """Output shapes of a model without a graph, traced on symbols; `[]` when it cannot be."""

    def symbol(array: Any) -> keras.KerasTensor:
        return keras.KerasTensor((None, *np.shape(array)[1:]), dtype=keras.config.floatx())

    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outputs = model.compute_output_spec(keras.tree.map_structure(symbol, batch.x))
        except Exception:  # a `call` that only works on values; the forward probe shows its outputs all the same
            return []
    return [tuple(output.shape) for output in keras.tree.flatten(outputs)]


def _names(model: keras.Model, graph: Any, count: int) -> list[str]:
    structure = getattr(graph, "_outputs_struct", None)
    if isinstance(structure, dict) and len(structure) == count:
        return sorted(structure)  # the order in which Keras flattens a dict
    names = list(getattr(model, "output_names", None) or [])
    if len(names) >= max(1, count):
        return names
    return ["output"] if count < 2 else [f"output {i}" for i in range(count)]


def _judged(head: Head, loss: Any, metrics: Any, target: Any) -> Head:
    shape = head.shape or (None, None, None, 2)
    y_pred = keras.KerasTensor(shape)
    y_true = keras.KerasTensor(getattr(target, "shape", (*shape[:-1], 1)))  # "crossentropy", "accuracy" mean by shape
    try:
        judge = get_loss(head.pick(loss), y_true, y_pred) if loss is not None else None
        chosen = head.pick(metrics) if head.count > 1 or isinstance(metrics, Mapping) else metrics
        counted = [get_metric(metric, y_true, y_pred) for metric in keras.tree.flatten(chosen) if metric is not None]
    except Exception as error:  # a name that Keras does not know, a class instead of an object
        return replace(head, problem=f"{type(error).__name__}: {error}")
    return replace(head, loss=judge, metrics=tuple(counted))
