"""The batches of a run: to train on, to validate on, and what is left of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from segnosis import data
from segnosis.data.share import Share
from segnosis.training.plan import Plan

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset


def feed_for(plan: Plan, dataset: Dataset, *, training: bool, share: Share | None = None) -> Any:
    """The batches of `dataset` as the plan cuts them: with augmentation to train on, as they are to validate.

    Args:
        plan: The plan.
        dataset: Samples.
        training: Whether to train on them.
        share: The part of each that this process makes; `None` for all.
    """
    return data.feed(
        dataset,
        batch_size=plan.batch_size,
        size=plan.size,
        fit=plan.fit_to_size,
        augment=(None if plan.augment == "none" else plan.augment) if training else None,
        seed=plan.seed,
        shuffle=training,
        foreground_share=plan.foreground_share if training else 0.0,
        steps_per_epoch=plan.steps_per_epoch if training else None,
        on_error="raise" if plan.unreadable == "stop" else "skip",
        share=share,
    )


class Held(Sequence[Any]):
    """Validation batches, cut once and kept: the same pixels after every epoch.

    Attributes:
        ignore_class: Value in the masks that is no class.
        skipped: Samples that could not be read, and why.
    """

    def __init__(self, feed: Any, most: int = 24) -> None:
        self.ignore_class = feed.ignore_class
        chosen = sorted(set(np.linspace(0, len(feed) - 1, min(most, len(feed))).round().astype(int)))
        self._batches = [feed[int(index)] for index in chosen]
        self.skipped: dict[str, str] = dict(feed.skipped)

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: Any) -> Any:
        return self._batches[index]


class Rest(keras.utils.PyDataset):
    """The batches of a feed's epoch from `first` on."""

    def __init__(self, feed: Any, first: int) -> None:
        super().__init__(workers=1)
        self.feed, self.first = feed, first

    def __len__(self) -> int:
        return len(self.feed) - self.first

    def __getitem__(self, index: int) -> Any:
        return self.feed[self.first + index]

    def samples_in(self, index: int) -> int:
        """As the feed says."""
        return int(self.feed.samples_in(self.first + index))

    def on_epoch_begin(self) -> None:
        """Pass it on."""
        self.feed.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Pass it on."""
        self.feed.on_epoch_end()
