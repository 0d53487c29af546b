"""Batches for `model.fit` on any backend."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from segnosis.core.discovery import imported
from segnosis.data.batches import Batches
from segnosis.data.sample_cache import Where
from segnosis.data.share import Share
from segnosis.data.transforms.base import Transform
from segnosis.data.transforms.sampling import Fill

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset


def feed(
    dataset: Dataset,
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
    share: Share | None = None,
) -> Batches:
    """Batches of `dataset` as a `keras.utils.PyDataset`, for `model.fit(feed, shuffle=False)`.

    What a sample looks like depends on (seed, epoch, its index) alone, whatever the batch size, the threads or the
    order in which batches are asked for. The feed shuffles by itself; Keras' own `fit(shuffle=True)` would draw the
    order of the batches again, from Python's global random numbers.

    Args:
        dataset: Samples and their `spec`.
        batch_size: Samples a batch.
        size: `(height, width)` of the batches in pixels, or one number for both.
        augment: `None`, a preset (`"light"`, `"default"`, `"isotropic"`, `"strong"`) or a sequence of transforms. If
            one of those sets the size (`Crop`, `Pad`, `Resize`), they replace `fit`.
        seed: Start of all random numbers, at least 0.
        shuffle: Another order every epoch. With `shuffle=False` and no `augment` nothing is random: for validation.
        fit: How an image gets to `size`: `"crop"` cuts a window (random, in validation central), `"resize"` stretches,
            `"pad"` shrinks the whole image if it is larger and centres it.
        foreground_share: Share of the random windows that must contain foreground, each class equally often.
        outside: Class in y where a window shows what is not in the image: `"ignore"` or `"background"`.
        fill: x there: each channel's `"mean"`, a value, or `"reflect"`.
        steps_per_epoch: Batches an epoch; samples come round again, with other random choices, as often as it takes.
            `None`: each sample once.
        drop_last: Leave out the last batch where it is not full.
        on_error: `"raise"` stops at an unreadable sample, `"skip"` takes the next one and lists it in `skipped`.
        cache: Decode each file once, `"auto"` in memory as far as that has room, or on `"disk"`; `"off"` always anew.
        workers: Threads or processes that work ahead; 0 for none, `None` for half the cores, at most 4.
        processes: Whether they are processes, which give the same batches to the bit through shared memory. `None`:
            threads, and if an epoch is then held up by its data and there are cores left, processes.
        share: Which samples of every batch to make, where other processes make the others; `None` for all.

    Returns:
        A `Batches` that is a `PyDataset` too: x float32 `(batch, height, width, channels)` in the values of the files,
        y int32 `(batch, height, width)` class ids, with `ignore_class` where there is nothing to learn; with `Mixup`
        among the transforms one-hot float32 `(batch, height, width, classes)`, 0 everywhere there.

    Example:
        >>> import numpy as np
        >>> from segnosis.core.dataset_spec import DatasetSpec
        >>> from segnosis.core.sample import Sample
        >>> class Squares(list):
        ...     spec = DatasetSpec("memory", "arrays", ("background", "square"), channels=1)
        >>> squares = Squares(Sample(np.eye(20)[..., None], np.eye(20, dtype=int), str(k), str(k)) for k in range(5))
        >>> batches = feed(squares, batch_size=2, size=16, augment="default", seed=0)
        >>> x, y = batches[0]
        >>> len(batches), x.shape, y.shape, batches.ignore_class
        (3, (2, 16, 16, 1), (2, 16, 16), 255)
    """
    settings = {name: value for name, value in locals().items() if name != "dataset"}
    return _keras_feed()(dataset, **settings)


@functools.cache
def _keras_feed() -> type[Batches]:
    """`Batches` as a `keras.utils.PyDataset`, the one thing with a length and epochs that `fit` takes on every backend.

    Keras is imported here and nowhere else in the data room, so that opening and checking data loads no backend.
    """
    imported("keras")  # where its backend is missing, one error says so
    import keras

    class Feed(Batches, keras.utils.PyDataset):
        """Batches for `model.fit`, made by `segnosis.data.feed`."""

        def __init__(self, dataset: Any, **settings: Any) -> None:
            keras.utils.PyDataset.__init__(self, workers=1)  # working ahead is ours: in order, and in this process
            Batches.__init__(self, dataset, **settings)

    return Feed
