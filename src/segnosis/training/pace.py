"""How fast this machine trains: measured before the start, and held against the clock after every epoch."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from segnosis.training import checkpoint, processes, stages
from segnosis.training.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TRIAL_STEPS = 24
_TRIAL_SECONDS, _TRIAL_SHARE = 6.0, 0.02
"""A trial ends after so many seconds of steps, or that share of the minutes, if there were a few."""
_FEW, _AHEAD = 3, 4
"""Steps that a trial makes at least, and those before that eat what the feed had prepared during compilation."""
_PICTURE = 0.1
"""Seconds an epoch takes to draw its picture, write its line, and start anew."""
_MARGIN = 0.97
"""Share of the time that is planned: what the last epoch may take longer."""
_MOST_EPOCHS, _FEW_EPOCHS = 20, 8
"""A budget is cut into so many epochs: each is validated, saved, and a chance to correct the pace."""
_BESIDE = 0.1
"""Share of the time that validating and saving may take before epochs become fewer."""
_CUT = 0.1
"""Share of the last epoch, at the smallest steps, that the clock may cut off before a whole epoch is taken off."""
_REPORTING = 2.2
"""Pictures, report and what else follows the scores take as long as so many compilations of a step;"""
_PROBES = (3.4, 18.0)
"""the doctor's probes so many, and so many steps. In processor seconds on two data sets, within 5 %."""
_WORTH_PROBING = 0.1
"""Share of the minutes that the doctor's probes may take."""
_BUSIEST = 4.0
"""At the most so many times slower than foretold is taken for the present pace: more was a hiccup."""
_FASTER = 1.1
"""A training is made longer if that many times the epochs fit; before its middle, later there is little to win."""


@dataclass(frozen=True)
class Pace:
    """What was measured on this machine.

    Attributes:
        step: Seconds of a training step, the mean with the true feed.
        validation: Seconds of a validation.
        saving: Seconds to save a checkpoint.
        pixel: Seconds to predict a pixel.
        compiling: Seconds to compile a step.
        memory: Most bytes this process will hold: what it has held so far, with a step, a validation and a checkpoint,
            and the decoded samples to come.
    """

    step: float
    validation: float
    saving: float
    pixel: float
    compiling: float
    memory: int

    @property
    def beside(self) -> float:
        """Seconds an epoch takes beside its steps."""
        return self.validation + self.saving + _PICTURE

    @property
    def reporting(self) -> float:
        """Seconds of pictures and report, of a diagnosis without probes, and of leaving Python."""
        return _REPORTING * self.compiling

    @property
    def probing(self) -> float:
        """Seconds of the doctor's probes: gradients, activations, batches held against files."""
        return _PROBES[0] * self.compiling + _PROBES[1] * self.step

    def seconds(self, plan: Plan, steps: int) -> float:
        """What the training of `plan` takes, at `steps` an epoch; the step is compiled once more for every stage."""
        again = len(stages.stages(plan)) if plan.frozen else 0
        return plan.epochs * (steps * self.step + self.beside) + again * self.compiling


@dataclass
class Deadline:
    """When training has to end, so that what comes after it is done in time.

    The machine may get busier than it was when its pace was measured; then what comes after will take longer, too.

    Attributes:
        end: `time.monotonic()` at which everything is done.
        after: Seconds that what comes after training takes at the pace that was foretold, all but the probes.
        step: Seconds of a step at that pace.
        probing: Seconds of the doctor's probes at that pace.
        reporting: Of `after`, what follows the probes.
        reserved: Whether time is kept for the probes; else they are made only where training ends early.
        slower: How many times as long as foretold a step takes at present, at least 1.
    """

    end: float
    after: float
    step: float
    probing: float = 0.0
    reporting: float = 0.0
    reserved: bool = True
    slower: float = 1.0

    @classmethod
    def planned(cls, began: float, minutes: float, after: float, pace: Pace) -> Deadline:
        """The deadline of a command that began at `began`, with time for the probes where the minutes are enough.

        Args:
            began: `time.monotonic()`.
            minutes: The whole budget.
            after: Seconds of scores and report.
            pace: What was measured on this machine.
        """
        reserved = pace.probing <= _WORTH_PROBING * 60.0 * minutes
        return cls(began + 60.0 * minutes, after, pace.step, pace.probing, pace.reporting, reserved)

    @property
    def behind(self) -> float:
        """Seconds that are kept for what comes after training, at the pace that was foretold."""
        return self.after + (self.probing if self.reserved else 0.0)

    @property
    def seconds(self) -> float:
        """What is left for training.

        Example:
            >>> deadline = Deadline(end=time.monotonic() + 60.0, after=10.0, step=0.2)
            >>> deadline.see(0.4)
            >>> round(deadline.seconds)
            40
        """
        return self.end - self.behind * self.slower - time.monotonic()

    @property
    def probes_fit(self) -> bool:
        """Whether, all being scored, there is time for the doctor's probes and for what follows them."""
        return time.monotonic() + (self.probing + self.reporting) * self.slower <= self.end

    def see(self, step: float) -> None:
        """What a step takes at present, seconds."""
        self.slower = min(max(step / self.step, 1.0), _BUSIEST)


class _Clock(keras.callbacks.Callback):
    """When each training step ended; stops when it has seen enough."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Reading the loss waits for a device that works ahead.
        float((logs or {})["loss"])
        self.ends.append(time.monotonic())
        enough = len(self.ends) > _FEW + _AHEAD and self.ends[-1] - self.ends[0] > self.seconds
        if processes.strongest(int(enough)):
            self.model.stop_training = True


def measure(
    model: keras.Model, trial: Any, held_out: Sequence[Any], folder: Path, *, minutes: float | None = None
) -> Pace:
    """Take real steps, validate, save, and undo it all.

    The steps are those of a long training: the feed works beside them, and what it prepared before does not count.
    That the folder takes a checkpoint is known before the first hour of training, not after it.

    Args:
        model: Compiled model, its optimizer built.
        trial: Feed of `TRIAL_STEPS` batches.
        held_out: Batches to validate on.
        folder: Where checkpoints go.
        minutes: The whole budget: the shorter it is, the shorter the trial.
    """
    variables = [*model.variables, *model.optimizer.variables]
    before = [keras.ops.convert_to_numpy(variable) for variable in variables]
    clock = _Clock(min(_TRIAL_SECONDS, _TRIAL_SHARE * 60.0 * (minutes or math.inf)))
    for index in range(len(trial)):
        trial[index]  # files are decoded once and then kept: that is no part of a step
    began = time.monotonic()
    model.fit(trial, epochs=1, callbacks=[clock], verbose=0, shuffle=False)
    steps = np.diff(clock.ends)
    step = float(np.mean(steps[_AHEAD:])) if len(steps) > _AHEAD else float(np.median(steps))
    batch = held_out[0][0]
    model.predict_on_batch(batch)
    at = time.monotonic()
    model.predict_on_batch(batch)
    predicting = time.monotonic() - at
    at = time.monotonic()
    if processes.first():
        checkpoint.save(folder, "trial", epoch=0, model=model, optimizer=model.optimizer, facts={})
    saving = time.monotonic() - at
    if processes.first():
        for file in folder.glob("trial-*"):
            file.unlink()
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    cache = trial.samples
    decoded = min(cache.used / max(cache.kept, 1) * len(trial.dataset), cache.limit)
    measured = Pace(
        step=step,
        validation=predicting * 1.3 * len(held_out),
        # The newest weights after every epoch, and now and then the best ones as well.
        saving=1.3 * saving,
        pixel=predicting / (len(batch) * batch.shape[1] * batch.shape[2]),
        compiling=max(clock.ends[0] - began - step, 0.0),
        memory=peak_memory() + int(max(decoded - cache.used, 0)),
    )
    return Pace(**processes.from_first(lambda: asdict(measured)))


def fitted_to_time(plan: Plan, pace: Pace, samples: int, seconds: float) -> Plan:
    """The plan with as many epochs and steps as fit into `seconds`."""
    usable = _MARGIN * seconds - (pace.seconds(plan, 0) - plan.epochs * pace.beside)
    passes = usable / (math.ceil(samples / plan.batch_size) * pace.step + pace.beside)
    epochs = int(np.clip(max(passes, _FEW_EPOCHS), 1, min(_MOST_EPOCHS, max(1.0, _BESIDE * usable / pace.beside))))
    steps = max(1, int((usable / epochs - pace.beside) / pace.step))
    frozen = {name: min(round(kept * epochs / plan.epochs), epochs) for name, kept in plan.frozen.items()}
    pieces = "crops" if plan.fit_to_size == "crop" else "images"
    fitted = plan.with_(
        {"steps_per_epoch": f"{_steps(steps)} of {plan.batch_size} {pieces} from {samples} samples"},
        epochs=epochs,
        steps_per_epoch=steps,
        frozen=frozen,
    )
    return fitted.with_({"epochs": says(fitted, pace, steps)})


def corrected(plan: Plan, *, done: int, epoch_seconds: float, seconds: float, may_grow: bool) -> Plan | None:
    """The plan with the epochs that fit into what is left, if that is another number than planned.

    Args:
        plan: The plan as it is followed.
        done: Epochs done.
        epoch_seconds: What an epoch takes at present.
        seconds: What is left for training.
        may_grow: Whether there may be more epochs than planned.
    """
    left = plan.epochs - done
    fit = max(1, int(seconds / epoch_seconds + _CUT))
    grows = may_grow and done < plan.epochs / 2 and _MARGIN * fit >= _FASTER * left
    if left < 1 or not (fit < left or grows):
        return None
    epochs = done + (int(_MARGIN * fit) if grows else fit)
    return plan.with_(
        {
            "epochs": f"{plan.reasons.get('epochs', '')}; after epoch {done} an epoch took {epoch_seconds:.1f} s, and "
            f"{epochs} instead of {plan.epochs} of them fit: the learning rate falls accordingly".removeprefix("; ")
        },
        epochs=epochs,
    )


def says(plan: Plan, pace: Pace, steps: int) -> str:
    """The forecast of the training in words."""
    budget = f" of the {plan.minutes:g} min budget" if plan.minutes else ""
    return (
        f"{plan.epochs} × {_steps(steps)} of {pace.step:.3f} s and {pace.beside:.1f} s of validating and saving each "
        f"are {pace.seconds(plan, steps) / 60:.1f} min{budget}, measured on this machine"
    )


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def peak_memory() -> int:
    """Most bytes this process has held; 0 where the system does not tell."""
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
