"""How the targets of each output are written: class ids, one-hot, binary, soft; and which values are no class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence.heads import Head

PRICE = "data"

_MANY = 512


@dataclass(frozen=True)
class Encoding:
    """Targets of one output, over the first batches.

    Attributes:
        kind: `"ids"`, `"binary"`, `"one-hot"`, `"multilabel"`, `"soft"` or `"other"`.
        shape: Shape of the first batch's target.
        dtype: Its dtype.
        arrays: The targets, one per batch, as given.
        weights: The sample weights, one per batch, `None` without.
        channels: Channels of the output they are held against; `None` when unknown.
        has_axis: Whether the last axis is a channel axis.
        values: Value → count, for at most 512 different values; empty when there are more.
        low, high: Smallest and largest finite value.
        frequencies: Share of pixels of each class among pixels that have one; ids 0 … C−1.
        empty: Share of images whose labelled pixels are all of class 0.
        absent: Share of images in which a class is absent, mean over the classes from 1 on that occur at all.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    arrays: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray | None, ...]
    channels: int | None
    has_axis: bool
    values: Mapping[float, int]
    low: float
    high: float
    frequencies: tuple[float, ...]
    empty: float = 0.0
    absent: float = 0.0

    @property
    def num_classes(self) -> int:
        """Classes that the output can tell apart: its channels, or two for one channel."""
        return max(2, self.channels or self.shape[-1] if self.has_axis else self.channels or 2)

    @property
    def no_class(self) -> dict[float, float]:
        """Value → share of pixels, for whole values that are no class of the output."""
        total = sum(self.values.values()) or 1
        top = 1 if self.kind != "ids" or (self.channels or 2) == 1 else self.num_classes - 1
        return {
            value: count / total
            for value, count in self.values.items()
            if not 0 <= value <= top and float(value).is_integer()
        }

    def ids(self, array: np.ndarray) -> np.ndarray:
        """Class id per pixel of one target array; one-hot by its largest channel.

        −1 where it has none, or none that the output has a channel for.
        """
        if self.kind in ("one-hot", "multilabel") or (self.kind == "soft" and array.shape[-1] > 1 and self.has_axis):
            inside = (array >= 0).all(axis=-1) & (array <= 1).all(axis=-1) & (array.sum(axis=-1) > 0)
            largest = array.argmax(axis=-1)
            return np.where(inside & (largest < self.num_classes), largest, -1)
        plain = array[..., 0] if self.has_axis else array
        rounded = np.round(plain.astype("float64"))
        return np.where((rounded >= 0) & (rounded < self.num_classes), rounded, -1).astype("int64")


def measure(heads: Sequence[Head], batches: Sequence[Batch], forward: Any = None) -> Mapping[str, Encoding]:
    """Output name → encoding of its targets; outputs without a target of their own are left out."""
    found = {}
    for head in heads:
        arrays = [head.pick(batch.y) for batch in batches]
        if any(not hasattr(array, "shape") for array in arrays) or not arrays:
            continue
        weights = tuple(_array(head.pick(batch.sample_weight)) for batch in batches)
        shape = head.shape or (forward[head.name].arrays[0].shape if forward and head.name in forward else ())
        found[head.name] = _described(tuple(np.asarray(array) for array in arrays), weights, shape, head)
    return found


def _array(weight: Any) -> np.ndarray | None:
    return None if weight is None else np.asarray(keras.tree.flatten(weight)[0])


def _described(
    arrays: tuple[np.ndarray, ...], weights: tuple[np.ndarray | None, ...], output: tuple[Any, ...], head: Head
) -> Encoding:
    first = arrays[0]
    channels = int(output[-1]) if output and output[-1] else None
    rank = len(output) or (first.ndim if first.shape[-1] in (1, channels) else first.ndim + 1)
    has_axis = first.ndim == rank
    values = _counts(arrays)
    finite = [a[np.isfinite(a)] if a.dtype.kind == "f" else a for a in arrays]
    low = float(min((a.min() for a in finite if a.size), default=np.nan))
    high = float(max((a.max() for a in finite if a.size), default=np.nan))
    softmax = any(step.does == "softmax" for step in head.steps)
    kind = _kind(arrays, rank, channels, has_axis, values, low, high, softmax)
    plain = Encoding(kind, first.shape, str(first.dtype), arrays, weights, channels, has_axis, values, low, high, ())
    counts, present = np.zeros(plain.num_classes), np.zeros(plain.num_classes)
    empty, images = 0, 0
    if kind != "other":
        for array in arrays:
            ids = plain.ids(array)
            empty += int((ids.reshape(len(ids), -1) <= 0).all(axis=1).sum())
            images += len(ids)
            counts += np.bincount(ids[ids >= 0].ravel(), minlength=plain.num_classes)[: plain.num_classes]
            for image in ids:
                present[np.unique(image[image >= 0])] += 1
    occurring = present[1:][present[1:] > 0]
    absent = 1 - float(occurring.mean()) / images if occurring.size else 0.0
    share = counts / counts.sum() if counts.sum() else counts
    return replace(
        plain, frequencies=tuple(float(value) for value in share), empty=empty / max(1, images), absent=absent
    )


def _counts(arrays: tuple[np.ndarray, ...]) -> dict[float, int]:
    counts: dict[float, int] = {}
    for array in arrays:
        values, number = np.unique(array, return_counts=True)
        if len(values) > _MANY:
            return {}
        for value, count in zip(values.tolist(), number.tolist(), strict=True):
            counts[float(value)] = counts.get(float(value), 0) + int(count)
    return counts if len(counts) <= _MANY else {}


def _kind(
    arrays: tuple[np.ndarray, ...],
    rank: int,
    channels: int | None,
    has_axis: bool,
    values: Mapping[float, int],
    low: float,
    high: float,
    softmax: bool,
) -> str:
    if arrays[0].ndim not in (rank, rank - 1):
        return "other"
    whole = bool(values) and all(value.is_integer() for value in values)
    width = arrays[0].shape[-1] if has_axis else 1
    if width == 1:
        if whole:
            return "binary" if (channels or 1) == 1 and set(values) <= {0.0, 1.0} else "ids"
        return "soft" if low >= 0 and high <= 1 else "other"
    if not whole:
        return "soft" if low >= 0 and high <= 1 else "other"
    valid, ones, empty = 0, 0, 0
    for array in arrays:
        inside = ((array == 0) | (array == 1)).all(axis=-1)
        sums = array.sum(axis=-1)[inside]
        valid, ones, empty = valid + sums.size, ones + int((sums == 1).sum()), empty + int((sums == 0).sum())
    if valid < 0.5 * sum(int(np.prod(array.shape[:-1])) for array in arrays):
        return "other"
    if ones == valid or (softmax and ones + empty == valid):
        return "one-hot"
    return "multilabel"
