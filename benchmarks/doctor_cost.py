"""What a diagnosis costs: seconds of each budget, memory against training, the share of an epoch that `Watch` takes.

`python -m benchmarks.doctor_cost [--json FILE]`: 256 pairs of 128 × 128 px, a small, a usual and a large network. Each
figure is measured in a process of its own, after imports, with the model built and compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._memory import peak

PAIRS, SIDE, BATCH = 256, 128, 8
NETWORKS: dict[str, dict[str, int]] = {
    "U-Net, width 16": {"width": 16},
    "U-Net, width 32": {"width": 32},
    "U-Net, width 72": {"width": 72},
}
LARGEST = list(NETWORKS)[-1]
TASKS = ("training", "static", "probe", "watch")


def measure(network: str, task: str) -> dict[str, float]:
    """Do `task` once in this process, with its seconds, processor seconds and what it added to the memory."""
    import keras
    import numpy as np

    import segnosis as sg

    random = np.random.default_rng(0)
    y = np.zeros((PAIRS, SIDE, SIDE), "int32")
    for mask in y:
        down, across = np.mgrid[:SIDE, :SIDE] - random.uniform(32, 96, 2)[:, None, None]
        mask[np.hypot(down, across) < random.uniform(8, 30)] = 1
    x = (0.3 * y + random.normal(0.4, 0.15, y.shape)).clip(0, 1)[..., None].astype("float32")

    model = sg.models.unet((SIDE, SIDE, 1), num_classes=2, **NETWORKS[network])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before, started, busy = peak(), time.perf_counter(), time.process_time()
    more: dict[str, float] = {}
    if task == "training":
        model.fit(x[: 2 * BATCH], y[: 2 * BATCH], batch_size=BATCH, verbose=0)
    elif task == "watch":
        more = _watched(model, x, y)
    else:
        found = sg.diagnose(model, (x, y), budget=task)
        more["findings"] = len(found.findings)
    return {
        "parameters_millions": round(model.count_params() / 1e6, 1),
        "seconds": round(time.perf_counter() - started, 2),
        "processor_seconds": round(time.process_time() - busy, 2),
        "added_mib": round(peak() - before),
        **more,
    }


def _watched(model: Any, x: Any, y: Any, epochs: int = 4) -> dict[str, float]:
    import keras

    import segnosis as sg

    times: list[float] = []
    watched: list[float] = []
    watch = sg.Watch(validation=(x[:32], y[:32]))
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: (times.append(-time.perf_counter()), watched.append(watch.seconds)),
        on_epoch_end=lambda epoch, logs: times.append(times.pop() + time.perf_counter()),
    )
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[clock, watch])
    return {
        "epoch_seconds": round(statistics.median(times), 2),
        "watch_first_epoch": round(watched[1], 2),
        "share_of_later_epochs": round((watch.seconds - watched[1]) / sum(times[1:]), 4),
    }


def main() -> None:
    """Every network and task, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TASKS, nargs="+", default=list(TASKS))
    parser.add_argument("--network", choices=list(NETWORKS), nargs="+", default=list(NETWORKS))
    parser.add_argument("--json", type=Path, help="Where the figures go.")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.one:
        print(json.dumps(measure(*wanted.one)))
        return
    cores = len(os.sched_getaffinity(0))
    found: dict[str, Any] = {"cores": cores, "pairs": PAIRS, "side": SIDE, "networks": {}}
    print(f"{PAIRS} pairs of {SIDE} x {SIDE} px, {cores} cores")
    for network in wanted.network:
        for task in wanted.only:
            if task == "watch" and network == LARGEST:
                continue  # minutes an epoch, and of those a smaller share than on the others
            command = [sys.executable, "-m", "benchmarks.doctor_cost", "--one", network, task]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            found["networks"].setdefault(network, {})[task] = figures
            print(
                f"{network:<18}{task:<10}" + "  ".join(f"{name} {value}" for name, value in figures.items()), flush=True
            )
    if wanted.json:
        wanted.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
