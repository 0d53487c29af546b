"""Four processes on this machine train what one process trains: the same curve, also after a loss and after SIGTERM.

    python -m benchmarks.processes [--processes 4] [--json processes.json]

Real `segnosis train` commands on the JAX backend, connected over loopback. Compared with one process of the same global
batch: all of them to the end; one of them killed in mid-training, and half as many going on; all of them told to stop,
as a cluster does before it takes a machine away, and as many going on. Everybody must leave with the right exit code.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.run_folder import RunFolder, read_json, write_json
from segnosis.data import phantom
from segnosis.training.plan import Plan
from segnosis.training.processes import ADDRESS

_PATIENCE = 600.0
"""Seconds after which a process counts as hanging."""
_SAME = 1e-3
"""Relative difference that another order of sums may grow to over the epochs."""
_CURVE = ("loss", "data_loss", "val_loss", "learning_rate")


def asked(data: Path) -> Plan:
    """Short epochs with all that has state; the last batch of each is a small one."""
    return Plan(
        data=str(data), model_arguments={"width": 4, "depth": 2, "dropout": 0.1}, preprocessing="standardize",
        size=(32, 32), batch_size=8, epochs=10, accumulate=2, average=0.8, clip_norm=1.0, recompute_statistics=False,
    )  # fmt: skip


class Job:
    """So many processes of one `segnosis train` command.

    Args:
        out: Run folder.
        number: How many.
        plan: Plan file to begin with; `None` goes on with the run.
    """

    def __init__(self, out: Path, number: int, plan: Path | None) -> None:
        self.out = out
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        words = ["--resume"] if plan is None else ["--plan", str(plan)]
        command = [sys.executable, "-m", "segnosis", "train", *words, "--out", str(out)]
        # Little compilation, and patience with devices that a busy machine lets wait for each other.
        quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
        patient = "--xla_cpu_collective_call_terminate_timeout_seconds=600"
        common = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", ADDRESS: address}
        common |= {"XLA_FLAGS": f"{quick} {patient}"}
        common |= {"KERAS_DISTRIBUTION_NUM_PROCESSES": str(number)}
        self.running = [
            subprocess.Popen(
                command,
                env={**os.environ, **common, "KERAS_DISTRIBUTION_PROCESS_ID": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(number)
        ]

    def reach(self, epochs: int) -> None:
        """Wait until so many epochs are done."""
        while sum(1 for _ in RunFolder(self.out).epochs()) < epochs and self.running[0].poll() is None:
            time.sleep(0.005)

    def end(self) -> tuple[list[int], str]:
        """Exit codes, and what the first process said."""
        try:
            said = [process.communicate(timeout=_PATIENCE)[0] for process in self.running]
        finally:
            for process in self.running:
                process.kill()
        return [process.returncode for process in self.running], said[0]


def difference(out: Path, alone: Path) -> dict[str, Any]:
    """By how much a run differs from that of one process: losses relatively, Dice in points."""
    found, expected = (list(RunFolder(folder).epochs()) for folder in (out, alone))
    if [line["epoch"] for line in found] != [line["epoch"] for line in expected]:
        raise SystemExit(f"{out.name}: {len(found)} epochs in place of {len(expected)}")
    pairs = [(a[key], b[key]) for a, b in zip(found, expected, strict=True) for key in _CURVE if b[key]]
    # A pixel whose classes are equally likely falls to either side, whatever the order of sums.
    dice = [[line["foreground_dice"] for line in lines] for lines in (found, expected)]
    scores = [read_json(folder / "scores.json")["foreground_dice"] for folder in (out, alone)]
    return {
        "epochs": len(found),
        "curve": max(abs(a - b) / abs(b) for a, b in pairs),
        "validation Dice": float(np.abs(np.subtract(*dice)).max()),
        "held-out Dice": abs(float(np.diff(scores)[0])),
    }


def must(told: bool, what: str) -> None:
    """Stop where something is not as it has to be."""
    if not told:
        raise SystemExit(what)


def measure(root: Path, number: int) -> dict[str, Any]:
    """All three comparisons."""
    plan = asked(phantom.write(root / "hearts", subjects=10, size=32, slices=4)).save(root / "plan.yaml")
    alone, whole, lost, told = (root / name for name in ("alone", "whole", "lost", "told"))
    codes, said = Job(alone, 1, plan).end()
    must(codes == [0], said)
    results: dict[str, Any] = {}

    codes, said = Job(whole, number, plan).end()
    must(codes == [0] * number, f"exit codes {codes}\n{said}")
    results["to the end"] = difference(whole, alone)
    print(f"{number} processes to the end: {results['to the end']}", flush=True)

    job = Job(lost, number, plan)
    job.reach(2)
    job.running[-1].kill()
    codes, said = job.end()
    # Those that cannot say it any more are ended by JAX itself, with another code than 0.
    must(0 not in codes and codes[-1] == -signal.SIGKILL, f"exit codes {codes}\n{said}")
    done, left = sum(1 for _ in RunFolder(lost).epochs()), codes
    codes, said = Job(lost, number // 2, None).end()
    must(codes == [0] * (number // 2), f"exit codes {codes}\n{said}")
    results["one killed"] = {"after": done, "exit codes": left, **difference(lost, alone)}
    print(f"one of {number} killed, {number // 2} go on: {results['one killed']}", flush=True)

    job = Job(told, number, plan)
    job.reach(2)
    for process in job.running:
        process.send_signal(signal.SIGTERM)
    codes, said = job.end()
    must(codes == [128 + signal.SIGTERM] * number, f"exit codes {codes}\n{said}")
    done, left = sum(1 for _ in RunFolder(told).epochs()), codes
    codes, said = Job(told, number, None).end()
    must(codes == [0] * number, f"exit codes {codes}\n{said}")
    results["SIGTERM to all"] = {"after": done, "exit codes": left, **difference(told, alone)}
    print(f"SIGTERM to all {number}, {number} go on: {results['SIGTERM to all']}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4, help="an even number")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        results = measure(Path(root), arguments.processes)
    if arguments.json:
        write_json(arguments.json, {"processes": arguments.processes, **results})
    for name, result in results.items():
        must(result["curve"] < _SAME, f"{name}: the curve differs by {result['curve']:.1e}")


if __name__ == "__main__":
    main()
