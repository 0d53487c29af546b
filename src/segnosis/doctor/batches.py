"""Drawing the first batches of whatever `fit` takes, onto the host, and giving them back.

Every kind of input is looked at without moving it: arrays are indexed, data sets and loaders get a fresh iterator
under kept random states, and a generator, which cannot be wound back, is replaced by one that begins with what was
drawn. One thing cannot be kept: `tf.data.Dataset.shuffle` counts its own passes, and drawing is one of them, so the
next passes come in another random order, each of them whole.
"""

from __future__ import annotations

import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import keras
import numpy as np
from keras.src import tree
from keras.src.trainers import data_adapters
from keras.src.trainers.data_adapters.data_adapter_utils import check_data_cardinality

from segnosis.doctor.case import Batch
from segnosis.doctor.random_state import random_state_kept, to_host


@dataclass(frozen=True)
class Limits:
    """When to stop drawing; one batch is always drawn.

    Attributes:
        samples: Enough samples.
        megabytes: Host memory for inputs and targets together.
        seconds: Wall time.
    """

    samples: int = 256
    megabytes: float = 400.0
    seconds: float = 10.0


@dataclass(frozen=True)
class Drawn:
    """What was drawn.

    Attributes:
        batches: First batches of the pipeline (of arrays: random rows, as `fit` would shuffle them).
        data: What to hand to `fit` instead: the same object, or a generator that starts with these batches.
        num_samples: Samples per epoch when that is known without drawing them all.
        error: What the pipeline raised while drawing, `None` when it went well.
    """

    batches: tuple[Batch, ...]
    data: Any
    num_samples: int | None = None
    error: Exception | None = None


def draw(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    batch_size: int | None = None,
    steps: int | None = None,
    shuffle: bool = True,
    rows: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    limits: Limits | None = None,
) -> Drawn:
    """Draw the first batches of an input of `fit`, leaving it and all random states as they were.

    Args:
        x: Arrays (any structure of them), PyDataset, `tf.data.Dataset`, Grain data set or loader, torch DataLoader, or
            generator.
        y: Targets, for arrays only.
        sample_weight: Weights, for arrays only.
        batch_size: Batch size for arrays, 32 when left out as in Keras.
        steps: Batches per epoch, where the user limits them.
        shuffle: Whether `fit` would shuffle.
        rows: Part of the arrays to use, as fractions; `validation_split` cuts there.
        seed: Chooses rows and batches where `fit` would shuffle.
        limits: When to stop.

    Returns:
        The batches, and the data to train on afterwards.

    Example:
        >>> drawn = draw(np.zeros((100, 8, 8, 1)), np.zeros((100, 8, 8)), batch_size=4, limits=Limits(samples=10))
        >>> len(drawn.batches), drawn.batches[0].x.shape, str(drawn.batches[0].x.dtype), drawn.num_samples
        (3, (4, 8, 8, 1), 'float32', 100)
    """
    items: list[Any] = []
    num_samples, error = None, None
    with _as_it_was(x):
        try:
            source, num_samples = _source(x, y, sample_weight, batch_size, shuffle, rows, seed)
            seen_whole = _take(source, limits or Limits(), steps, items)
            if seen_whole and num_samples is None:
                num_samples = sum((np.shape(tree.flatten(item)[0]) or (1,))[0] for item in items)
            if _is_arrays(x, y, sample_weight):
                check_data_cardinality(tuple(part for part in (x, y, sample_weight) if part is not None))
        except Exception as problem:  # a user's pipeline may raise anything; the doctor then looks at what came before
            error = problem
    data = _replayed(items, x, error) if isinstance(x, types.GeneratorType) else x
    try:
        batches = tuple(Batch(*keras.utils.unpack_x_y_sample_weight(item)) for item in items)
    except ValueError as problem:
        return Drawn((), data, num_samples, problem)
    if num_samples is None and steps is not None and batches:
        num_samples = steps * sample_count(batches[0])
    return Drawn(batches, data, num_samples, error)


def as_tensors(part: Any, samples: slice = slice(None)) -> Any:
    """Some samples of a batch's images, targets or weights as the backend's tensors; `None` where there are none.

    Example:
        >>> as_tensors({"scan": np.ones((4, 2))}, slice(1))["scan"].shape[0], as_tensors(None)
        (1, None)
    """
    if part is None:
        return None
    return tree.map_structure(lambda leaf: keras.ops.convert_to_tensor(np.asarray(leaf)[samples]), part)


def resized(array: Any, count: int | None) -> Any:
    """The first `count` samples, the same ones again where there are fewer."""
    return array if count is None else np.resize(array, (count, *np.shape(array)[1:]))


def sample_count(batch: Batch) -> int:
    """Length of the first axis of the batch's inputs."""
    shapes = [np.shape(leaf) for leaf in tree.flatten(batch.x)]
    return int(shapes[0][0]) if shapes and shapes[0] else 1


def _take(source: Iterator[Any], limits: Limits, steps: int | None, items: list[Any]) -> bool:
    """Append host copies of what `source` yields to `items`, until a limit is reached; whether that was all of it."""
    start, samples, size = time.perf_counter(), 0, 0.0
    for item in islice(source, steps):
        items.append(tree.map_structure(to_host, item, none_is_leaf=False))
        leaves = [leaf for leaf in tree.flatten(items[-1]) if leaf is not None]
        samples += len(leaves[0]) if leaves and leaves[0].ndim else 1
        size += sum(leaf.nbytes for leaf in leaves)
        if samples >= limits.samples or size >= limits.megabytes * 1e6:
            break
        if time.perf_counter() - start >= limits.seconds:
            break
    else:
        return steps is None
    return False


def _is_arrays(x: Any, y: Any, sample_weight: Any) -> bool:
    return data_adapters.array_data_adapter.can_convert_arrays((x, y, sample_weight))


def _source(
    x: Any, y: Any, sample_weight: Any, batch_size: int | None, shuffle: bool, rows: tuple[float, float], seed: int
) -> tuple[Iterator[Any], int | None]:
    """An iterator of batches, and the number of samples when known."""
    order = np.random.default_rng(seed)
    if _is_arrays(x, y, sample_weight):
        return _array_batches((x, y, sample_weight), batch_size or 32, order if shuffle else None, rows)
    if isinstance(x, keras.utils.PyDataset):
        return _py_dataset_batches(x, order if shuffle else None)
    if data_adapters.is_tf_dataset(x):
        return iter(x), _tf_samples(x)
    if data_adapters.is_torch_dataloader(x):
        return iter(x), len(x.dataset) if hasattr(x.dataset, "__len__") else None
    return iter(x), None


def _tf_samples(dataset: Any) -> int | None:
    """Samples of a `tf.data.Dataset` whose last step is `batch`, when it knows its length."""
    unbatched = getattr(dataset, "_input_dataset", None)
    while unbatched is not None and not hasattr(dataset, "_batch_size"):
        dataset, unbatched = unbatched, getattr(unbatched, "_input_dataset", None)
    count = int(unbatched.cardinality()) if unbatched is not None else -1
    return count if count >= 0 else None


def _array_batches(
    arrays: tuple[Any, Any, Any], batch_size: int, order: np.random.Generator | None, rows: tuple[float, float]
) -> tuple[Iterator[Any], int]:
    arrays = tree.map_structure(_rows_of, arrays, none_is_leaf=False)
    total = min(len(leaf) for leaf in tree.flatten(arrays) if leaf is not None)
    first, last = (int(np.floor(total * part)) for part in rows)
    indices = np.arange(first, last)
    if order is not None:
        indices = order.permutation(indices)

    def batches() -> Iterator[Any]:
        for start in range(0, len(indices), batch_size):
            chosen = partial(_as_fit_casts, chosen=np.sort(indices[start : start + batch_size]))
            batch = tree.map_structure(chosen, arrays, none_is_leaf=False)
            yield batch if arrays[2] is not None else batch[:2]

    return batches(), len(indices)


def _rows_of(leaf: Any) -> Any:
    """Something that fancy indexing works on, without copying where the array can do that itself."""
    if isinstance(leaf, np.ndarray):
        return leaf
    if hasattr(leaf, "iloc"):
        return leaf.to_numpy()
    if hasattr(leaf, "detach") or hasattr(leaf, "toarray"):
        return to_host(leaf)
    return np.asarray(leaf)


def _as_fit_casts(array: Any, chosen: np.ndarray) -> np.ndarray:
    part = np.asarray(array[chosen])
    return part.astype(keras.config.floatx()) if np.issubdtype(part.dtype, np.floating) else part


def _py_dataset_batches(dataset: Any, order: np.random.Generator | None) -> tuple[Iterator[Any], int | None]:
    count = getattr(dataset, "num_batches", None)
    if count is None:
        return (dataset[index] for index in iter(int, 1)), None
    indices = np.arange(count) if order is None else order.permutation(count)
    samples = getattr(dataset, "n", None)  # legacy image iterators know it
    return (dataset[int(index)] for index in indices), samples if isinstance(samples, int) else None


def _replayed(items: list[Any], generator: Any, error: Exception | None) -> Any:
    """A generator (Keras accepts nothing less) that yields what was drawn, then the rest of `generator`."""

    def replay() -> Iterator[Any]:
        yield from items
        if error is not None:
            raise error
        yield from generator

    return replay()


@contextmanager
def _as_it_was(data: Any) -> Iterator[None]:
    """Keep random states, also inside `data`, and the counters that a user's data set may hold.

    Not for a generator: its batches are handed on, so what it drew from the random states is used up.
    """
    if isinstance(data, types.GeneratorType):
        yield
        return
    is_stateful = isinstance(data, keras.utils.PyDataset) or data_adapters.is_torch_dataloader(data)
    kept: dict[str, Any] | None = dict(data.__dict__) if is_stateful else None
    holders: tuple[Any, ...] = (data,) if not isinstance(data, np.ndarray) else ()
    with random_state_kept(*holders):
        try:
            yield
        finally:
            if kept is not None:
                data.__dict__.clear()
                data.__dict__.update(kept)
