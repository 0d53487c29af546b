"""Running a user's training script up to its `fit`, and examining what it was about to train.

`diagnose_script` runs the file as `python train.py ARGS` would: same `sys.argv`, `sys.path`, `__main__` and folder.
"""

from __future__ import annotations

import os
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segnosis.core.errors import DataError
from segnosis.doctor.case import Budget, Case, Script
from segnosis.doctor.counterfactual import settle
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.examine import Progress, examine
from segnosis.doctor.fit_call import BatchLoop, case_of_fit
from segnosis.doctor.interception import Interception, Place, TrainingCall
from segnosis.doctor.random_state import random_state_kept
from segnosis.doctor.snapshot import untouched
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
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            "`segnosis diagnose` takes a Python script, or the folder of a run.",
            file=path,
            received={"problem": "no such file"},
            cure="Name the script that calls `model.fit`.",
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
    with run.interception.installed(), _as_main(path, args) as module:
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
    source: str = ""

    def __post_init__(self) -> None:
        self.interception = Interception(self.on_training)

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
            self.crash = _own_traceback(error, file)

    def finish(self) -> None:
        """Examine `train_on_batch` loops that ended before they had shown enough batches."""
        for loop in self.loops.values():
            if loop.is_open and loop.batches and not self.stopped:
                self.examine_loop(loop)

    def on_training(self, call: TrainingCall) -> Any:
        if self.stopped:  # the script swallowed the first stop
            raise _Stop
        return self.on_fit(call) if call.method == "fit" else self.on_batch(call)

    def on_fit(self, call: TrainingCall) -> Any:
        with self.guarded():
            case, replaced = case_of_fit(call, self.script(call), self.budget, self.seed)
            self.examine(case)
            if call.refused is not None:
                self.messages.append(f"fit() itself will refuse this call: {call.refused}.")
        self.stop_unless_continued()
        if call.refused is not None:
            return call.proceed()
        watch = Watch(case=case, before=self.diagnoses[-1], thresholds=self.thresholds)
        callbacks = call.arguments.get("callbacks")
        own = [] if callbacks is None else list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
        try:
            result = call.proceed(**replaced, callbacks=[*own, watch])
        finally:
            if watch.history:
                assert watch.diagnosis is not None
                self.record(replace(watch.diagnosis, subject={**watch.diagnosis.subject, "after_training": True}))
        return result

    def on_batch(self, call: TrainingCall) -> Any:
        loop = self.loops.get(id(call.model))
        if loop is None:
            with self.guarded():
                loop = self.loops[id(call.model)] = BatchLoop(call)
        if not loop.is_open:
            return call.proceed()
        with self.guarded():
            loop.add(call)
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
        error = case.extra.get("fit_error") or case.extra.get("build_error") or case.extra.get("pipeline_error")
        if error is not None and diagnosis.healthy:
            self.messages.append(f"fit() will stop with {type(error).__name__}: {error}")
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
        own = str(self.path.resolve())

        def elsewhere(place: Place | None) -> str | None:
            return None if place is None or place.file == own else _shown(place.file)

        return Script(
            path=str(self.path),
            fit_line=call.place.line,
            compile_line=call.compiled_at.line if call.compiled_at else None,
            source=self.source,
            fit_file=elsewhere(call.place),
            compile_file=elsewhere(call.compiled_at),
        )

    def outcome(self) -> ScriptOutcome:
        if self.tool_error is not None:
            raise self.tool_error
        if not self.diagnoses:
            return ScriptOutcome((), 2, self.why_nothing(), self.crash)
        failed = bool(self.crash and self.continue_) or bool(self.messages)
        sick = any(not diagnosis.healthy for diagnosis in self.diagnoses)
        crash = self.crash if self.continue_ else ""
        return ScriptOutcome(tuple(self.diagnoses), 1 if sick else 2 if failed else 0, "\n".join(self.messages), crash)

    def why_nothing(self) -> str:
        name = self.path.name
        if self.crash:
            return f"{name} failed before it called fit(), so there was no training to examine. Its own error is above."
        started = [command for command in self.interception.started if any(".py" in part for part in command)]
        if self.exited is not None and not started:
            code = self.exited.code
            return f"{name} ended with exit status {code or 0} before it called fit(), so there was nothing to examine."
        if self.interception.own_loop is not None:
            place = f"{_shown(self.interception.own_loop.file)}:{self.interception.own_loop.line}"
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


@contextmanager
def _as_main(path: Path, args: Sequence[str]) -> Iterator[types.ModuleType]:
    """`sys` as `python path args` sets it up; put back afterwards. No plot opens a window unless MPLBACKEND says so."""
    file = str(path.resolve())
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=file, __builtins__=__builtins__, __spec__=None)
    kept = sys.argv, list(sys.path), sys.modules["__main__"], Path.cwd()
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.argv, sys.path[:0], sys.modules["__main__"] = [str(path), *args], [str(Path(file).parent)], module
    try:
        yield module
    finally:
        sys.argv, sys.path[:], sys.modules["__main__"] = kept[0], kept[1], kept[2]
        os.chdir(kept[3])


def _own_traceback(error: BaseException, file: str) -> str:
    """The traceback as Python prints it for the script alone."""
    ours = (__file__, sys.modules[Interception.__module__].__file__)
    report = traceback.TracebackException.from_exception(error)
    waiting: list[traceback.TracebackException | None] = [report]
    while waiting:
        part = waiting.pop()
        if part is not None:
            part.stack = traceback.StackSummary.from_list([frame for frame in part.stack if frame.filename not in ours])
            waiting += [part.__cause__, part.__context__]
    return "".join(report.format())


def _shown(file: str) -> str:
    """A file relative to the working folder where it lies below it."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file
