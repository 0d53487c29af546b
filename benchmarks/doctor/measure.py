"""Running programs under the doctor, and judging what it says."""

from __future__ import annotations

import gc
import statistics
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from benchmarks.doctor.recipe import Program, Recipe

from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.script import diagnose_script
from segnosis.doctor.verdict import Crashed

SCRIPT = Path(__file__).with_name("train.py")


@dataclass(frozen=True)
class Result:
    """What the doctor said of one program.

    Attributes:
        program: Its name.
        codes: What it deserves; empty when healthy.
        cause: Code of the cause that was named, or `None`.
        certain, suspected: Codes found, notes left out.
        crashed: Checks that crashed, with their error.
        seconds: Of the examination alone.
        top: Whether the cause is right (for healthy programs: none).
        detected: Whether every code deserved is among the findings.
        says: The first finding's sentence.
        failed: What the script itself raised or said instead, when nothing was examined.
    """

    program: str
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


def examine(program: Program, *, twin: bool = False, budget: Any = "probe") -> Result:
    """Run `program` as a script under the doctor, in this process."""
    keras.backend.clear_session()
    gc.collect()
    arguments = [program.name, *(["--twin"] if twin else [])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = diagnose_script(SCRIPT, arguments, budget=budget)
    if not outcome.diagnoses:
        failed = outcome.traceback.strip().splitlines()[-1] if outcome.traceback else outcome.message
        return judge(program, Diagnosis(()), failed=failed)
    return judge(program, outcome.diagnoses[0], healthy=twin)


def judge(program: Program, diagnosis: Diagnosis, *, healthy: bool = False, failed: str = "") -> Result:
    """Hold a diagnosis against what the program deserves."""
    codes = () if healthy else program.codes
    told = [finding for finding in diagnosis.findings if finding.severity != "note"]
    certain = tuple(finding.code for finding in told if finding.certain)
    suspected = tuple(finding.code for finding in told if not finding.certain)
    cause = diagnosis.cause.code if diagnosis.cause else None
    named = cause or (suspected[0] if suspected else None)
    first = diagnosis.findings[0] if diagnosis.findings else None
    return Result(
        program=program.name,
        codes=codes,
        cause=cause,
        certain=certain,
        suspected=suspected,
        crashed=tuple(f"{v.code}: {v.error}" for v in diagnosis.verdicts if isinstance(v, Crashed)),
        seconds=diagnosis.seconds,
        top=not certain if not codes else named == codes[0] or named in program.also,
        detected=not codes or codes[0] in certain + suspected or bool({*program.also} & {*certain, *suspected}),
        says=first.says if first else "",
        failed=failed,
    )


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Shares over all programs, and per fault."""
    sick, healthy = [r for r in results if r.codes], [r for r in results if not r.codes]
    faults: dict[str, list[Result]] = defaultdict(list)
    for result in sick:
        faults[result.codes[0]].append(result)
    return {
        "backend": keras.backend.backend(),
        "planted": len(sick),
        "top_1": _share([r.top for r in sick]),
        "detected": _share([r.detected for r in sick]),
        "healthy": len(healthy),
        "false_alarms": sum(bool(r.certain) for r in healthy),
        "suspected_on_healthy": sum(bool(r.suspected) and not r.certain for r in healthy),
        "crashed_checks": sum(bool(r.crashed) for r in results),
        "median_seconds": round(statistics.median(r.seconds for r in results), 2) if results else None,
        "slowest_seconds": round(max((r.seconds for r in results), default=0), 2),
        "per_fault": {
            code: {
                "programs": len(group),
                "top_1": _share([r.top for r in group]),
                "detected": _share([r.detected for r in group]),
                "seconds": round(statistics.median(r.seconds for r in group), 2),
            }
            for code, group in sorted(faults.items())
        },
    }


def _share(truths: Sequence[bool]) -> float | None:
    return round(sum(truths) / len(truths), 3) if truths else None


def failures(results: Sequence[Result]) -> list[dict[str, Any]]:
    """What went wrong, in full."""
    bad = [r for r in results if not r.top or not r.detected or r.failed or r.crashed or (not r.codes and r.suspected)]
    return [asdict(result) for result in bad]


def table(programs: Sequence[Program], *, tell: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """Examine all programs in turn."""
    results = []
    for program in programs:
        start = time.perf_counter()
        try:
            result = examine(program)
        except Exception as error:  # an error of the doctor itself is a failure to be shown, not the end of the table
            result = judge(program, Diagnosis(()), failed=f"doctor: {type(error).__name__}: {error}")
        results.append(result)
        tell(result)
        if time.perf_counter() - start > 60:
            print(f"  {program.name} took over a minute in all", file=sys.stderr)
    return results


def foreground_dice(recipe: Recipe) -> float:
    """Dice of all foreground on held-out images, told from the argmax or the threshold, of a trained recipe."""
    assert recipe.model is not None
    x, truth = recipe.scale(recipe.val_images), recipe.val_masks
    y_pred = np.asarray(recipe.model.predict(x, verbose=0))
    is_binary = y_pred.shape[-1] == 1
    ids = y_pred[..., 0] > (0.0 if recipe.logits else 0.5) if is_binary else y_pred.argmax(-1)
    known = truth != 255
    scores = []
    for class_id in range(1, recipe.num_classes):
        hit, true = (ids == class_id) & known, truth == class_id
        if true.any():
            scores.append(2 * (hit & true).sum() / max(1, hit.sum() + true.sum()))
    return float(np.mean(scores))


def prove(program: Program) -> dict[str, Any]:
    """Train the program and its healthy twin shortly; the planted one must be worse, or fail to train at all."""
    scores: dict[str, Any] = {"program": program.name}
    for name, healthy in (("planted", False), ("twin", True)):
        keras.backend.clear_session()
        recipe = program.recipe(healthy=healthy)
        recipe.fit = {**recipe.fit, "validation_data": None}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                recipe.run()
                scores[name] = round(foreground_dice(recipe), 3)
        except Exception as error:
            scores[name] = f"{type(error).__name__}"
    return scores
