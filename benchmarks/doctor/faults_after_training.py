"""Faults that only a history shows: the program trains, and the answer is asked for afterwards (`--continue`)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from benchmarks.doctor.catalogue import Fits, binary, both, no_void, planted, probabilities, validated
from benchmarks.doctor.recipe import Recipe

quick: Fits = lambda way: way.network in ("unet", "chain", "residual", "nested")  # noqa: E731  trained in earnest
fits: Fits = both(validated, quick, no_void)


@planted("EVA001", where=fits, after=True)
def four_pictures_for_eighty_epochs(r: Recipe) -> None:
    r.images, r.masks, r.batch_size, r.epochs = r.images[:4], r.masks[:4], 2, 60
    r.optimizer = keras.optimizers.Adam(5e-3)


@planted("EVA001", where=both(fits, probabilities), after=True)
def a_large_network_on_noisy_masks(r: Recipe) -> None:
    noise = r.random.random(r.masks.shape) < 0.15
    r.images, r.masks = r.images[:8], np.where(noise, 1 - np.minimum(r.masks, 1), r.masks)[:8]
    r.look.filters, r.epochs, r.batch_size = 24, 60, 4
    r.optimizer = keras.optimizers.Adam(4e-3)


@planted("OPT003", where=fits, after=True, also=("OPT002",))
def stopped_while_it_learns(r: Recipe) -> None:
    r.optimizer, r.epochs = keras.optimizers.Adam(3e-4), 6


@planted("OPT003", where=fits, after=True, also=("OPT002",))
def two_steps_an_epoch(r: Recipe) -> None:
    r.optimizer, r.epochs, r.fit = keras.optimizers.Adam(1e-3), 8, {"steps_per_epoch": 2}


class Jump(keras.callbacks.Callback):
    """Opens the trunk and takes a large rate at once, as a second stage does."""

    def __init__(self, epoch: int, rate: float) -> None:
        super().__init__()
        self.epoch, self.rate = epoch, rate

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            self.model.optimizer.learning_rate.assign(self.rate)


@planted("NRM004", where=fits, after=True, also=("OPT001",))
def a_second_stage_at_a_thousand_times_the_rate(r: Recipe) -> None:
    r.optimizer, r.epochs, r.fit = keras.optimizers.Adam(3e-3), 14, {"callbacks": [Jump(11, 3.0)]}


@planted("NRM004", where=fits, after=True, also=("OPT001",))
def warm_restart_far_too_warm(r: Recipe) -> None:
    def rate(epoch: int, now: float) -> float:
        return 1.0 if epoch == 12 else 3e-3

    r.optimizer, r.epochs = keras.optimizers.Adam(3e-3), 15
    r.fit = {"callbacks": [keras.callbacks.LearningRateScheduler(rate)]}


def _rare_and_faint(r: Recipe, share: int) -> None:
    """Objects of a few pixels, hardly brighter than what surrounds them."""
    for images, masks in ((r.images, r.masks), (r.val_images, r.val_masks)):
        masks[:] = 0
        for i, mask in enumerate(masks):
            top, left = r.random.integers(4, len(mask) - 8, 2)
            mask[top : top + 2, left : left + share] = 1
            images[i][mask == 1] = np.clip(images[i][mask == 1].astype(int) + 25, 0, 255)


@planted("OUT001", where=both(fits, binary), after=True, also=("OPT003",))
def three_pixels_in_a_thousand_under_entropy(r: Recipe) -> None:
    _rare_and_faint(r, 3)
    r.loss, r.epochs = keras.losses.BinaryCrossentropy(from_logits=r.logits), 12


@planted("OUT001", where=both(fits, binary, probabilities), after=True, also=("OPT003",))
def rare_objects_under_mean_squares(r: Recipe) -> None:
    _rare_and_faint(r, 2)
    r.loss, r.epochs = "mean_squared_error", 12


@planted("MET002", where=both(fits, binary), after=True, also=("OUT001",))
def accuracy_alone(r: Recipe) -> None:
    _rare_and_faint(r, 3)
    r.loss, r.epochs = keras.losses.BinaryCrossentropy(from_logits=r.logits), 8
    r.metrics = [keras.metrics.BinaryAccuracy(threshold=0.0 if r.logits else 0.5)]


@planted("MET002", where=both(fits, binary, probabilities), after=True, also=("OUT001",))
def accuracy_of_two_channels(r: Recipe) -> None:
    _rare_and_faint(r, 2)
    r.channels, r.look.activation_of_head, r.encode = 2, "softmax", lambda masks: (masks == 1).astype("int32")
    r.loss, r.metrics, r.epochs = "sparse_categorical_crossentropy", ["accuracy"], 8
