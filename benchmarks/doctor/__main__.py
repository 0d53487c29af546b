"""`python -m benchmarks.doctor`: prints the fault table and writes `benchmarks/results/doctor.json`."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
ROOT = Path(__file__).parents[2]
# For the processes that do the work: the programs and the doctor beside this file, whatever is installed.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src")])

RESULTS = ROOT / "benchmarks" / "results" / "doctor.json"


def main() -> None:
    """Read the options, run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doctor", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one way per fault and per healthy program")
    parser.add_argument("--ways", type=int, default=3, help="ways of writing per fault, in the fixed table")
    parser.add_argument("--real", type=int, default=0, help="ways per entry on real data beside the checkout")
    parser.add_argument(
        "--sample", type=int, nargs=3, metavar=("PLANTED", "HEALTHY", "PAIRS"), help="random ones instead"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random ones")
    parser.add_argument("--held-out", action="store_true", help="random ones with a piece no check was mended on")
    parser.add_argument("--people", action="store_true", help="scripts as people write them, each with every edit")
    parser.add_argument("--only", nargs="*", default=(), help="codes or parts of names; `healthy` for all healthy ones")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no program after so many")
    parser.add_argument("--log", type=Path, help="results, line by line; those found there are not run again")
    parser.add_argument("--prove-truth", action="store_true", help="train faults and twins in place of diagnosing")
    parser.add_argument("--title", default="The fixed table", help="of the figures in the documents")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go")
    options = parser.parse_args()

    import keras
    from benchmarks.doctor import truth
    from benchmarks.doctor.catalogue import everything, sample
    from benchmarks.doctor.measure import Result, summary, table
    from benchmarks.doctor.written import written

    from segnosis.core.run_folder import write_json

    if options.prove_truth:
        write_json(truth.STORED, truth.prove_all(options.only, options.log))
        return
    ways = 1 if options.quick else options.ways
    if options.people:
        programs = list(written())
    elif options.sample:
        programs = sample(*options.sample, seed=options.seed, held_out=options.held_out)
    else:
        programs = everything(ways, min(ways, 2), options.real, pairs=min(ways, 2))
    harmless = truth.harmless()
    dropped = sorted({name for program in programs if (name := program.name.partition("@")[0]) in harmless})
    programs = [program for program in programs if program.name.partition("@")[0] not in harmless]
    programs = [program for program in programs if not options.only or chosen(program, options.only)]

    results: list[Result] = []
    for result in table(programs, options.log, options.minutes):
        results.append(result)
        tell(result, f"{len(results)}/{len(programs)}")
    report = {
        "title": options.title,
        "command": "python -m benchmarks.doctor " + " ".join(asked(options)),
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "does_no_harm": dropped,
        "left_out_for_time": len(programs) - len(results),
        **summary(results),
    }
    show(report)
    options.json.parent.mkdir(exist_ok=True)
    write_json(options.json, report)


def asked(options: argparse.Namespace) -> list[str]:
    """The options that say which programs were run, as typed."""
    said = []
    for name in ("quick", "ways", "real", "sample", "seed", "held_out", "people", "only"):
        value = getattr(options, name)
        if value and not (name == "ways" and (options.sample or options.people)):
            values = [] if value is True else value if isinstance(value, list) else [value]
            said += [f"--{name.replace('_', '-')}", *map(str, values)]
    return said


def chosen(program: Any, wanted: list[str]) -> bool:
    names = (program.name, *(program.codes or ("healthy",)))
    return any(word in name for word in wanted for name in names)


def tell(result: Any, progress: str) -> None:
    """A line for one program, and what was said where it was not what is deserved."""
    found = " ".join([*result.certain, *(f"({code})" for code in result.suspected)]) or "-"
    mark = "MISS" if result.bad else "ok  "
    deserved = ",".join(result.codes) or "healthy"
    print(f"{progress:>8} {mark} {result.seconds:5.1f} s  {deserved:8}  {found:24}  {result.program}", flush=True)
    if result.bad:
        print(f"             {result.failed or result.says}")
    for crash in result.crashed:
        print(f"             crashed {crash}", flush=True)


def show(report: dict[str, Any]) -> None:
    """Print the figures."""
    print(f"\n{'fault':8} {'programs':>8} {'top-1':>7} {'detected':>9} {'seconds':>8}")
    for code, row in report["per_fault"].items():
        print(f"{code:8} {row['programs']:8} {row['top_1']:7} {row['detected']:9} {row['seconds']:8}")
    for name, value in report.items():
        if name not in ("per_fault", "failures"):
            print(f"{name.replace('_', ' '):24} {value}")


if __name__ == "__main__":  # the worker processes import this module by another name
    main()
