"""Running a user's training script up to its `fit`, and examining what it was about to train.

`diagnose_script` runs the file as `python train.py ARGS` would: same `sys.argv`, `sys.path`, `__main__` and folder.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from segnosis.core.errors import ArgumentError, DataError
from segnosis.doctor.as_main import as_main, own_traceback, shown
from segnosis.doctor.backend_choice import chosen_backend
from segnosis.doctor.case import Budget, Case, Script, callbacks_of
from segnosis.doctor.counterfactual import settle
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.examine import Progress, examine
from segnosis.doctor.fit_call import BatchLoop, case_of_fit, has_masks
from segnosis.doctor.held_variables import variables_of
from segnosis.doctor.interception import Interception, Place, TrainingCall, user_frames
from segnosis.doctor.loop_body import bodies_of
from segnosis.doctor.own_loop import OwnLoop, look_around
from segnosis.doctor.random_state import random_state_kept
from segnosis.doctor.snapshot import untouched
from segnosis.doctor.trainings_ahead import trainings_ahead
from segnosis.doctor.watch import Watch

OnDiagnosis = Callable[[Diagnosis], None]


@dataclass(frozen=True)
class ScriptOutcome:
    """What became of a script.

    Attributes:
        diagnoses: One per examined training call, and with `continue_` one more after each, which knows its history.
        exit_code: 0 when every diagnosis is healthy, 1 when one has a proven or confirmed finding, 2 when nothing could
            be examined or the script itself failed.
        message: Why nothing was examined, or what else to know, in words; empty when the diagnoses say it all.
        traceback: The script's own traceback as Python prints it; empty when it raised nothing.
    """

    diagnoses: tuple[Diagnosis, ...]
    exit_code: int
    message: str = ""
    traceback: str = ""


def diagnose_script(
    path: str | Path,
    args: Sequence[str] = (),
    *,
    budget: Budget = "probe",
    continue_: bool = False,
    thresholds: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    on_diagnosis: OnDiagnosis | None = None,
    progress: Progress | None = None,
) -> ScriptOutcome:
    """Run a Keras script until it trains, and say why the model will not learn.

    Args:
        path: The script.
        args: Its command-line arguments.
        budget: Dearest evidence allowed: `"static"`, `"probe"` or `"train"`.
        continue_: Let the script train on under `Watch`, and examine each of its `fit` calls, before and after.
        thresholds: Check code → keyword thresholds to override.
        seed: Seeds every probe.
        on_diagnosis: Called with each diagnosis as soon as there is one, before the script is stopped or goes on.
        progress: Called while measuring.

    Returns:
        Diagnoses, exit code, and the script's own traceback when it failed.

    Raises:
        DataError: There is no such file.
        ArgumentError: The script chooses another backend than the one that Keras runs on already.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            "`segnosis diagnose` takes a Python script, or the folder of a run.",
            file=path,
            received={"problem": "no such file"},
            cure="Name the script that calls `model.fit`.",
        )
    chosen = chosen_backend(path)
    if chosen not in (None, keras.backend.backend()):
        raise ArgumentError(
            "A script is examined on the backend that it chooses, which is settled once Keras is imported.",
            received={"KERAS_BACKEND in the script": chosen, "Keras runs on": keras.backend.backend()},
            cure=f"Set `KERAS_BACKEND={chosen}` before Keras is imported here.",
        )
    run = _Run(
        path=path,
        budget=budget,
        continue_=continue_,
        thresholds=thresholds,
        seed=seed,
        on_diagnosis=on_diagnosis or (lambda diagnosis: None),
        progress=progress,
    )
    with run.interception.installed(), as_main(path, args) as module:
        run.execute(module)
        run.finish()
    return run.outcome()


class _Stop(SystemExit):
    """Ends the script at its training call. No `Exception`, so its own handlers let it pass; silent in its threads."""


@dataclass
class _Run:
    path: Path
    budget: Budget
    continue_: bool
    thresholds: Mapping[str, Mapping[str, Any]] | None
    seed: int
    on_diagnosis: OnDiagnosis
    progress: Progress | None
    diagnoses: list[Diagnosis] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    crash: str = ""
    exited: SystemExit | None = None
    tool_error: Exception | None = None
    stopped: bool = False
    loops: dict[int, BatchLoop] = field(default_factory=dict)
    own_loop: OwnLoop | None = None
    notes: list[str] = field(default_factory=list)
    source: str = ""

    def __post_init__(self) -> None:
        self.interception = Interception(self.on_training, self.on_own_loop)

    def execute(self, module: types.ModuleType) -> None:
        """Run the script's code in `module`; what ends it is kept, not raised."""
        file = str(module.__file__)
        try:
            raw = Path(file).read_bytes()
            self.source = raw.decode("utf-8", errors="replace")
            exec(compile(raw, file, "exec"), module.__dict__)  # running the user's program is the point
        except _Stop:
            pass
        except SystemExit as exited:
            self.exited = exited
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.crash = own_traceback(error, (__file__, str(sys.modules[Interception.__module__].__file__)))

    def finish(self) -> None:
        """Examine `train_on_batch` loops that ended before they had shown enough batches, and loops of another kind."""
        with suppress(_Stop):
            for loop in sorted(self.loops.values(), key=lambda loop: loop.prepares):
                if loop.is_open and not self.stopped and not (loop.prepares and self.diagnoses):
                    loop.is_over = not self.crash
                    self.examine_loop(loop)
            if self.own_loop is not None and not self.diagnoses:
                self.examine_own_loop(self.own_loop)

    def on_training(self, call: TrainingCall) -> Any:
        if self.stopped:  # the script swallowed the first stop
            raise _Stop
        return self.on_fit(call) if call.method == "fit" else self.on_batch(call)

    def on_fit(self, call: TrainingCall) -> Any:
        with self.guarded():
            frames = user_frames()
            case, replaced = case_of_fit(call, self.script(call), self.budget, self.seed, variables_of(frames))
            more = trainings_ahead(frames)
            prepares = more and not has_masks(case.batches or ())
            if not prepares:
                self.examine(case)
            if more and not prepares and not self.continue_ and self.diagnoses[-1].healthy:
                self.notes.append("Another training stands further on; `--continue` examines that one too.")
            if call.refused is not None:
                self.messages.append(f"fit() itself will refuse this call: {call.refused}.")
        if prepares:
            return call.proceed(**replaced)
        self.stop_unless_continued()
        if call.refused is not None:
            return call.proceed()
        watch = Watch(case=case, before=self.diagnoses[-1], thresholds=self.thresholds)
        try:
            result = call.proceed(**replaced, callbacks=[*callbacks_of(call.arguments), watch])
        finally:
            if watch.history:
                assert watch.diagnosis is not None
                self.record(replace(watch.diagnosis, subject={**watch.diagnosis.subject, "after_training": True}))
        return result

    def on_batch(self, call: TrainingCall) -> Any:
        loop = self.loops.get(id(call.model))
        if loop is None:
            with self.guarded():
                frames = user_frames()
                loop = self.loops[id(call.model)] = BatchLoop(call, bodies_of(frames), variables_of(frames))
                loop.add(call)
                loop.prepares = trainings_ahead(frames) and not has_masks(loop.batches)
        elif loop.is_open and not loop.prepares:
            with self.guarded():
                loop.add(call)
        if not loop.is_open or loop.prepares:
            return call.proceed()
        try:
            result = call.proceed()
        except Exception:
            self.examine_loop(loop)
            self.stop_unless_continued()
            raise
        if loop.has_enough:
            self.examine_loop(loop)
            self.stop_unless_continued()
        return result

    def on_own_loop(self, optimizer: Any, variables: Any, frames: list[types.FrameType]) -> None:
        """Stop before the first step; it may be inside a traced function, so that all else waits until it is left."""
        if self.stopped:
            raise _Stop
        if self.continue_ or self.diagnoses or self.loops:
            return
        with self.guarded():
            found = look_around(optimizer, variables, frames)
            prepares = trainings_ahead(frames)
        if found.model is not None:
            self.own_loop = found
            if not prepares:
                self.stop_unless_continued()

    def examine_own_loop(self, loop: OwnLoop) -> None:
        place = self.interception.own_loop
        assert place is not None and loop.model is not None
        with self.guarded():
            self.notes.append(loop.said(f"{shown(place.file)}:{place.line}"))
            self.examine(loop.case(self.script_at(place), self.budget, self.seed))

    def examine_loop(self, loop: BatchLoop) -> None:
        loop.is_open = False
        with self.guarded(), loop.at_its_start():
            self.examine(loop.case(self.script(loop.first), self.budget, self.seed))

    def examine(self, case: Case) -> None:
        globals_ = sys.modules["__main__"].__dict__
        with random_state_kept(globals_), untouched(case.model), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Keras warns of while it is probed, the findings say better
            diagnosis = examine(case, thresholds=self.thresholds, progress=self.progress)
            if case.budget == "train":
                diagnosis = settle(case, diagnosis, progress=self.progress)
        self.record(diagnosis)

    def record(self, diagnosis: Diagnosis) -> None:
        self.diagnoses.append(diagnosis)
        self.on_diagnosis(diagnosis)

    def stop_unless_continued(self) -> None:
        if not self.continue_:
            self.stopped = True
            raise _Stop

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """The doctor's own work: the wrappers sleep, and an error is ours, not something for the script to catch."""
        with self.interception.sleeping():
            try:
                yield
            except Exception as error:
                self.tool_error, self.stopped = error, True
                raise _Stop from error

    def script(self, call: TrainingCall) -> Script:
        return self.script_at(call.place, call.compiled_at)

    def script_at(self, place: Place, compiled_at: Place | None = None) -> Script:
        own = str(self.path.resolve())

        def elsewhere(place: Place | None) -> str | None:
            return None if place is None or place.file == own else shown(place.file)

        return Script(
            path=str(self.path),
            fit_line=place.line,
            compile_line=compiled_at.line if compiled_at else None,
            source=self.source,
            fit_file=elsewhere(place),
            compile_file=elsewhere(compiled_at),
        )

    def outcome(self) -> ScriptOutcome:
        if self.tool_error is not None:
            raise self.tool_error
        if not self.diagnoses:
            return ScriptOutcome((), 2, self.why_nothing(), self.crash)
        stops = any("stops" in diagnosis.subject for diagnosis in self.diagnoses)
        failed = bool(self.crash and self.continue_) or bool(self.messages) or stops
        sick = any(not diagnosis.healthy for diagnosis in self.diagnoses)
        crash = self.crash if self.continue_ else ""
        said = "\n".join([*self.notes, *self.messages])
        return ScriptOutcome(tuple(self.diagnoses), 1 if sick else 2 if failed else 0, said, crash)

    def why_nothing(self) -> str:
        name = self.path.name
        if self.crash:
            return f"{name} failed before it called fit(), so there was no training to examine. Its own error is above."
        started = [command for command in self.interception.started if any(".py" in part for part in command)]
        if self.exited is not None and not started:
            code = self.exited.code
            return f"{name} ended with exit status {code or 0} before it called fit(), so there was nothing to examine."
        if self.interception.own_loop is not None:
            place = f"{shown(self.interception.own_loop.file)}:{self.interception.own_loop.line}"
            return (
                f"{name} never called fit() or train_on_batch(): it trains in a loop of its own at {place}. "
                "Call `segnosis.diagnose(model, data, loss=..., optimizer=...)` just before that loop."
            )
        if started:
            return (
                f"{name} never called fit() itself; it started `{' '.join(started[0])}`. Examine that script: "
                f"`segnosis diagnose {' '.join(part for part in started[0] if 'python' not in Path(part).name)}`."
            )
        return (
            f"{name} ran to its end without calling fit() or train_on_batch(). Name the script that trains, with the "
            "arguments that make it train."
        )
