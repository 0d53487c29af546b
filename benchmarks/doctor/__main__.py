"""`python -m benchmarks.doctor`: prints the fault table and writes `benchmarks/results/doctor.json`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

RESULTS = Path(__file__).parents[1] / "results" / "doctor.json"


def main() -> None:
    """Read the options, run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doctor", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one way per fault and per healthy program")
    parser.add_argument("--ways", type=int, default=3, help="ways of writing per fault")
    parser.add_argument("--only", nargs="*", default=(), help="codes or parts of names; `healthy` for all healthy ones")
    parser.add_argument("--real", type=int, default=0, help="ways per entry on real data beside the checkout")
    parser.add_argument("--prove-truth", type=int, default=0, metavar="N", help="train N planted programs and twins")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go")
    options = parser.parse_args()

    from benchmarks.doctor.catalogue import everything
    from benchmarks.doctor.measure import Result, failures, prove, summary, table

    from segnosis.core.run_folder import write_json

    ways = 1 if options.quick else options.ways
    programs = [p for p in everything(ways, min(ways, 2), options.real) if not options.only or chosen(p, options.only)]

    def tell(result: Result) -> None:
        mark = "ok  " if result.top and result.detected and not result.failed else "MISS"
        found = " ".join([*result.certain, *(f"({code})" for code in result.suspected)]) or "-"
        print(f"{mark} {result.seconds:5.1f} s  {','.join(result.codes) or 'healthy':8}  {found:24}  {result.program}")
        if mark == "MISS" or (not result.codes and result.suspected):
            print(f"        {result.failed or result.says}")
        for crash in result.crashed:
            print(f"        crashed {crash}")

    results = table(programs, tell=tell)
    report: dict[str, Any] = {**summary(results), "failures": failures(results)}
    if options.prove_truth:
        sick = [program for program in programs if program.codes]
        step = max(1, len(sick) // options.prove_truth)
        report["truth"] = [prove(program) for program in sick[::step][: options.prove_truth]]
    show(report)
    options.json.parent.mkdir(exist_ok=True)
    write_json(options.json, report)


def chosen(program: Any, wanted: list[str]) -> bool:
    names = (program.name, *(program.codes[:1] or ("healthy",)))
    return any(word in name for word in wanted for name in names)


def show(report: dict[str, Any]) -> None:
    """Print the figures."""
    print(f"\n{'fault':8} {'programs':>8} {'top-1':>7} {'detected':>9} {'seconds':>8}")
    for code, row in report["per_fault"].items():
        print(f"{code:8} {row['programs']:8} {row['top_1']:7} {row['detected']:9} {row['seconds']:8}")
    for name in ("planted", "top_1", "detected", "healthy", "false_alarms", "suspected_on_healthy", "crashed_checks"):
        print(f"{name.replace('_', ' '):24} {report[name]}")
    print(f"seconds: median {report['median_seconds']}, slowest {report['slowest_seconds']}")
    for proof in report.get("truth", []):
        print(f"truth: {proof['program']}: planted {proof['planted']}, twin {proof['twin']}")


main()
