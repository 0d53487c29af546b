"""Kills training processes at random instants, resumes them, and compares every bit with a run that was left alone.

    python -m benchmarks.kills [--times 100] [--backends tensorflow jax] [--log kills.jsonl] [--json kills.json]

Every kill is a SIGKILL to a real `segnosis train` process. A third of them come at a random moment of its life, a third
while it trains, and a third while a file is being written; each run is killed up to six times before it may finish.
Then its history (clocks apart), final weights and held-out scores must be those of the run left alone. With `--log`,
every run is a line in that file, and the same command goes on after the last one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from segnosis.core.run_folder import RunFolder, read_json, write_json
from segnosis.data import phantom
from segnosis.training.plan import Plan

CLOCKS = ("seconds", "data_seconds", "training_seconds")
_EPOCHS = 4
_KILLS = 6
"""Kills that one run gets at the most."""
_PATIENCE = 900.0
"""Seconds after which a process counts as hanging."""


def tiny(data: Path) -> Plan:
    """Four short epochs with all that has state: dropout, momentum, averages, accumulated gradients, a schedule.

    The rate is one at which the doctor need not ask whether it is too low: scoring would take most of a run's life.
    """
    return Plan(
        data=str(data), model_arguments={"width": 4, "depth": 2, "dropout": 0.1}, preprocessing="standardize",
        size=(32, 32), batch_size=4, epochs=_EPOCHS, steps_per_epoch=40, accumulate=2, average=0.9, clip_norm=1.0,
        learning_rate=0.01,
    )  # fmt: skip


def begin(plan: Path, out: Path, backend: str, *, resume: bool) -> subprocess.Popen[bytes]:
    """A `segnosis train` process of its own."""
    words = ["--resume"] if resume else ["--plan", str(plan)]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    # JAX compiles for minutes what it computes in seconds: with little care, and once for all runs.
    environment |= {"XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"}
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(out.parent / "compiled")}
    environment |= {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    with (out.parent / f"{out.name}.log").open("ab") as log:
        command = [sys.executable, "-m", "segnosis", "train", *words, "--out", str(out)]
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def finish(process: subprocess.Popen[bytes], out: Path) -> None:
    """Let a run go on to its end."""
    if process.wait(_PATIENCE) or not (out / "scores.json").exists():
        raise SystemExit(f"a run did not finish:\n{(out.parent / f'{out.name}.log').read_text()[-2000:]}")


def killed(process: subprocess.Popen[bytes], out: Path, *, after: float, writing: bool) -> str | None:
    """Kill the process some seconds after it has begun its run folder, and say in the midst of what.

    Args:
        process: A training process.
        out: Its run folder.
        after: Seconds.
        writing: Wait on for a moment at which a file is being written.

    Returns:
        What it was doing, or `None` where it was over before.
    """
    began = None
    known = stamp(out)
    while process.poll() is None:
        now = time.monotonic()
        if began is None and stamp(out) != known:
            began = now
        half = next(out.rglob(".part-*"), None) if writing and began else None
        if began is not None and now - began >= after and (half is not None or not writing):
            process.kill()
            process.wait()
            return doing(out, half)
        time.sleep(0.0005)
    return None


def stamp(out: Path) -> int:
    """When the plan in a run folder was written: it is the first thing a process of ours does there."""
    try:
        return (out / "plan.yaml").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def doing(out: Path, half: Path | None) -> str:
    """What a killed run was doing."""
    if half is not None:
        return f"writing a file in {half.parent.name if half.parent != out else 'the run folder'}"
    if (out / "scores.json").exists():
        return "writing the report"
    epochs = epochs_of(out)
    return "scoring" if epochs == _EPOCHS else f"epoch {epochs + 1}" if epochs else "starting"


def epochs_of(out: Path) -> int:
    """How many epochs a run has finished."""
    return sum(1 for _ in RunFolder(out).epochs()) if (out / "history.jsonl").exists() else 0


def account(out: Path) -> tuple[list[dict[str, Any]], dict[str, bytes], Any]:
    """All that must be the same: history without clocks, final weights, scores."""
    history = [{k: v for k, v in line.items() if k not in CLOCKS} for line in RunFolder(out).epochs()]
    weights: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(out / "model.keras") as archive:
            archive.extract("model.weights.h5", folder)
        with h5py.File(Path(folder) / "model.weights.h5") as file:

            def keep(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset):
                    weights[name] = np.asarray(item).tobytes()

            file.visititems(keep)
    return history, weights, read_json(out / "scores.json")["confusion"]


def rounds(backend: str, times: int, root: Path, seed: int, log: Path | None) -> dict[str, Any]:
    """Kill `times` times, and compare each finished run; those in `log` count."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log and log.exists() else []
    done = [line for line in lines if line["backend"] == backend]
    kills = sum((Counter(line["while"]) for line in done), Counter[str]())
    if sum(kills.values()) >= times:
        return summary(done)
    data = phantom.write(root / "hearts", subjects=6, size=32, slices=2)
    plan = tiny(data).save(root / "plan.yaml")
    alone = root / "alone"
    began = time.monotonic()
    process = begin(plan, alone, backend, resume=False)
    while process.poll() is None and not stamp(alone):
        time.sleep(0.01)
    starting = time.monotonic() - began
    while process.poll() is None and epochs_of(alone) < _EPOCHS:
        time.sleep(0.01)
    training = time.monotonic() - began - starting
    finish(process, alone)
    life = time.monotonic() - began - starting
    expected = account(alone)
    print(f"{backend}: {starting:.1f} s to the plan, {training:.1f} s to train, {life:.1f} s to the end", flush=True)
    while sum(kills.values()) < times:
        out = root / f"run-{len(done)}"
        rng = random.Random(f"{seed} {backend} {len(done)}")
        own: Counter[str] = Counter()
        for _ in range(min(_KILLS, times - sum(kills.values()))):
            resume = (out / "plan.yaml").exists()
            if (out / "scores.json").exists():
                break
            process = begin(plan, out, backend, resume=resume)
            done_before = epochs_of(out)
            left = life - training * done_before / _EPOCHS
            # Nothing may be written any more at the very end: those that wait for a file are sent off earlier.
            span = {"any": left, "writing": 0.7 * left, "training": training * (1 - done_before / _EPOCHS) or left}
            kind = rng.choice(sorted(span))
            found = killed(process, out, after=rng.uniform(0.0, span[kind]), writing=kind == "writing")
            if found is None:
                break
            own[found] += 1
        if not (out / "scores.json").exists():
            finish(begin(plan, out, backend, resume=(out / "plan.yaml").exists()), out)
        kills += own
        done.append({"backend": backend, "while": own, "same": account(out) == expected})
        if log:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[-1]) + "\n")
        word = "the same bits" if done[-1]["same"] else "DIFFERENT"
        print(f"  {sum(kills.values()):4} kills, {len(done)} runs: {word}", flush=True)
        shutil.rmtree(out)
    return summary(done)


def summary(done: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of finished runs, each a line of the log."""
    kills = sum((Counter(line["while"]) for line in done), Counter[str]())
    different = sum(not line["same"] for line in done)
    return {"kills": sum(kills.values()), "runs": len(done), "different": different, "while": dict(kills.most_common())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100, help="kills a backend")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="file that keeps every run, to go on with")
    parser.add_argument("--json", type=Path, help="file to write the counts to")
    arguments = parser.parse_args()
    results = {}
    for backend in arguments.backends:
        with tempfile.TemporaryDirectory() as root:
            results[backend] = rounds(backend, arguments.times, Path(root), arguments.seed, arguments.log)
        for what, count in results[backend]["while"].items():
            print(f"  {count:4} × {what}")
    if arguments.json:
        write_json(arguments.json, results)
    if any(result["different"] for result in results.values()):
        raise SystemExit("A killed run ended differently.")


if __name__ == "__main__":
    main()
