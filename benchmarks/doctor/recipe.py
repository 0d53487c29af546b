"""A program under construction: what a fault or an oddity may change, and the `fit` that it ends in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
from benchmarks.doctor import losses
from benchmarks.doctor.feeds import FEEDS, Arrays
from benchmarks.doctor.networks import NETWORKS, Look
from benchmarks.doctor.pictures import PICTURES, VOID


@dataclass(frozen=True)
class Choices:
    """One way of writing a program; every field is a choice of its own.

    Attributes:
        data: Name in `pictures`.
        network: Name in `networks`.
        feed: Name in `feeds`, or `"steps"`: a loop of `train_on_batch`.
        head: `"sigmoid"`, `"softmax"` or `"linear"`.
        target: `"binary"`, `"ids"` or `"one-hot"`.
        loss: Name in `losses`.
        size: Side of the pictures in pixels; empty for what the data has of its own.
    """

    data: str
    network: str
    feed: str
    head: str
    target: str
    loss: str
    size: str = ""

    def __str__(self) -> str:
        return "/".join(getattr(self, field.name) for field in fields(self)).rstrip("/")

    @classmethod
    def read(cls, text: str) -> Choices:
        """Inverse of `str`."""
        return cls(*text.split("/"))


class Recipe:
    """The ingredients of one program, healthy until a fault changes one of them."""

    def __init__(self, choices: Choices, seed: int = 0) -> None:
        keras.utils.set_random_seed(seed)
        self.choices, self.seed = choices, seed
        self.random = np.random.default_rng(seed)
        self.load()
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
        if seed > 1:  # random compositions differ in more than their choices
            self.batch_size = int(self.random.choice([4, 6, 8]))
            self.look.filters = int(self.random.choice([8, 12, 16]))
            self.look.normalization = str(self.random.choice(["batch", "batch", "group"]))
            self.optimizer = keras.optimizers.Adam(float(self.random.choice([1e-3, 2e-3, 4e-3])))
        self.build: Callable[[], keras.Model] = self.network
        self.change_model: Callable[[keras.Model], Any] = lambda model: None
        self.compile: dict[str, Any] = {}
        self.fit: dict[str, Any] = {}
        self.model: keras.Model | None = None

    def load(self, count: int = 64) -> None:
        """Make or read `count` pictures and hold a quarter of them out."""
        size = {"size": int(self.choices.size)} if self.choices.size else {}
        pictures = PICTURES[self.choices.data](self.seed, count, **size)
        held_out = len(pictures.images) // 4
        self.images, self.masks = pictures.images[held_out:], pictures.masks[held_out:]
        self.val_images, self.val_masks = pictures.images[:held_out], pictures.masks[:held_out]
        self.num_classes, self.has_void = pictures.num_classes, pictures.has_void

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
        feed = FEEDS["generator" if self.choices.feed == "steps" else self.choices.feed]
        return feed(self.arrays(), self.batch_size, self.augment, self.seed)

    def run(self) -> Any:
        """Build, compile and fit, as a script would."""
        self.model = model = self.build()
        if not model.built:
            model.build((None, *self.images.shape[1:]))
        self.change_model(model)
        model.compile(**{"optimizer": self.optimizer, "loss": self.loss, "metrics": self.metrics, **self.compile})
        if self.choices.feed == "steps":
            return self.step_by_step(model)
        x, y, *rest = self.validation()
        settings = {"epochs": self.epochs, "validation_data": (x, y, *rest), "verbose": 0}
        return model.fit(**{**settings, **self.train(), **self.fit})

    def step_by_step(self, model: keras.Model) -> None:
        """A loop of the program's own around `train_on_batch`."""
        feed = self.train()
        for _ in range(self.epochs):
            for _ in range(feed["steps_per_epoch"]):
                model.train_on_batch(*next(feed["x"]))


@dataclass
class Program:
    """One entry of the table.

    Attributes:
        name: Unique; says the fault, the choices and the seed.
        choices: How it is written.
        change: What is done to the healthy recipe.
        groups: One tuple per planted fault: its code, then codes that name the same thing rightly. Empty when healthy.
        seed: Of pictures, weights and, from 2 on, of small choices.
        after: Whether the answer is asked for after the training, from its history.
        held_out: Whether a piece of it was never shown to the doctor while its checks were mended.
        backend: The one of Keras that it chooses itself.
    """

    name: str
    choices: Choices
    change: Callable[[Recipe], None]
    groups: tuple[tuple[str, ...], ...] = ()
    seed: int = 0
    after: bool = False
    held_out: bool = False
    backend: str | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(group[0] for group in self.groups)

    @property
    def kind(self) -> str:
        """`"healthy"`, `"planted"` or `"compound"`."""
        return ("healthy", "planted", "compound")[len(self.groups)]

    @contextmanager
    def script(self, twin: bool = False) -> Iterator[tuple[Path, list[str]]]:
        """The file to run and its arguments."""
        yield Path(__file__).with_name("train.py"), [self.name, *(["--twin"] if twin else [])]

    def recipe(self, healthy: bool = False) -> Recipe:
        recipe = Recipe(self.choices, self.seed)
        if not healthy:
            self.change(recipe)
        return recipe
