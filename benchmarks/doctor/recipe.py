"""A program under construction: what a fault or an oddity may change, and the `fit` that it ends in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from benchmarks.doctor import losses
from benchmarks.doctor.networks import NETWORKS, Look
from benchmarks.doctor.pictures import MADE, REAL, VOID

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Choices:
    """One way of writing a program; every field is a choice of its own.

    Attributes:
        data: Name in `pictures`.
        network: Name in `networks`.
        feed: `"arrays"`, `"tf.data"`, `"PyDataset"` or `"generator"`.
        head: `"sigmoid"`, `"softmax"` or `"linear"`.
        target: `"binary"`, `"ids"` or `"one-hot"`.
        loss: `"keras"`, `"closure"` or `"class"`.
    """

    data: str
    network: str
    feed: str
    head: str
    target: str
    loss: str

    def __str__(self) -> str:
        return "/".join(vars(self).values())


class Recipe:
    """The ingredients of one program, healthy until a fault changes one of them."""

    def __init__(self, choices: Choices, seed: int = 0) -> None:
        keras.utils.set_random_seed(seed)
        self.choices, self.seed = choices, seed
        self.random = np.random.default_rng(seed)
        pictures = {**MADE, **REAL}[choices.data](seed)
        held_out = len(pictures.images) // 4
        self.images, self.masks = pictures.images[held_out:], pictures.masks[held_out:]
        self.val_images, self.val_masks = pictures.images[:held_out], pictures.masks[:held_out]
        self.num_classes, self.has_void = pictures.num_classes, pictures.has_void
        self.target, self.head = choices.target, choices.head
        self.channels = 1 if choices.target == "binary" else self.num_classes
        self.look = Look(activation_of_head=None if choices.head == "linear" else choices.head)
        self.scale: Callable[[np.ndarray], np.ndarray] = lambda images: (images / 255).astype("float32")
        self.scale_validation: Callable[[np.ndarray], np.ndarray] | None = None
        self.encode: Callable[[np.ndarray], Any] = self.encoded
        self.augment: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
        self.weigh: Callable[[np.ndarray], np.ndarray] | None = None
        self.loss = losses.make(choices.loss, self.target, self.num_classes, choices.head == "linear", self.has_void)
        self.optimizer: Any = keras.optimizers.Adam(3e-3)
        self.metrics: list[Any] = [self.right_metric()]
        self.batch_size, self.epochs = 8, 20
        self.build: Callable[[], keras.Model] = self.network
        self.change_model: Callable[[keras.Model], Any] = lambda model: None
        self.compile: dict[str, Any] = {}
        self.fit: dict[str, Any] = {}
        self.model: keras.Model | None = None

    @property
    def logits(self) -> bool:
        return self.head == "linear"

    def right_metric(self) -> Any:
        """Intersection over union in the head's format."""
        if self.target == "binary":
            return keras.metrics.BinaryIoU([1], threshold=0.0 if self.logits else 0.5)
        return keras.metrics.MeanIoU(
            self.num_classes,
            sparse_y_true=self.target == "ids",
            sparse_y_pred=False,
            ignore_class=VOID if self.has_void and self.target == "ids" else None,
        )

    def encoded(self, masks: np.ndarray) -> np.ndarray:
        """Masks as this program's target; void one-hot rows are all zero."""
        if self.target == "binary":
            return (masks == 1)[..., None].astype("float32")
        if self.target == "one-hot":
            return (masks[..., None] == np.arange(self.num_classes)).astype("float32")
        return masks.astype("int32")

    def network(self) -> keras.Model:
        return NETWORKS[self.choices.network](self.images.shape[1:], self.channels, self.look)

    def arrays(self) -> Arrays:
        y = self.encode(self.masks)
        weights = () if self.weigh is None else (self.weigh(self.masks),)
        return (self.scale(self.images), y, *weights)

    def validation(self) -> Arrays:
        weights = () if self.weigh is None else (self.weigh(self.val_masks),)
        return ((self.scale_validation or self.scale)(self.val_images), self.encode(self.val_masks), *weights)

    def train(self) -> dict[str, Any]:
        """Arguments of `fit` that say what to train on."""
        arrays = self.arrays()
        feed = self.choices.feed
        if self.augment is not None and feed == "arrays":
            feed = "PyDataset"
        if feed == "arrays":
            names = ("x", "y", "sample_weight")
            return {**dict(zip(names, arrays, strict=False)), "batch_size": self.batch_size}
        if feed == "PyDataset":
            return {"x": Sequence(arrays, self.batch_size, self.augment)}
        if feed == "generator":
            batches = Sequence(arrays, self.batch_size, self.augment)
            return {"x": endless(batches), "steps_per_epoch": len(batches)}
        return {"x": self.dataset(arrays)}

    def dataset(self, arrays: Arrays) -> Any:
        import tensorflow as tf  # the program's own choice of feed

        data = tf.data.Dataset.from_tensor_slices(arrays).shuffle(len(arrays[0]), seed=self.seed)
        if self.augment is not None:
            types = [tf.as_dtype(array.dtype) for array in arrays[:2]]
            shapes = [array.shape[1:] for array in arrays[:2]]

            def mapped(x: Any, y: Any) -> Any:
                x, y = tf.numpy_function(self.augment, (x, y), types)
                return tf.ensure_shape(x, shapes[0]), tf.ensure_shape(y, shapes[1])

            data = data.map(mapped)
        return data.batch(self.batch_size).prefetch(1)

    def run(self) -> Any:
        """Build, compile and fit, as a script would."""
        self.model = model = self.build()
        if not model.built:
            model.build((None, *self.images.shape[1:]))
        self.change_model(model)
        model.compile(**{"optimizer": self.optimizer, "loss": self.loss, "metrics": self.metrics, **self.compile})
        x, y, *rest = self.validation()
        settings = {"epochs": self.epochs, "validation_data": (x, y, *rest), "verbose": 0}
        return model.fit(**{**settings, **self.train(), **self.fit})


class Sequence(keras.utils.PyDataset):
    """Shuffled batches, each sample augmented on its own."""

    def __init__(self, arrays: Arrays, batch_size: int, augment: Any) -> None:
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


def endless(batches: Sequence) -> Iterator[Arrays]:
    while True:
        for index in np.random.permutation(len(batches)):
            yield batches[index]


@dataclass
class Program:
    """One entry of the table.

    Attributes:
        name: Unique, says the fault and the choices.
        choices: How it is written.
        change: What is done to the healthy recipe.
        codes: Findings it deserves, the cause first; empty when it is healthy.
        also: Codes that may stand before or beside the cause without being wrong.
    """

    name: str
    choices: Choices
    change: Callable[[Recipe], None]
    codes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    seed: int = 0

    def recipe(self, healthy: bool = False) -> Recipe:
        recipe = Recipe(self.choices, self.seed)
        if not healthy:
            self.change(recipe)
        return recipe
