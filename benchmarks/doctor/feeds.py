"""How arrays reach `fit`: one function, one way that people write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

Arrays = tuple[np.ndarray, ...]
Augment = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None


class Sequence(keras.utils.PyDataset):
    """Batches, each sample augmented on its own."""

    def __init__(self, arrays: Arrays, batch_size: int, augment: Augment) -> None:
        super().__init__()
        self.arrays, self.batch_size, self.augment = arrays, batch_size, augment

    def __len__(self) -> int:
        return max(1, len(self.arrays[0]) // self.batch_size)

    def __getitem__(self, index: int) -> Arrays:
        x, y, *weights = (array[index * self.batch_size : (index + 1) * self.batch_size] for array in self.arrays)
        if self.augment is not None:
            x, y = (
                np.stack(part) for part in zip(*(self.augment(*pair) for pair in zip(x, y, strict=True)), strict=True)
            )
        return (x, y, *weights)


def _endless(batches: Sequence) -> Iterator[Arrays]:
    while True:
        for index in np.random.permutation(len(batches)):
            yield batches[index]


def arrays(given: Arrays, batch_size: int, augment: Augment, seed: int) -> dict[str, Any]:
    """`fit(x, y)`; whoever augments writes a `PyDataset`."""
    if augment is not None:
        return py_dataset(given, batch_size, augment, seed)
    return {**dict(zip(("x", "y", "sample_weight"), given, strict=False)), "batch_size": batch_size}


def py_dataset(given: Arrays, batch_size: int, augment: Augment, seed: int) -> dict[str, Any]:
    return {"x": Sequence(given, batch_size, augment)}


def generator(given: Arrays, batch_size: int, augment: Augment, seed: int) -> dict[str, Any]:
    batches = Sequence(given, batch_size, augment)
    return {"x": _endless(batches), "steps_per_epoch": len(batches)}


def tf_data(given: Arrays, batch_size: int, augment: Augment, seed: int) -> dict[str, Any]:
    import tensorflow as tf  # the program's own choice of feed

    data = tf.data.Dataset.from_tensor_slices(given).shuffle(len(given[0]), seed=seed)
    if augment is not None:
        types = [tf.as_dtype(array.dtype) for array in given[:2]]
        shapes = [array.shape[1:] for array in given[:2]]

        def mapped(x: Any, y: Any) -> Any:
            x, y = tf.numpy_function(augment, (x, y), types)
            return tf.ensure_shape(x, shapes[0]), tf.ensure_shape(y, shapes[1])

        data = data.map(mapped)
    return {"x": data.batch(batch_size).prefetch(1)}


def tf_from_generator(given: Arrays, batch_size: int, augment: Augment, seed: int) -> dict[str, Any]:
    """A Python generator of single samples inside `tf.data`, as for files that TensorFlow cannot read."""
    import tensorflow as tf  # the program's own choice of feed

    def samples() -> Iterator[Arrays]:
        for index in np.random.permutation(len(given[0])):
            x, y, *weights = (array[index] for array in given)
            yield (*(augment(x, y) if augment is not None else (x, y)), *weights)

    signature = tuple(tf.TensorSpec(array.shape[1:], array.dtype) for array in given)
    data = tf.data.Dataset.from_generator(samples, output_signature=signature)
    data = data.apply(tf.data.experimental.assert_cardinality(len(given[0])))
    return {"x": data.batch(batch_size)}


def data_loader(given: Arrays, batch_size: int, augment: Augment, seed: int) -> dict[str, Any]:
    """A map-style dataset behind torch's `DataLoader`."""
    from torch.utils import data  # the program's own choice of feed

    class Pictures(data.Dataset):
        def __len__(self) -> int:
            return len(given[0])

        def __getitem__(self, index: int) -> Arrays:
            x, y, *weights = (array[index] for array in given)
            return (*(augment(x, y) if augment is not None else (x, y)), *weights)

    return {"x": data.DataLoader(Pictures(), batch_size=batch_size, shuffle=True, drop_last=True)}


def grain_loader(given: Arrays, batch_size: int, augment: Augment, seed: int) -> dict[str, Any]:
    """Grain's map-style dataset, shuffled, mapped and batched."""
    import grain  # the program's own choice of feed

    class Pictures(grain.sources.RandomAccessDataSource):
        def __len__(self) -> int:
            return len(given[0])

        def __getitem__(self, index: Any) -> Arrays:
            x, y, *weights = (array[index] for array in given)
            return (*(augment(x, y) if augment is not None else (x, y)), *weights)

    data = grain.MapDataset.source(Pictures()).shuffle(seed=seed).to_iter_dataset()
    return {"x": data.batch(batch_size, drop_remainder=True)}


def tf_by_index(given: Arrays, batch_size: int, augment: Augment, seed: int) -> dict[str, Any]:
    """`tf.data` over numbers of samples, each read by Python in `tf.py_function`, which forgets the shapes."""
    import tensorflow as tf  # the program's own choice of feed

    def read(index: Any) -> Arrays:
        x, y, *weights = (array[int(index)] for array in given)
        return (*(augment(x, y) if augment is not None else (x, y)), *weights)

    def mapped(index: Any) -> Any:
        parts = tf.py_function(read, [index], [tf.as_dtype(array.dtype) for array in given])
        return tuple(tf.ensure_shape(part, array.shape[1:]) for part, array in zip(parts, given, strict=True))

    data = tf.data.Dataset.range(len(given[0])).shuffle(len(given[0]), seed=seed)
    return {"x": data.map(mapped).batch(batch_size).prefetch(2)}


FEEDS: dict[str, Callable[[Arrays, int, Augment, int], dict[str, Any]]] = {
    "arrays": arrays,
    "PyDataset": py_dataset,
    "generator": generator,
    "tf.data": tf_data,
    "from_generator": tf_from_generator,
    "DataLoader": data_loader,
    "grain": grain_loader,
    "py_function": tf_by_index,
}
