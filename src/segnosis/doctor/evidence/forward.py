"""What the untrained hand-over gives: the model's outputs on the first batches, in inference mode."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import raised
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.snapshot import untouched

PRICE = "batch"

MAX_BATCHES = 3
STRETCH = 30.0
MAX_PIXELS = 4 * 256 * 256
"""Of one batch and a model of up to `_ROOMY` weights, so that 512-pixel programs are judged in seconds too."""
_CUT_OFF = 0.2
_MIN_PIXELS = 8 * 128 * 128
_ROOMY = 4e6


@dataclass(frozen=True)
class Output:
    """One output on the first batches.

    Attributes:
        arrays: `(batch, height, width, channels)` float32, one per batch.
        stretched: What came out for the first batch times ±`STRETCH`, where the model has no graph to read the
            activation from: a bounded activation stays in its bounds, a missing one does not.
        low, high: Smallest and largest value, of the stretched inputs too.
        deviation: Standard deviation over pixels, averaged over channels.
        sums_to_one_over: Axis over which values sum to 1, or `None`.
        zeros: Share of values that are exactly 0.
        finite: Whether every value is finite.
    """

    arrays: tuple[np.ndarray, ...]
    low: float
    high: float
    deviation: float
    sums_to_one_over: int | None
    zeros: float
    finite: bool
    stretched: tuple[np.ndarray, ...] = ()

    @property
    def format(self) -> str:
        """`"probabilities"` (sum to 1), their logarithms, `"sigmoid"` (inside 0 to 1), or what else they look like.

        That is `"clipped"` (cut at 0 and 1, which no sigmoid reaches for a fifth of the pixels), `"rectified"` (cut at
        0) or `"logits"`.
        """
        if self.high <= 0 and all(np.allclose(np.exp(a).sum(axis=-1), 1.0, atol=5e-3) for a in self.arrays):
            return "log-probabilities"
        if self.sums_to_one_over is not None and self.low >= 0:
            return "probabilities"
        if self.low == 0 and self.high == 1 and np.mean([np.mean(a == 0) for a in self.arrays]) >= _CUT_OFF:
            return "clipped"
        if self.low >= 0 and self.high <= 1 and (self.zeros == 0 or self.high > 0.99):
            return "sigmoid"
        return "rectified" if self.low >= 0 and self.zeros > 0 else "logits"


def few(batch: Batch, model: keras.Model) -> Batch:
    """The batch, cut to as many samples as time and memory allow: fewer for a larger model, at least one.

    A convolution's work is its weights times its pixels, so their product is what is bounded; the clock is not asked.
    """
    first = np.asarray(keras.tree.flatten(batch.x)[0])
    pixels = int(np.prod(first.shape[1:3])) or 1
    most = max(_MIN_PIXELS, MAX_PIXELS * min(1.0, _ROOMY / max(1, model.count_params())))
    keep = max(1, min(len(first), int(most) // pixels))
    if keep == len(first):
        return batch
    return Batch(*(_cut(part, keep) for part in (batch.x, batch.y, batch.sample_weight)))


def measure(model: keras.Model, heads: Sequence[Head], batches: Sequence[Batch]) -> Mapping[str, Output]:
    """Output name → what came out."""
    found: dict[str, list[np.ndarray]] = {head.name: [] for head in heads}
    stretched: dict[str, list[np.ndarray]] = {head.name: [] for head in heads}
    with untouched(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Keras warns of here, a check says in full
        for batch in list(batches)[:MAX_BATCHES]:
            x = keras.tree.map_structure(lambda leaf: _times(leaf, 1), few(batch, model).x)
            try:
                outputs = keras.tree.flatten(model(x, training=False))
            except Exception as error:  # anything that anyone's model can raise; fit() raises the same
                raise Unavailable(f"the model cannot be called on these inputs ({raised(error).error})") from error
            for head in heads:
                found[head.name].append(np.asarray(keras.ops.convert_to_numpy(outputs[head.index]), "float32"))
        blind = [head for head in heads if not head.known]
        if blind and batches:
            for factor in (STRETCH, -STRETCH):
                x = keras.tree.map_structure(lambda leaf, factor=factor: _times(leaf, factor), few(batches[0], model).x)
                outputs = keras.tree.flatten(model(x, training=False))
                for head in blind:
                    seen = np.asarray(keras.ops.convert_to_numpy(outputs[head.index]), "float32")
                    stretched[head.name].append(seen)
    return {name: _described(tuple(arrays), tuple(stretched[name])) for name, arrays in found.items() if arrays}


def _times(leaf: Any, factor: float) -> Any:
    """An image input exaggerated, 0 where it is no number (DAT004 tells of those); ids and flags stay what they are."""
    array = np.asarray(leaf)
    if array.dtype.kind == "f":
        array = np.nan_to_num(array * array.dtype.type(factor), posinf=0, neginf=0)
    return keras.ops.convert_to_tensor(array)


def _described(arrays: tuple[np.ndarray, ...], stretched: tuple[np.ndarray, ...]) -> Output:
    first = arrays[0]
    return Output(
        arrays=arrays,
        stretched=stretched,
        low=float(min(a.min() for a in (*arrays, *stretched))),
        high=float(max(a.max() for a in (*arrays, *stretched))),
        deviation=float(np.mean([a.reshape(-1, a.shape[-1]).std(axis=0).mean() for a in arrays])),
        sums_to_one_over=next(
            (
                axis
                for axis in range(first.ndim - 1, 0, -1)
                if all(np.allclose(a.sum(axis=axis, dtype="float64"), 1.0, atol=5e-3) for a in arrays)
            ),
            None,
        ),
        zeros=float(np.mean([np.mean(a == 0) for a in (*arrays, *stretched)])),
        finite=all(bool(np.isfinite(a).all()) for a in arrays),
    )


def _cut(part: Any, keep: int) -> Any:
    return None if part is None else keras.tree.map_structure(lambda array: np.asarray(array)[:keep], part)
