"""What every layer passes on, in the order of computing: where numbers break, where units are dead."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import raised
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.forward import MAX_BATCHES, few
from segnosis.doctor.graph import all_layers
from segnosis.doctor.random_state import to_host
from segnosis.doctor.snapshot import borrowed

PRICE = "batch"


@dataclass
class Passed:
    """One layer's output over the batches, in training mode.

    Attributes:
        layer: Its name.
        kind: Its class.
        dtype: Type of the output, `float16` under mixed precision.
        given_finite: Whether every number it was given is finite.
        finite: Whether every number it passes on is.
        rms: Root mean square of its output, the largest over the batches.
        alive: Per channel, whether it was other than exactly 0 anywhere; empty for an output without channels.
        varies: Per channel, its largest range over the pixels of one image.
        has_weights: Whether the layer has trainable weights.
    """

    layer: str
    kind: str
    dtype: str
    given_finite: bool = True
    finite: bool = True
    rms: float = 0.0
    alive: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    varies: np.ndarray = field(default_factory=lambda: np.zeros(0))
    has_weights: bool = False

    @property
    def dead(self) -> float:
        """Share of channels that are exactly 0 everywhere."""
        return float(1 - self.alive.mean()) if self.alive.size else 0.0

    @property
    def is_dead(self) -> bool:
        """Whether all of its channels are."""
        return bool(self.alive.size) and self.dead == 1.0


@dataclass(frozen=True)
class Activations:
    """All layers.

    Attributes:
        layers: In the order of computing.
        images: Images looked at.
        input_finite: Whether the model's inputs are finite.
        weights_broken: Names of variables that hold NaN or infinity.
        breaks_on_black: The first layer that gives NaN or infinity for images of zeros alone; empty where none does,
            or where some layer does for the images of the batches.
    """

    layers: tuple[Passed, ...]
    images: int
    input_finite: bool
    weights_broken: tuple[str, ...]
    breaks_on_black: str = ""


def measure(model: keras.Model, batches: Sequence[Batch]) -> Activations:
    """Up to three batches through a copy."""
    found: dict[tuple[int, int], Passed] = {}
    images, finite = 0, True
    broken = tuple(v.path for v in model.variables if not np.isfinite(to_host(v).astype("float32")).all())
    given = [few(batch, model) for batch in list(batches)[:MAX_BATCHES]]
    with borrowed(model, given[0].x) as copy, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN is an answer here
        with _recorded(copy, found):
            for batch in given:
                leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(batch.x)]
                finite &= all(bool(np.isfinite(leaf.astype("float32")).all()) for leaf in leaves)
                images += len(leaves[0])
                try:
                    copy(keras.tree.map_structure(keras.ops.convert_to_tensor, batch.x), training=True)
                except Exception as error:  # anything that anyone's model can raise; fit() raises the same
                    raise Unavailable(f"the model cannot be called on these inputs ({raised(error).error})") from error
        sound = finite and not broken and all(layer.finite for layer in found.values())
        black = _on_black(copy, given[0]) if sound else ""
    return Activations(tuple(found.values()), images, finite, broken, black)


def _on_black(model: keras.Model, batch: Batch) -> str:
    found: dict[tuple[int, int], Passed] = {}
    x = keras.tree.map_structure(lambda leaf: keras.ops.zeros_like(leaf[:1]), batch.x)
    with _recorded(model, found):
        output = model(x, training=False)
    broken = [layer.layer for layer in found.values() if layer.given_finite and not layer.finite]
    whole = all(np.isfinite(to_host(leaf)).all() for leaf in keras.tree.flatten(output))
    return broken[0] if broken else "" if whole else "the model"


@contextmanager
def _recorded(model: keras.Model, found: dict[tuple[int, int], Passed]) -> Iterator[None]:
    """Look at what each layer returns, by way of its `call`, for the length of the block."""
    layers = [layer for layer in all_layers(model) if not isinstance(layer, keras.layers.InputLayer)]

    def looking(layer: Any, call: Any) -> Any:
        def looked(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            _look(layer, args[0] if args else None, output, found)
            return output

        return looked

    for layer in layers:
        layer.__dict__["call"] = looking(layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("call", None)


def _look(layer: Any, given: Any, output: Any, found: dict[tuple[int, int], Passed]) -> None:
    tensors = [leaf for leaf in keras.tree.flatten(output) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")]
    if not tensors:
        return
    channels = tensors[0].shape[-1] if len(tensors[0].shape) else 0  # one pooling layer may serve several depths
    passed = found.setdefault(
        (id(layer), channels),
        Passed(
            layer.name,
            type(layer).__name__,
            keras.backend.standardize_dtype(tensors[0].dtype),
            has_weights=bool(layer.trainable_weights),
        ),
    )
    if not passed.finite:
        return
    value = to_host(tensors[0]).astype("float32", copy=False)
    if not np.isfinite(value.sum()) and not np.isfinite(value).all():
        inputs = [to_host(leaf).astype("float32") for leaf in keras.tree.flatten(given) if hasattr(leaf, "shape")]
        passed.finite = False
        passed.given_finite = all(bool(np.isfinite(leaf).all()) for leaf in inputs)
        return
    passed.rms = max(passed.rms, float(np.sqrt(np.mean(np.square(value)))))
    if value.ndim >= 3:
        flat = value.reshape(len(value), -1, value.shape[-1])
        low, high = flat.min(axis=1), flat.max(axis=1)
        alive = ((low != 0) | (high != 0)).any(axis=0)
        varies = (high - low).max(axis=0)
        passed.alive = alive if not passed.alive.size else passed.alive | alive
        passed.varies = varies if not passed.varies.size else np.maximum(passed.varies, varies)
