"""Batches of a data set, the same to the bit for the same (seed, epoch, index); no Keras in here."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import ArgumentError, did_you_mean
from segnosis.data.bottleneck import Waiting, cores
from segnosis.data.drawing import Drawing, name_of
from segnosis.data.sample_cache import SampleCache, Where
from segnosis.data.share import Share
from segnosis.data.threads import Threads
from segnosis.data.transforms.augment import preset
from segnosis.data.transforms.base import Geometric, Mixing, Transform
from segnosis.data.transforms.crop import Crop
from segnosis.data.transforms.pad import Pad
from segnosis.data.transforms.resize import Resize
from segnosis.data.transforms.sampling import Fill
from segnosis.data.workers import Workers


class Batches(Drawing):
    """Batches of one data set: all of a feed but its Keras base class, arguments as in `segnosis.data.feed`.

    Attributes:
        epoch: Number of the present epoch, from 0; `set_epoch` sets it.
        ignore_class: Class id in y that must not be learned, or `None`: the `ignore_class` of loss and metrics.
        num_classes: Number of classes, background included.
        skipped: Sample id → why it could not be read, when `on_error="skip"`.
        tell: Called with a sentence when the feed has one to say; set it to a listener's `say`.
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
        processes: bool | None = None,
        cached_in: tuple[Path, int] | None = None,
        share: Share | None = None,
    ) -> None:
        self._settings = {name: value for name, value in locals().items() if name not in ("self", "dataset")}
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
        self.fill, self.on_error, self.share = fill, on_error, share or Share()

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
        self.samples = SampleCache(dataset, cache, shared=cached_in)
        self.skipped: dict[str, str] = {}
        self.failure: BaseException | None = None
        self._points: dict[int, tuple[np.ndarray, ...]] = {}
        self.present: np.ndarray | None = None  # in a worker process: the number of the sample at hand, for the others
        self.tell: Callable[[str], None] = _nobody
        # Threads first: decoding and OpenCV release the interpreter's lock, and nothing has to be started or sent.
        self.helpers = min(4, max(1, cores() // 2)) if workers is None else workers
        self._processes = bool(processes)
        self._ahead: Threads | Workers | None = None
        self._may_change = processes is None and workers is None
        self._pending: dict[tuple[int, int], Future[Any]] = {}
        self._lock = threading.Lock()
        self._made, self._making_seconds = 0, 0.0
        self._last_order: tuple[int, np.ndarray] = -1, np.empty((0, 2), int)
        self.epoch, self.waited_seconds = 0, 0.0
        self._next, self._within, self._taken = 0, False, 0  # epoch that begins next; are we in one; batches taken
        self._began = 0.0

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
                ahead, future = self._working_ahead(), self._pending.pop((epoch, step), None)
                self._prefetch(epoch, step)
            return self.batch(epoch, step) if ahead is None or future is None else ahead.take(future.result())
        except Exception as error:
            self.failure = error
            raise
        finally:
            with self._lock:
                self.waited_seconds += time.perf_counter() - started

    def on_epoch_begin(self) -> None:
        """Keras calls this when an epoch really begins."""
        self._within, self._taken, self.waited_seconds, self._began = True, 0, 0.0, time.perf_counter()
        self._go_to(self._next)

    def on_epoch_end(self) -> None:
        """The next epoch follows: another order, other random choices.

        Keras also calls this before the first epoch of a `fit`, on some backends after taking one batch to build the
        model. Neither uses up an epoch: `on_epoch_begin` goes by those of which more was taken. (A peek into an epoch
        of one batch cannot be told from it: who needs the very same epochs calls `set_epoch` as each begins.)
        """
        if self._within and self._taken >= min(2, len(self)):
            self._next = self.epoch + 1
            self._weigh(time.perf_counter() - self._began)
        self._within = False
        self._go_to(self.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Go on with epoch number `epoch`, counted from 0: what a resumed run calls."""
        _check_whole("epoch", epoch, 0, 0)
        self._next, self._within, self._taken, self.waited_seconds = epoch, False, 0, 0.0
        self._go_to(epoch)

    @property
    def seconds_per_batch(self) -> float | None:
        """Work of making one batch in one thread or process, a mean; `None` before the first."""
        if isinstance(self._ahead, Workers) and self._ahead.seconds_per_batch:
            return self._ahead.seconds_per_batch
        return self._making_seconds / self._made if self._made else None

    def samples_in(self, step: int) -> int:
        """Samples of batch number `step`, of which a process with a share makes only some."""
        return min(self.batch_size, len(self._order(self.epoch)) - step * self.batch_size)

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
            unwanted = [self._pending.pop(key) for key in list(self._pending) if key[0] != epoch]
        for future in unwanted:
            if self._ahead is not None:
                self._ahead.drop(future)

    def _prefetch(self, epoch: int, step: int) -> None:
        """Start on the batches after `step`; the caller holds the lock."""
        for ahead in range(step + 1, min(step + 2 + self.helpers, len(self))):
            room = self._ahead is not None and len(self._pending) <= 2 * self.helpers
            if self._ahead is not None and room and (epoch, ahead) not in self._pending:
                self._pending[epoch, ahead] = self._ahead.submit(epoch, ahead)

    def _working_ahead(self) -> Threads | Workers | None:
        """The threads or processes, begun when the first batch is asked for; the caller holds the lock."""
        if isinstance(self._ahead, Workers) and self._ahead.broken:
            self._ahead = None  # its error was told; who goes on all the same gets new ones
            self._pending.clear()
        if self._ahead is None and self.helpers:
            if self._processes:
                self._ahead = self._begun_processes(self.helpers)
            else:
                self._ahead = Threads(self.batch, self.helpers)
        return self._ahead

    def _begun_processes(self, count: int) -> Workers:
        settings = {**self._settings, "workers": 0, "processes": False}
        if self.samples.where != "off":
            settings["cached_in"] = self.samples.folder(), count
        recipe = functools.partial(_in_a_worker, self.dataset, settings, count)
        soft = any(mixing.soft for mixing in self.mixings)
        pixel = 4 * (self.channels + (self.num_classes if soft else 1))
        room = self.batch_size * self.size[0] * self.size[1] * pixel
        return Workers(recipe, count, room=room, name_of=functools.partial(name_of, self.dataset), skipped=self.skipped)

    def close(self) -> None:
        """End the threads or processes that work ahead; the next batch begins them anew."""
        with self._lock:
            ahead, self._ahead = self._ahead, None
            self._pending.clear()
        if ahead is not None:
            ahead.close()

    def _weigh(self, seconds: float) -> None:
        """Say so when the epoch waited for its data, and go over to processes where there are cores for them."""
        if not self._may_change:
            return
        making = self.seconds_per_batch or 0.0
        waiting = Waiting(seconds, self.waited_seconds, self._taken, making, self.helpers, cores())
        if not waiting.much:
            return
        self._may_change = False
        if not waiting.wanted or sys.platform == "win32":
            self.tell(f"{waiting}; no cores are left for more: `segnosis pack`, or smaller images, would help")
            return
        try:
            begun = self._begun_processes(waiting.wanted)
        except ArgumentError as error:
            self.tell(f"{waiting}. Threads go on: {error}")
            return
        self.close()
        self._processes, self.helpers, self._ahead = True, waiting.wanted, begun
        self.tell(f"{waiting}; from here on {waiting.wanted} worker processes make them")

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def _order(self, epoch: int) -> np.ndarray:
        known, order = self._last_order
        if known != epoch:
            order = self.indices(epoch)
            self._last_order = epoch, order  # one assignment: another thread sees the old pair or the new
        return order

    def batch(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """One batch, made here and now: the same to the bit whoever makes it."""
        started = time.perf_counter()
        draws = self._order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        own = self.share.rows(len(draws))
        if not self.mixings:  # those mix samples of the whole batch
            draws, own = draws[own], slice(None)
        x = np.empty((len(draws), *self.size, self.channels), np.float32)
        y = np.empty((len(draws), *self.size), np.int32)
        for k, (index, turn) in enumerate(draws.tolist()):
            self._fill(x[k], y[k], index, self._rng(epoch, turn, index))
        self._at(None)
        for number, mixing in enumerate(self.mixings):
            if mixing.soft and y.ndim == 3:
                y = one_hot(y, self.num_classes)
            rng = self._rng(epoch, step, number, 1)  # four numbers: never the stream of a sample
            if rng.random() < mixing.probability:
                x, y = mixing.mix(rng, x, y)
        x, y = x[own], y[own]
        with self._lock:
            self._made += 1
            self._making_seconds += time.perf_counter() - started
        return x, y


def _in_a_worker(dataset: Any, settings: dict[str, Any], count: int) -> Batches:
    """The batches of one of `count` processes, which together keep no more files in memory than one alone."""
    if hasattr(dataset, "source"):
        dataset.source.cache.limit //= count
    return Batches(dataset, **settings)


def one_hot(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Class ids `(batch, height, width)` as float32 `(…, classes)`; what is no class is 0 everywhere.

    Example:
        >>> one_hot(np.array([[[1, 255]]]), 2).tolist()
        [[[[0.0, 1.0], [0.0, 0.0]]]]
    """
    return (y[..., None] == np.arange(num_classes, dtype=y.dtype)).astype(np.float32)


def _nobody(text: str) -> None:
    """Hears what a feed tells when nobody else does."""


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
