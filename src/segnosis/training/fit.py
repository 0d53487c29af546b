"""Training as planned: measured beforehand, recorded, resumable, stopped in time."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from segnosis.core.run_folder import RunFolder, write_text
from segnosis.data.share import Share
from segnosis.models import prune
from segnosis.training import build, checkpoint, determinism, machine, pace, processes, sharding, stages, statistics
from segnosis.training.faster import FasterModel
from segnosis.training.feeds import Held, Rest, feed_for
from segnosis.training.interruption import Interruption
from segnosis.training.listener import Listener
from segnosis.training.optimizer import end_in, optimizer
from segnosis.training.plan import Plan
from segnosis.training.recorder import Recorder
from segnosis.training.thrift import Scoring, recomputing, spared

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset

_WORTH_A_TRAINING = 0.2
"""Share of the minutes below which too few of them are left to train."""
_WORTH_A_FORECAST = 200
"""Steps below which a training is over before its forecast is worth the trial."""


@dataclass(frozen=True)
class Forecast:
    """What a run will take, told before its first step.

    Attributes:
        seconds: The whole job.
        memory: Bytes of main memory at the most.
    """

    seconds: float
    memory: int


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
        forecast: What was foretold; `None` where training was too short to tell.
        unreadable: Samples that were left out, and why.
        deadline: When the command has to be done; `None` without `minutes`.
    """

    model: keras.Model
    depths: tuple[keras.Model, ...]
    plan: Plan
    best_epoch: int
    stopped: str
    forecast: Forecast | None
    unreadable: dict[str, str]
    deadline: pace.Deadline | None

    @property
    def probes_fit(self) -> bool:
        """Whether there is time for the doctor's probes."""
        return self.deadline is None or self.deadline.probes_fit


def fit(
    plan: Plan,
    train: Dataset,
    validation: Dataset,
    folder: RunFolder,
    *,
    listener: Listener | None = None,
    resume: bool = False,
    started: float | None = None,
    scoring: Scoring | None = None,
    interruption: Interruption | None = None,
) -> Fitted | None:
    """Train as `plan` says, recording into `folder`.

    In several processes (`training.processes`) each of them calls this with the same plan and samples; only the first
    one touches `folder`.

    Args:
        plan: What to do.
        train: Samples to learn from.
        validation: Samples that choose the best epoch.
        folder: Run folder; `history.jsonl`, `pictures/`, `checkpoint/` and `plan.yaml` are written.
        listener: Who is told of the progress.
        resume: Continue after the last checkpoint in `folder`.
        started: `time.monotonic()` at which the budget of `plan.minutes` began; now, when left out.
        scoring: What is predicted when training is over; the budget keeps time for it and for the report.
        interruption: Who knows of signals: between two steps of the training the state is saved before it ends.

    Returns:
        The model with the best weights, and what happened; `None` in every process but the first.
    """
    listener, interruption, scoring = listener or Listener(), interruption or Interruption(), scoring or Scoring()
    started = time.monotonic() if started is None else started
    spec = train.spec
    determinism.start(plan.seed)
    sharding.begin()
    network = build.model(plan, channels=spec.channels, num_classes=spec.num_classes)
    if plan.weights:
        listener.say(build.load_weights(plan, network))
    model_class = sharding.ShardedModel if machine.devices() > 1 else FasterModel
    model = model_class(network.input, network.output)
    held_out = Held(feed_for(plan, validation, training=False))
    ignore = held_out.ignore_class
    loss = build.loss(plan, ignore_class=ignore)
    stored = _stored(folder, listener) if resume else None
    if stored is not None and stored.facts["epochs"] != plan.epochs:
        plan = plan.with_(epochs=stored.facts["epochs"])
        _save(plan, folder)

    def compile_for(stage: stages.Stage, *, steps: int, progress: float) -> str:
        says = stages.begin(stage, network)
        made = optimizer(plan, steps=steps, progress=progress, rate=stage.rate)
        model.compile(made, loss, jit_compile=determinism.compiled())
        model.optimizer.build(model.trainable_variables)
        return says

    deadline, forecast, ready, decoded = None, None, None, None
    if plan.minutes or plan.epochs * _steps(plan, train) >= _WORTH_A_FORECAST:
        listener.step("timing a training step")
        # The last stage is the dearest: there all layers learn.
        ready = stages.stages(plan)[-1]
        compile_for(ready, steps=pace.TRIAL_STEPS, progress=0.0)
        trial = feed_for(plan.with_(steps_per_epoch=pace.TRIAL_STEPS), train, training=True, share=sharding.share())
        measured = pace.measure(model, trial, held_out, folder.checkpoint, minutes=plan.minutes)
        decoded = trial.samples
        if plan.minutes and stored is None:
            plan = spared(plan, measured, scoring)
        after = measured.reporting + scoring.seconds(plan, measured) + recomputing(plan, measured)
        if plan.minutes:
            budget = deadline = pace.Deadline.planned(started, plan.minutes, after, measured)
            after = budget.behind
            if stored is None:
                left = processes.from_first(lambda: budget.seconds)
                if left < _WORTH_A_TRAINING * 60.0 * plan.minutes:
                    listener.say(
                        f"of {plan.minutes:g} min, {max(left, 0.0):.0f} s are left to train: scores, diagnosis and "
                        f"report will take {after:.0f} s on this machine; `--minutes` should be more"
                    )
                plan = pace.fitted_to_time(plan, measured, len(train), left)
                _save(plan, folder)
        else:
            after += measured.probing
        share = 1.0 - (stored.epoch if stored else 0) / plan.epochs
        training = measured.seconds(plan, _steps(plan, train))
        forecast = Forecast(time.monotonic() - started + share * training + after, measured.memory)
        text = pace.says(plan, measured, _steps(plan, train))
        left = forecast.seconds - (time.monotonic() - started)
        listener.forecast(left, f"{text}; {forecast.memory / 2**30:.1f} GiB of main memory")
    feed = feed_for(plan, train, training=True, share=sharding.share())
    if machine.devices() > 1:
        listener.say(sharding.says(plan.batch_size))
    feed.samples, feed.tell = decoded or feed.samples, listener.say
    steps = len(feed)
    done, step = (stored.epoch, stored.step) if stored else (0, 0)
    if resume and processes.first() and folder.history.exists():  # an epoch counts once its checkpoint is written
        write_text(folder.history, "".join(folder.history.read_text(encoding="utf-8").splitlines(keepends=True)[:done]))
    if stored is not None:
        feed.skipped.update(stored.facts["unreadable"])
    recorder = Recorder(
        plan,
        folder,
        held_out,
        class_names=spec.class_names,
        ignore_class=ignore,
        listener=listener,
        deadline=deadline,
        feed=feed,
        may_grow=stored is None,
        stop=interruption.asked,
    )
    recorder.stopped = stored.facts["stopped"] if stored else ""
    present: stages.Stage | None = None
    with closing(feed):
        with interruption.orderly():
            while done < recorder.plan.epochs and not recorder.stopped:
                plan = recorder.plan
                stage = stages.at(plan, done)
                if present is None or present.frozen != stage.frozen:
                    left = steps * (plan.epochs - done) - step
                    if ready is not None and ready.frozen == stage.frozen:
                        says = stages.begin(stage, network)
                        end_in(model.optimizer, left, progress=recorder.progress)
                    else:
                        says = compile_for(stage, steps=left, progress=recorder.progress)
                    ready, present = None, stage
                    if plan.frozen:
                        listener.say(f"epochs {done + 1} to {stage.last}: {says}")
                    if stored is not None:
                        # At the very beginning of a stage its optimizer is a new one.
                        begins = done == stage.first and not step
                        checkpoint.restore(stored, model, None if begins else model.optimizer)
                        recorder.within, stored = stored if step else None, None
                feed.set_epoch(done)
                try:
                    # One epoch a call: which batches come next depends on nothing but the seed, the epoch and the step.
                    model.fit(
                        Rest(feed, step) if step else feed,
                        initial_epoch=done,
                        epochs=done + 1,
                        callbacks=[recorder],
                        verbose=0,
                        shuffle=False,
                    )
                except Exception:
                    if feed.failure is not None:  # a backend wraps it in words of its own
                        raise feed.failure from None
                    raise
                done, step = done + 1, 0
        if processes.strongest(int(interruption.asked())):
            raise KeyboardInterrupt
        plan = recorder.plan
        processes.part()
        if not processes.first():
            return None
        if machine.devices() > 1:  # what follows is done on one device
            sharding.end()
            network = sharding.copied(build.model(plan, channels=spec.channels, num_classes=spec.num_classes), network)
            model, present, feed.share = FasterModel(network.input, network.output), None, Share()
        best = checkpoint.load(folder.checkpoint, "best", last=recorder.best_epoch, say=listener.say)
        if best is not None:
            checkpoint.restore(best, model)
            if plan.recompute_statistics:
                listener.step("recomputing BatchNormalization statistics")
                if present is None:  # resumed when all epochs were done, or a copy
                    compile_for(stages.stages(plan)[-1], steps=1, progress=1.0)
                recorder.set_model(model)
                feed.set_epoch(plan.epochs)
                _recompute_statistics(model, feed, recorder, listener, plan.statistics_batches)
    *depths, deepest = _every_depth(network)
    unreadable = {**held_out.skipped, **feed.skipped}
    return Fitted(deepest, tuple(depths), plan, recorder.best_epoch, recorder.stopped, forecast, unreadable, deadline)


def _recompute_statistics(model: keras.Model, feed: Any, recorder: Recorder, listener: Listener, batches: int) -> None:
    """Take the statistics of many batches, unless they score worse than those of the training did."""
    batches = min(batches, len(feed))
    kept = statistics.recompute(model, (feed[index] for index in range(batches)))
    if not kept or recorder.best_line is None:
        return
    before = recorder.best_line["foreground_dice"] or 0.0
    after = recorder.validate()[0]["foreground_dice"] or 0.0
    if after < before:
        statistics.put_back(kept)
    listener.say(
        f"BatchNormalization statistics of {batches} batches: validation Dice {before:.4f} to {after:.4f}"
        + (", so those of the training stay" if after < before else "")
    )


def _steps(plan: Plan, train: Dataset) -> int:
    return plan.steps_per_epoch or math.ceil(len(train) / plan.batch_size)


def _save(plan: Plan, folder: RunFolder) -> None:
    if processes.first():
        plan.save(folder.plan)


def _stored(folder: RunFolder, listener: Listener) -> checkpoint.Checkpoint | None:
    """Where the run in the folder stands; what a kill left half-written is removed.

    Only the first process has the arrays.
    """
    found: checkpoint.Checkpoint | None = None

    def look() -> dict[str, Any] | None:
        nonlocal found
        for half in folder.root.rglob(".part-*"):
            half.unlink(missing_ok=True)
        found = checkpoint.load(folder.checkpoint, "last", say=listener.say)
        return None if found is None else {"epoch": found.epoch, "step": found.step, "facts": found.facts}

    told = processes.from_first(look)
    return checkpoint.Checkpoint(**told, arrays={}) if told and found is None else found


def _every_depth(network: keras.Model) -> list[keras.Model]:
    """The network itself, or where it has one output per depth, the networks of all depths."""
    heads = len(network.outputs)
    return [network] if heads == 1 else [prune(network, depth) for depth in range(1, heads + 1)]
