"""Freezing layers by name, and thawing them again in stages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras

from segnosis.core.errors import ArgumentError, did_you_mean

Which = str | Callable[[keras.layers.Layer], bool]


@dataclass(frozen=True)
class Changed:
    """What `freeze` or `unfreeze` did; printed, a sentence.

    Attributes:
        layers: Paths of the layers with weights that were named, in the order of the graph.
        weights: Numbers these layers hold, BatchNormalization statistics included.
        trainable: Numbers that training changes in the whole model now.
        total: Numbers in the whole model.
        recompiled: The model was compiled, and has been compiled again so that the change takes effect.
    """

    what: str
    layers: tuple[str, ...]
    weights: int
    trainable: int
    total: int
    recompiled: bool

    def __str__(self) -> str:
        share = self.trainable / self.total if self.total else 0.0
        again = " Compiled again with the same loss and a fresh optimizer state." if self.recompiled else ""
        return (
            f"{self.what} {len(self.layers)} layers with {self.weights:,} weights; "
            f"{self.trainable:,} of {self.total:,} ({share:.0%}) are trainable now.{again}"
        )


def freeze(model: keras.Model, *which: Which) -> Changed:
    """Keep layers as they are: no weight moves, and BatchNormalization stays on its stored statistics.

    Keras takes note of `trainable` when a model is compiled; one that already is gets compiled again here, with the
    same loss, metrics and optimizer settings. The optimizer keeps its step count; its moments start anew.

    Args:
        model: Any Keras model; layers are found in models nested inside it too.
        which: Names: a layer, a nested model, or how names begin (`"encoder1"` is `encoder1_conv1` and
            `encoder1_conv2` but not `encoder10_conv1`); or a function of a layer that says whether it is meant.

    Returns:
        What was frozen, to print or to look at.

    Raises:
        ArgumentError: Nothing of that name is in the model.

    Example:
        >>> import segnosis as sg
        >>> model = sg.models.unet((32, 32, 1), num_classes=2, width=4, depth=2)
        >>> print(sg.models.freeze(model, "encoder"))
        Frozen 12 layers with 4,724 weights; 2,938 of 7,710 (38%) are trainable now.
        >>> print(sg.models.unfreeze(model, "encoder", last=2))
        Unfrozen 2 layers with 2,368 weights; 5,274 of 7,710 (68%) are trainable now.
    """
    return _change(model, "Frozen", _matching(model, which), trainable=False)


def unfreeze(model: keras.Model, *which: Which, last: int | None = None, keep_statistics: bool = False) -> Changed:
    """Let layers learn again; all that match, or in stages from the last one backwards.

    Args:
        model: Any Keras model; layers are found in models nested inside it too.
        which: As in `freeze`.
        last: Unfreeze only the last so many of them, counted over layers with weights; `None` is all.
        keep_statistics: Leave BatchNormalization frozen, on its stored statistics: right while batches are small.

    Returns:
        What was unfrozen, to print or to look at.

    Raises:
        ArgumentError: Nothing of that name is in the model, or `last` is not 1 or more.

    Example:
        >>> import segnosis as sg
        >>> model = sg.models.unet((32, 32, 1), num_classes=2, width=4, depth=2)
        >>> _ = sg.models.freeze(model, "encoder")
        >>> sg.models.unfreeze(model, "encoder", last=2, keep_statistics=True).layers
        ('encoder3_conv2',)
    """
    if last is not None and (isinstance(last, bool) or not isinstance(last, int) or last < 1):
        raise ArgumentError(
            "`last` is how many layers to unfreeze, 1 or more.",
            received={"last": last},
            cure="Pass last=10, or leave it out to unfreeze all of them.",
        )
    layers = _matching(model, which)
    layers = layers[-last:] if last else layers
    if keep_statistics:
        layers = [(path, layer) for path, layer in layers if not isinstance(layer, keras.layers.BatchNormalization)]
    return _change(model, "Unfrozen", layers, trainable=True)


def leaves(model: keras.Model, above: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Layers of `model` and of the models nested in it, with their path `nested/layer`, in the order of the graph."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer, f"{above}{layer.name}/")
        else:
            yield f"{above}{layer.name}", layer


def count(variables: list[keras.Variable]) -> int:
    """Numbers in all of `variables`."""
    sizes = (int(keras.ops.size(variable)) for variable in variables)
    return sum(sizes)


def _matching(model: keras.Model, which: tuple[Which, ...]) -> list[tuple[str, keras.layers.Layer]]:
    """Layers with weights that `which` means."""
    with_weights = [(path, layer) for path, layer in leaves(model) if layer.weights]
    chosen = set()
    for one in which:
        found = {path for path, layer in with_weights if (one(layer) if callable(one) else _is_named(path, one))}
        if not found:
            names = {part for path, _ in with_weights for part in path.split("/")}
            raise ArgumentError(
                f"`{model.name}` has no layer with weights of this name, and none whose name begins so.",
                received={"which": one},
                cure=did_you_mean(str(one), names | {re.split(r"[_\d]", name)[0] for name in names}),
            )
        chosen |= found
    if not which:
        raise ArgumentError(
            "Layers are frozen and unfrozen by name.",
            received={"which": which},
            cure='Pass a name or how names begin, as in `freeze(model, "encoder")`.',
        )
    return [(path, layer) for path, layer in with_weights if path in chosen]


def _is_named(path: str, name: str) -> bool:
    """Whether `path`, or a part of it, is `name` or goes on after `name` with a new word or number."""
    ends = r"(?!\d)" if name[-1:].isdigit() else r"(?![A-Za-z])" if name[-1:].isalpha() else ""
    return bool(name) and re.search(rf"(?:^|/){re.escape(name)}{ends}", path) is not None


def _change(model: keras.Model, what: str, layers: list[tuple[str, keras.layers.Layer]], *, trainable: bool) -> Changed:
    if trainable:
        _open_containers(model)
    for _, layer in layers:
        layer.trainable = trainable
    recompiled = bool(model.compiled)
    if recompiled:
        _compile_again(model)
    return Changed(
        what=what,
        layers=tuple(path for path, _ in layers),
        weights=sum(count(layer.weights) for _, layer in layers),
        trainable=count(model.trainable_weights),
        total=count(model.weights),
        recompiled=recompiled,
    )


def _open_containers(model: keras.Model) -> None:
    """Make `model` and the models in it trainable themselves, every layer staying as it is.

    A model that is not trainable hides the weights of layers that are, and Keras hands the setting down to all layers.
    """
    state = [(layer, layer.trainable) for _, layer in leaves(model)]
    model.trainable = True
    for layer, before in state:
        layer.trainable = before


def _compile_again(model: keras.Model) -> None:
    """Compile with the very objects given before. The optimizer is made anew: its slots belong to other variables.

    Keras keeps these objects in `_compile_config` alone; its public form is serialized and loses custom functions.
    """
    given = dict(model._compile_config.config)
    before = model.optimizer
    given["optimizer"] = type(given["optimizer"]).from_config(given["optimizer"].get_config())
    model.compile(**given)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(before.iterations)
