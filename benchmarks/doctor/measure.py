"""Running programs under the doctor, and judging what it says."""

from __future__ import annotations

import gc
import json
import math
import multiprocessing
import os
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
from benchmarks.doctor.catalogue import find
from benchmarks.doctor.recipe import Program

from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.script import diagnose_script
from segnosis.doctor.verdict import Crashed

DIED = "the process died"


@dataclass(frozen=True)
class Result:
    """What the doctor said of one program.

    Attributes:
        program: Its name.
        kind: `"healthy"`, `"planted"` or `"compound"`.
        held_out: Whether a piece of it was never shown to the doctor while its checks were mended.
        backend: Of Keras.
        codes: What it deserves; empty when healthy.
        cause: Code of the cause that was named, or `None`.
        certain, suspected: Codes found, notes left out unless deserved.
        crashed: Checks that crashed, with their error.
        seconds: Of the examination alone.
        top: Whether the cause is right (for healthy programs: none).
        detected: Whether everything deserved is among the findings.
        says: The first finding's sentence.
        failed: What the script itself raised or said instead, when nothing was examined.
    """

    program: str
    kind: str
    held_out: bool
    backend: str
    codes: tuple[str, ...]
    cause: str | None
    certain: tuple[str, ...]
    suspected: tuple[str, ...]
    crashed: tuple[str, ...]
    seconds: float
    top: bool
    detected: bool
    says: str = ""
    failed: str = ""

    @property
    def bad(self) -> bool:
        """Whether a reader should see it among the failures."""
        return not self.top or not self.detected or bool(self.failed or self.crashed or self.suspicion)

    @property
    def suspicion(self) -> bool:
        """Whether a healthy program is suspected of something."""
        return not self.codes and bool(self.suspected)


def examine(program: Program, *, twin: bool = False, budget: Any = "probe") -> Result:
    """Run `program` as a script under the doctor, in this process."""
    keras.backend.clear_session()
    gc.collect()
    with program.script(twin) as (file, arguments), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = diagnose_script(file, arguments, budget=budget, continue_=program.after)
    if not outcome.diagnoses:
        failed = outcome.traceback.strip().splitlines()[-1] if outcome.traceback else outcome.message
        return judge(program, Diagnosis(()), failed=failed)
    return judge(program, outcome.diagnoses[-1 if program.after else 0], healthy=twin)


def judge(program: Program, diagnosis: Diagnosis, *, healthy: bool = False, failed: str = "") -> Result:
    """Hold a diagnosis against what the program deserves."""
    groups = () if healthy else program.groups
    right = {code for group in groups for code in group}
    told = [finding for finding in diagnosis.findings if finding.severity != "note" or finding.code in right]
    certain = tuple(finding.code for finding in told if finding.certain)
    suspected = tuple(finding.code for finding in told if not finding.certain)
    found = {*certain, *suspected}
    cause = diagnosis.cause.code if diagnosis.cause else None
    named = cause or (suspected[0] if suspected else None)
    return Result(
        program=program.name,
        kind=program.kind,
        held_out=program.held_out,
        backend=keras.backend.backend(),
        codes=() if healthy else program.codes,
        cause=cause,
        certain=certain,
        suspected=suspected,
        crashed=tuple(f"{v.code}: {v.error}" for v in diagnosis.verdicts if isinstance(v, Crashed)),
        seconds=round(diagnosis.seconds, 2),
        top=named in right if groups else not certain,
        detected=not failed and all(found.intersection(group) for group in groups),
        says=told[0].says if told else "",
        failed=failed,
    )


def examined(name: str) -> Result:
    """The result of the program called `name`, whatever happens."""
    program = find(name)
    try:
        return examine(program)
    except Exception as error:  # an error of the doctor itself is a failure to be shown, not the end of the table
        return judge(program, Diagnosis(()), failed=f"doctor: {type(error).__name__}: {error}")


class Worker:
    """A process that does many jobs, since imports are dear, and takes none of the others with it when it dies.

    Args:
        job: A module's function of one string, run in the process.
        seconds: The longest that one job may take.
        jobs: After so many a fresh process takes over, for memory's sake.
        backend: Of Keras in the process.
    """

    def __init__(
        self, job: Callable[[str], Any], seconds: float = 900, jobs: int = 25, backend: str | None = None
    ) -> None:
        self.job, self.seconds, self.jobs = job, seconds, jobs
        self.backend = backend or keras.backend.backend()
        self.process: Any = None

    def ask(self, question: str) -> Any:
        """The job's answer.

        Raises:
            TimeoutError: It took longer than allowed.
            EOFError: The process died.
        """
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.pipe, other = context.Pipe()
            self.process, self.done = context.Process(target=_serve, args=(self.job, other), daemon=True), 0
            before = os.environ.get("KERAS_BACKEND")
            os.environ["KERAS_BACKEND"] = self.backend
            self.process.start()
            os.environ.pop("KERAS_BACKEND")
            os.environ |= {} if before is None else {"KERAS_BACKEND": before}
            other.close()
        self.pipe.send(question)
        try:
            if not self.pipe.poll(self.seconds):
                raise TimeoutError(f"took over {self.seconds:g} s")
            answer = self.pipe.recv()
        except (TimeoutError, EOFError):
            self.end()
            raise
        self.done += 1
        if self.done >= self.jobs:
            self.end()
        return answer

    def end(self) -> None:
        """Let the process go."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def _serve(job: Callable[[str], Any], pipe: Any) -> None:
    while True:
        pipe.send(job(pipe.recv()))


def table(programs: Sequence[Program], log: Path | None = None, minutes: float = math.inf) -> Iterator[Result]:
    """Examine programs in turn for so many minutes; results that `log` holds already are read from it."""
    end = time.monotonic() + 60 * minutes
    known = {(result.backend, result.program): result for result in read(log)}
    workers: dict[str, Worker] = {}
    try:
        for program in programs:
            backend = program.backend or keras.backend.backend()
            result = known.get((backend, program.name))
            if result is None and time.monotonic() > end:
                return
            if result is None:
                start = time.perf_counter()
                worker = workers.setdefault(backend, Worker(examined, backend=backend))
                try:
                    result = worker.ask(program.name)
                except (TimeoutError, EOFError) as error:
                    failed = str(error) or DIED
                    result = judge(program, Diagnosis((), seconds=time.perf_counter() - start), failed=failed)
                if log is not None and result.failed != DIED:  # worth another try
                    with log.open("a") as file:
                        file.write(json.dumps(asdict(result)) + os.linesep)
            yield result
    finally:
        for worker in workers.values():
            worker.end()


def read(log: Path | None) -> list[Result]:
    """Results that a stopped run left."""
    if log is None or not log.exists():
        return []
    found = []
    for line in log.read_text().splitlines():
        entry = Result(**json.loads(line))
        lists = {name: tuple(getattr(entry, name)) for name in ("codes", "certain", "suspected", "crashed")}
        found.append(replace(entry, **lists))
    return found


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Shares over all programs, per kind and per fault."""
    sick, pairs, healthy = ([r for r in results if r.kind == kind] for kind in ("planted", "compound", "healthy"))
    faults: dict[str, list[Result]] = defaultdict(list)
    for result in sick:
        faults[result.codes[0]].append(result)
    return {
        "planted": len(sick),
        "top_1": _share([r.top for r in sick]),
        "detected": _share([r.detected for r in sick]),
        "compound": len(pairs),
        "both_named": _share([r.detected for r in pairs]),
        "healthy": len(healthy),
        "false_alarms": sum(bool(r.certain) for r in healthy),
        "suspected_on_healthy": sum(r.suspicion and not r.certain for r in healthy),
        "not_examined": sum(bool(r.failed) for r in results),
        "crashed_checks": sum(bool(r.crashed) for r in results),
        "median_seconds": round(statistics.median(r.seconds for r in results), 2) if results else None,
        "slowest_seconds": max((r.seconds for r in results), default=0),
        "per_fault": {
            code: {
                "programs": len(group),
                "top_1": _share([r.top for r in group]),
                "detected": _share([r.detected for r in group]),
                "seconds": round(statistics.median(r.seconds for r in group), 2),
            }
            for code, group in sorted(faults.items())
        },
        "failures": [asdict(result) for result in results if result.bad],
    }


def _share(truths: Sequence[bool]) -> float | None:
    return round(sum(truths) / len(truths), 3) if truths else None
