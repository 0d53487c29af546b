"""Batches of a data set, the same to the bit for the same (seed, epoch, index); no Keras in here."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import ArgumentError, DataError, SegnosisError, did_you_mean
from segnosis.core.sample import Sample
from segnosis.data.sample_cache import SampleCache, Where
from segnosis.data.transforms.augment import apply, preset
from segnosis.data.transforms.base import Geometric, Mixing, Transform
from segnosis.data.transforms.crop import Crop
from segnosis.data.transforms.pad import Pad
from segnosis.data.transforms.resize import Resize
from segnosis.data.transforms.sampling import Fill

_POINTS = 256  # remembered per class and sample for foreground crops


class Batches:
    """Batches of one data set: all of a feed but its Keras base class, arguments as in `segnosis.data.feed`.

    Attributes:
        epoch: Number of the present epoch, from 0; `set_epoch` sets it.
        ignore_class: Class id in y that must not be learned, or `None`: the `ignore_class` of loss and metrics.
        num_classes: Number of classes, background included.
        skipped: Sample id → why it could not be read, when `on_error="skip"`.
        failure: The error that stopped the last batch; TensorFlow hides it behind one of its own.
        waited_seconds: Time `fit` was held up in this epoch; near the epoch's own length, data is the bottleneck.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int,
        size: int | tuple[int, int],
        augment: str | Sequence[Transform] | None = None,
        seed: int = 0,
        shuffle: bool = True,
        fit: Literal["crop", "resize", "pad"] = "crop",
        foreground_share: float = 0.0,
        outside: Literal["ignore", "background"] = "ignore",
        fill: Fill = "mean",
        steps_per_epoch: int | None = None,
        drop_last: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
        cache: Where = "auto",
        workers: int | None = None,
    ) -> None:
        self.dataset, self.batch_size, self.seed, self.shuffle = dataset, batch_size, seed, shuffle
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        _check_choice("fit", fit, ("crop", "resize", "pad"))
        _check_choice("outside", outside, ("ignore", "background"))
        _check_choice("on_error", on_error, ("raise", "skip"))
        _check_whole("batch_size", batch_size, 1, 8)
        _check_whole("seed", seed, 0, 0)
        for name, value in (("steps_per_epoch", steps_per_epoch), ("workers", workers)):
            if value is not None:
                _check_whole(name, value, int(name == "steps_per_epoch"), 1)
        if not len(dataset):
            raise ArgumentError(
                "A feed needs at least one sample.", received={"dataset": dataset}, cure="Check the split."
            )
        transforms = preset(augment)
        if not any(isinstance(t, Geometric) and t.sets_size for t in transforms):
            position: Literal["random", "centre"] = "random" if shuffle or transforms else "centre"
            fitted = {
                "crop": Crop(self.size, position, foreground_share),
                "resize": Resize(self.size),
                "pad": Pad(self.size),
            }
            transforms = (fitted[fit], *transforms)
        self.transforms = transforms
        # Those that make the truth soft come last: the others take class ids.
        self.mixings = sorted((t for t in transforms if isinstance(t, Mixing)), key=lambda t: t.soft)
        self.seeks_foreground = any(isinstance(t, Crop) and t.foreground_share > 0 for t in transforms)
        self.fill, self.on_error = fill, on_error

        spec: DatasetSpec = dataset.spec
        self.num_classes, self.channels = spec.num_classes, spec.channels
        private = 255 if spec.num_classes <= 255 else -1
        self.ignore_class = private if spec.ignore_class is None and outside == "ignore" else spec.ignore_class
        self._outside = 0 if outside == "background" else int(self.ignore_class or 0)

        self.steps_per_epoch, self.drop_last = steps_per_epoch, drop_last
        if not len(self):
            raise ArgumentError(
                "With `drop_last` a feed needs a full batch of samples.",
                received={"batch_size": batch_size, "samples": len(dataset)},
                cure=f"Lower batch_size to {len(dataset)}, or pass drop_last=False.",
            )
        self.samples = SampleCache(dataset, cache)
        self.skipped: dict[str, str] = {}
        self.failure: BaseException | None = None
        self._points: dict[int, tuple[np.ndarray, ...]] = {}
        # Threads, not processes: decoding and OpenCV release the interpreter's lock, nothing is copied between
        # processes, and no worker can die without its exception being told.
        self.threads = min(4, max(1, (os.cpu_count() or 1) // 2)) if workers is None else workers
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="segnosis-feed") if self.threads else None
        self._pending: dict[tuple[int, int], Future[tuple[np.ndarray, np.ndarray]]] = {}
        self._lock = threading.Lock()
        self._made, self._making_seconds = 0, 0.0
        self._last_order: tuple[int, np.ndarray] = -1, np.empty((0, 2), int)
        self.epoch, self.waited_seconds = 0, 0.0
        self._next, self._within, self._taken = 0, False, 0  # epoch that begins next; are we in one; batches taken

    def __len__(self) -> int:
        """Batches an epoch."""
        if self.steps_per_epoch is not None:
            return self.steps_per_epoch
        return len(self.dataset) // self.batch_size if self.drop_last else -(-len(self.dataset) // self.batch_size)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch number `step` of the present epoch: x float32 `(batch, height, width, channels)`, y int32."""
        if not 0 <= step < len(self):
            raise IndexError(f"batch {step} of {len(self)}")
        started, epoch = time.perf_counter(), self.epoch
        try:
            with self._lock:
                self._taken = max(self._taken, step + 1)
                future = self._pending.pop((epoch, step), None)
                self._prefetch(epoch, step)
            return self._make(epoch, step) if future is None else future.result()
        except Exception as error:
            self.failure = error
            raise
        finally:
            with self._lock:
                self.waited_seconds += time.perf_counter() - started

    def on_epoch_begin(self) -> None:
        """Keras calls this when an epoch really begins."""
        self._within, self._taken, self.waited_seconds = True, 0, 0.0
        self._go_to(self._next)

    def on_epoch_end(self) -> None:
        """The next epoch follows: another order, other random choices.

        Keras also calls this before the first epoch of a `fit`, on some backends after taking one batch to build the
        model. Neither uses up an epoch: `on_epoch_begin` goes by those of which more was taken. (A peek into an epoch
        of one batch cannot be told from it: who needs the very same epochs calls `set_epoch` as each begins.)
        """
        if self._within and self._taken >= min(2, len(self)):
            self._next = self.epoch + 1
        self._within = False
        self._go_to(self.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Go on with epoch number `epoch`, counted from 0: what a resumed run calls."""
        _check_whole("epoch", epoch, 0, 0)
        self._next, self._within, self._taken, self.waited_seconds = epoch, False, 0, 0.0
        self._go_to(epoch)

    @property
    def seconds_per_batch(self) -> float | None:
        """Work of making one batch on one thread, a mean; `None` before the first."""
        return self._making_seconds / self._made if self._made else None

    def indices(self, epoch: int) -> np.ndarray:
        """The samples of one epoch in order, `(draws, 2)`: number, and how often it was drawn before in the epoch."""
        count = len(self.dataset)
        draws = len(self) * self.batch_size if self.steps_per_epoch is not None or self.drop_last else count
        rounds = []
        for turn in range(-(-draws // count)):
            order = self._rng(epoch, turn).permutation(count) if self.shuffle else np.arange(count)
            rounds.append(np.stack([order, np.full(count, turn)], axis=1))
        return np.concatenate(rounds)[:draws]

    def _go_to(self, epoch: int) -> None:
        self.epoch = epoch
        with self._lock:
            for key in [key for key in self._pending if key[0] != epoch]:
                self._pending.pop(key).cancel()

    def _prefetch(self, epoch: int, step: int) -> None:
        """Start on the batches after `step`; the caller holds the lock."""
        for ahead in range(step + 1, min(step + 2 + self.threads, len(self))):
            if (
                self._pool is not None
                and len(self._pending) <= 2 * self.threads
                and (epoch, ahead) not in self._pending
            ):
                self._pending[epoch, ahead] = self._pool.submit(self._make, epoch, ahead)

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def _order(self, epoch: int) -> np.ndarray:
        known, order = self._last_order
        if known != epoch:
            order = self.indices(epoch)
            self._last_order = epoch, order  # one assignment: another thread sees the old pair or the new
        return order

    def _make(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        started = time.perf_counter()
        draws = self._order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        x = np.empty((len(draws), *self.size, self.channels), np.float32)
        y = np.empty((len(draws), *self.size), np.int32)
        for k, (index, turn) in enumerate(draws.tolist()):
            self._fill(x[k], y[k], index, self._rng(epoch, turn, index))
        for number, mixing in enumerate(self.mixings):
            if mixing.soft and y.ndim == 3:
                y = one_hot(y, self.num_classes)
            rng = self._rng(epoch, step, number, 1)  # four numbers: never the stream of a sample
            if rng.random() < mixing.probability:
                x, y = mixing.mix(rng, x, y)
        with self._lock:
            self._made += 1
            self._making_seconds += time.perf_counter() - started
        return x, y

    def _fill(self, x: np.ndarray, y: np.ndarray, index: int, rng: np.random.Generator) -> None:
        index, sample, mask = self._sample(index)
        points = self._foreground(index, mask) if self.seeks_foreground else ()
        image, moved = apply(
            self.transforms, sample.image, mask, rng, fill=self.fill, outside=self._outside, foreground=points
        )
        if image.shape[:2] != self.size:
            raise ArgumentError(
                "A sequence of transforms that sets the size must end with the size of the feed.",
                received={"size": self.size, "after transforms": image.shape[:2]},
                cure=f"End with Crop({self.size}), or leave Crop, Pad and Resize out: `fit` does it.",
            )
        x[...], y[...] = image, moved

    def _sample(self, index: int) -> tuple[int, Sample, np.ndarray]:
        """The sample, or with `on_error="skip"` the next one that can be read."""
        for present in [index, *range(index + 1, len(self.dataset)), *range(index)]:
            try:
                sample = self.samples[present]
                return present, sample, self._checked(sample)
            except Exception as error:
                told = error if isinstance(error, SegnosisError) else self._unreadable(present, error)
                if self.on_error == "raise":
                    raise told from error
                self.skipped[self._name(present)] = str(told)
        raise DataError(
            "At least one sample of the data set must be readable.",
            file=getattr(self.dataset, "name", "data set"),
            received={"first problem": next(iter(self.skipped.values()))},
            cure="Run `segnosis check` on the data.",
        )

    def _checked(self, sample: Sample) -> np.ndarray:
        if sample.mask is None:
            raise DataError(
                "A feed needs the mask of every sample.", file=sample.id, cure="Remove the sample, or add its mask."
            )
        if sample.image.shape != (*sample.mask.shape, self.channels):
            raise DataError(
                f"Image and mask have the same height and width, and images here have {self.channels} channels.",
                file=sample.id,
                received={"image": sample.image.shape, "mask": sample.mask.shape},
                cure="Run `segnosis check` on the data: it lists every such pair.",
            )
        return sample.mask

    def _unreadable(self, index: int, error: Exception) -> DataError:
        return DataError(
            "Every sample of the data set must be readable.",
            file=self._name(index),
            received={"problem": f"{type(error).__name__}: {error}"},
            cure="Run `segnosis check` on the data: it lists every such file.",
        )

    def _name(self, index: int) -> str:
        ids = getattr(self.dataset, "ids", None)
        return f"sample {index}" if ids is None else str(ids[index])

    def _foreground(self, index: int, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """For each foreground class in the mask up to 256 of its pixels, evenly spread, as centres `(x, y)`."""
        points = self._points.get(index)
        if points is None:
            flat = mask.ravel()
            wanted = [c for c in np.unique(flat).tolist() if c not in (0, self.ignore_class)]
            found = [np.flatnonzero(flat == class_id) for class_id in wanted]
            rows_columns = [np.divmod(pixels[:: -(-len(pixels) // _POINTS)], mask.shape[1]) for pixels in found]
            points = tuple(np.stack([columns, rows], axis=1) + 0.5 for rows, columns in rows_columns)
            self._points[index] = points
        return points


def one_hot(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Class ids `(batch, height, width)` as float32 `(…, classes)`; what is no class is 0 everywhere.

    Example:
        >>> one_hot(np.array([[[1, 255]]]), 2).tolist()
        [[[[0.0, 1.0], [0.0, 0.0]]]]
    """
    return (y[..., None] == np.arange(num_classes, dtype=y.dtype)).astype(np.float32)


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ArgumentError(
            f"`{name}` is one of {', '.join(known)}.", received={name: value}, cure=did_you_mean(str(value), known)
        )


def _check_whole(name: str, value: int, least: int, example: int) -> None:
    if not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(
            f"`{name}` is a whole number of at least {least}.", received={name: value}, cure=f"Pass {name}={example}."
        )
