"""Training as planned: measured beforehand, recorded, resumable, stopped in time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from segnosis import data
from segnosis.core.run_folder import RunFolder, write_text
from segnosis.models import prune
from segnosis.training import build, checkpoint, determinism, stages
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan
from segnosis.training.recorder import Recorder, TwoTermModel

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset

_TRIAL_STEPS = 8
_RECORDING = 0.3
"""Seconds an epoch takes to write its picture and its checkpoint."""
_REPORTING = 15.0
"""Seconds of the diagnosis and the report."""


@dataclass(frozen=True)
class Fitted:
    """A trained model.

    Attributes:
        model: Functional model of stock layers with the best weights, raw pixels to logits; the deepest output alone
            where training had one per depth.
        depths: With deep supervision the networks of the other depths, shallowest first.
        plan: The plan as it was followed: with `minutes`, epochs and steps are those that were measured to fit.
        best_epoch: Epoch of the best validation score; its weights are the model's.
        stopped: Why training ended before the last epoch, or `""`.
    """

    model: keras.Model
    depths: tuple[keras.Model, ...]
    plan: Plan
    best_epoch: int
    stopped: str


def fit(
    plan: Plan,
    train: Dataset,
    validation: Dataset,
    folder: RunFolder,
    *,
    listener: Listener | None = None,
    resume: bool = False,
    started: float | None = None,
    pixels_after: float = 0.0,
) -> Fitted:
    """Train as `plan` says, recording into `folder`.

    Args:
        plan: What to do.
        train: Samples to learn from.
        validation: Samples that choose the best epoch.
        folder: Run folder; `history.jsonl`, `pictures/`, `checkpoint/` and `plan.yaml` are written.
        listener: Who is told of the progress.
        resume: Continue after the last checkpoint in `folder`.
        started: `time.monotonic()` at which the budget of `plan.minutes` began; now, when left out.
        pixels_after: Pixels to predict when training is over; the budget keeps time for them and for the report.

    Returns:
        The model with the best weights, and what happened.
    """
    listener = listener or Listener()
    started = time.monotonic() if started is None else started
    spec = train.spec
    determinism.start(plan.seed)
    network = build.model(plan, channels=spec.channels, num_classes=spec.num_classes)
    if plan.weights:
        listener.say(build.load_weights(plan, network))
    model = TwoTermModel(network.input, network.output)
    held_out = _Held(feed_for(plan, validation, training=False))
    ignore = held_out.ignore_class
    deadline = started + plan.minutes * 60.0 if plan.minutes else None
    stored = checkpoint.load(folder.checkpoint, "last") if resume else None

    if deadline is not None:
        listener.step("timing a training step")
        timed = _timed(plan, model, train, held_out, ignore)
        deadline -= _REPORTING + 1.3 * pixels_after * timed.pixel
        if stored is None:
            plan = _fitted_to_time(plan, timed, len(train), deadline - time.monotonic())
            plan.save(folder.plan)
            listener.forecast(started + 60.0 * (plan.minutes or 0.0) - time.monotonic(), plan.reasons["epochs"])
    feed = feed_for(plan, train, training=True)
    steps = len(feed)
    first = 0
    if stored is not None:
        first = stored.epoch
        kept = folder.history.read_text(encoding="utf-8").splitlines(keepends=True)[:first]
        write_text(folder.history, "".join(kept))
    feed.set_epoch(first)
    recorder = Recorder(
        plan,
        folder,
        held_out,
        class_names=spec.class_names,
        ignore_class=ignore,
        listener=listener,
        deadline=deadline,
        waited=lambda: float(feed.waited_seconds),
    )
    # The feed is told which epoch begins: batches then depend on nothing but the seed and that number.
    numbered = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: feed.set_epoch(epoch))
    # A checkpoint holds the optimizer of the stage that wrote it, so that stage is where a run goes on.
    to_come = [stage for stage in stages.stages(plan) if stage.last >= first]
    for stage in to_come:
        says = stages.begin(stage, network)
        optimizer = build.optimizer(
            plan, total_steps=steps * plan.epochs, first_step=steps * stage.first, rate=stage.rate
        )
        model.compile(optimizer, build.loss(plan, ignore_class=ignore), jit_compile=determinism.compiled())
        optimizer.build(model.trainable_variables)
        if stored is not None and stage is to_come[0]:
            checkpoint.restore(stored, model, optimizer)
        if max(stage.first, first) == stage.last or recorder.stopped:
            continue
        if plan.frozen:
            listener.say(f"epochs {stage.first + 1} to {stage.last}: {says}")
        try:
            model.fit(
                feed,
                initial_epoch=max(stage.first, first),
                epochs=stage.last,
                callbacks=[numbered, recorder],
                verbose=0,
                shuffle=False,
            )
        except Exception:
            if feed.failure is not None:  # a backend wraps it in words of its own
                raise feed.failure from None
            raise
    best = checkpoint.load(folder.checkpoint, "best")
    if best is not None:
        checkpoint.restore(best, model)
    *depths, deepest = _every_depth(network)
    return Fitted(deepest, tuple(depths), plan, recorder.best_epoch, recorder.stopped)


def _every_depth(network: keras.Model) -> list[keras.Model]:
    """The network itself, or where it has one output per depth, the networks of all depths."""
    heads = len(network.outputs)
    return [network] if heads == 1 else [prune(network, depth) for depth in range(1, heads + 1)]


def feed_for(plan: Plan, dataset: Dataset, *, training: bool) -> Any:
    """The batches of `dataset` as the plan cuts them: with augmentation to train on, as they are to validate."""
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
    )


class _Held(Sequence[Any]):
    """Validation batches, cut once and kept: the same pixels after every epoch."""

    def __init__(self, feed: Any, most: int = 24) -> None:
        self.ignore_class = feed.ignore_class
        chosen = sorted(set(np.linspace(0, len(feed) - 1, min(most, len(feed))).round().astype(int)))
        self._batches = [feed[int(index)] for index in chosen]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: Any) -> Any:
        return self._batches[index]


class _Clock(keras.callbacks.Callback):
    """Seconds of every training step."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Reading the loss waits for a device that works ahead.
        float((logs or {})["loss"])
        self.ends.append(time.monotonic())


@dataclass(frozen=True)
class _Timed:
    """Seconds on this machine: of a training step, a validation, a predicted pixel, and of compiling the step."""

    step: float
    validation: float
    pixel: float
    compiling: float


def _timed(plan: Plan, model: TwoTermModel, train: Dataset, held_out: _Held, ignore: int | None) -> _Timed:
    """Take a few real steps, and undo them."""
    before = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    model.compile(
        build.optimizer(plan, total_steps=_TRIAL_STEPS),
        build.loss(plan, ignore_class=ignore),
        jit_compile=determinism.compiled(),
    )
    clock = _Clock()
    trial = feed_for(plan.with_(steps_per_epoch=_TRIAL_STEPS), train, training=True)
    for index in range(len(trial)):
        trial[index]  # files are decoded once and then kept: that is no part of a step
    began = time.monotonic()
    model.fit(trial, epochs=1, callbacks=[clock], verbose=0, shuffle=False)
    step = float(np.median(np.diff(clock.ends)[1:]))
    batch = held_out[0][0]
    model.predict_on_batch(batch)
    at = time.monotonic()
    model.predict_on_batch(batch)
    predicting = time.monotonic() - at
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    return _Timed(
        step=step,
        validation=predicting * 1.3 * len(held_out),
        pixel=predicting / (len(batch) * batch.shape[1] * batch.shape[2]),
        compiling=max(clock.ends[0] - began - step, 0.0),
    )


def _fitted_to_time(plan: Plan, timed: _Timed, samples: int, seconds: float) -> Plan:
    """The plan with as many epochs and steps as fit into `seconds`."""
    # The step is compiled once more for every stage; 6 % are left for noise of the machine.
    usable = 0.94 * (seconds - timed.compiling * len(stages.stages(plan)))
    beside = timed.validation + _RECORDING
    epochs = int(np.clip(usable / (math.ceil(samples / plan.batch_size) * timed.step + beside), 1, 20))
    steps = max(1, int((usable / epochs - beside) / timed.step))
    minutes = epochs * (steps * timed.step + beside) / 60
    frozen = {name: min(round(kept * epochs / plan.epochs), epochs) for name, kept in plan.frozen.items()}
    return plan.with_(
        epochs=epochs,
        steps_per_epoch=steps,
        frozen=frozen,
        reasons={
            "epochs": f"{epochs} × {steps} steps of {timed.step:.3f} s and {timed.validation:.1f} s of validation each "
            f"are {minutes:.1f} min of the {plan.minutes:g} min budget, measured on this machine",
            "steps_per_epoch": f"{steps} steps of {plan.batch_size} crops from {samples} samples",
        },
    )
