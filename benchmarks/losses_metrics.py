"""Dice + cross-entropy and streaming mean IoU beside MONAI, segmentation_models.pytorch and torchmetrics.

    python -m benchmarks losses_metrics
    python benchmarks/losses_metrics.py [--rounds 5] [--quick] [--only jax] [--json FILE]

Every contender lives in a process of its own, on the same single core, so that none inherits the memory, the threads or
the warm cache of another; they take turns, round after round. A figure is the median over rounds, a ratio the median of
the ratios within a round, so that a busy machine slows both sides alike. Memory is the peak of a warm run above what
the process held before its first one, inputs and libraries; compiled code is part of it. Peers that are not installed
are left out; see `requirements.txt` beside this file.

The rows of torchmetrics do the same work. Its temporary arrays are of a size that the C library either keeps for the
next batch or gets anew from the system, page by page, four times as slow; which, is luck.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "losses_metrics.json"
BACKENDS = ("tensorflow", "jax", "torch")
BATCHES = 32
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the pixels, to see that all of it runs")
    parser.add_argument("--only", default="", help="contenders of ours whose name holds this; peers always run")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go")
    parser.add_argument("--contender", nargs=2, metavar=("TABLE", "NAME"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        serve(*args.contender, quick=args.quick)
        return
    found = {title: measure(title, args) for title in TABLES}
    names = ("keras", "tensorflow-cpu", "jax", "torch", "monai", "segmentation_models_pytorch", "torchmetrics")
    report = {
        "command": "python -m benchmarks losses_metrics",
        "rounds": args.rounds,
        "quick": args.quick,
        "machine": f"one core of {platform.machine()}, shared",
        "versions": {name: metadata.version(name) for name in names if installed(name.removesuffix("-cpu"))},
        "tables": found,
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nwritten to {args.json}")


def measure(title: str, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds and megabytes of every contender of a table, and its time in times the best peer's."""
    names = [name for name in TABLES[title] if args.only in name or not is_ours(name)]
    workers = {name: start(title, name, quick=args.quick) for name in names}
    workers = {name: worker for name, worker in workers.items() if tell(worker, "warm") is not None}
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(args.rounds):
        for name, worker in workers.items():
            seconds[name].append(float(tell(worker, "run") or "nan"))
    memory = {name: float(tell(worker, "memory") or "nan") for name, worker in workers.items()}
    for worker in workers.values():
        worker.communicate()
    # A ratio of each round: the best peer's time over this contender's.
    peers = [name for name in workers if not is_ours(name) and name not in NO_PEERS]
    best = min(peers, key=lambda name: statistics.median(seconds[name])) if peers else next(iter(workers))
    rows = {}
    print(f"\n{title}" + ("  (quick)" if args.quick else ""), flush=True)
    for name, times in seconds.items():
        ratio = statistics.median(b / t for b, t in zip(seconds[best], times, strict=True))
        rows[name] = {
            "seconds": round(statistics.median(times), 4),
            "faster_than_best_peer": round(ratio, 2),
            "megabytes": round(memory[name], 1),
        }
        print(f"  {name:<40}{rows[name]['seconds']:>9.3f} s {ratio:>7.2f} × {memory[name]:>8.0f} MB", flush=True)
    return rows


def is_ours(name: str) -> bool:
    return name.startswith("segnosis")


def start(title: str, name: str, *, quick: bool) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--contender", title, name, *(["--quick"] if quick else [])]
    backend = next((backend for backend in BACKENDS if backend in name), "torch")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def tell(worker: subprocess.Popen[str], order: str) -> str | None:
    """The answer of a worker, or `None` when its peer is not installed."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(order + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline().split()
    if not answer:
        raise RuntimeError(f"{worker.args} ended")
    return answer[1] if answer[0] == "ok" else None


def serve(title: str, name: str, *, quick: bool) -> None:
    """The side of a worker: one order a line."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])  # XLA takes its threads from the cores it may use
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    run: Run | None = None
    rest = 0
    for line in sys.stdin:
        order = line.strip()
        if order == "warm":
            one_thread()
            run = TABLES[title][name](quick)
            if run is None:
                print("missing", file=answers)
                return
            rest = kilobytes("VmRSS")
            run(), run()  # compiles
            print("ok warm", file=answers)
        elif order == "run":
            begin = time.perf_counter()
            run()
            print("ok", time.perf_counter() - begin, file=answers)
        elif order == "memory":
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            run()
            print("ok", (kilobytes("VmHWM") - rest) / 1024, file=answers)


def one_thread() -> None:
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    elif os.environ["KERAS_BACKEND"] == "torch" and installed("torch"):
        import torch

        torch.set_num_threads(1)


def kilobytes(field: str) -> int:
    """A size of this process, as Linux tells it."""
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # what is only kept for later does not count
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


# Contenders: each makes its inputs and returns what is timed, or `None` when its package is not installed.


def batch_of(shape: tuple[int, ...], classes: int, *, quick: bool):
    import numpy as np

    draw = np.random.default_rng(0)
    space = tuple(size // 4 for size in shape[1:]) if quick else shape[1:]
    logits = draw.standard_normal((shape[0], *space, classes), dtype="float32")
    return logits, draw.integers(0, classes, (shape[0], *space)).astype("int32")


def our_loss(how: str, shape: tuple[int, ...], classes: int) -> Callable[[bool], Run]:
    def make(quick: bool) -> Run:
        import segnosis as sg

        loss = sg.losses.Sum([sg.losses.CrossEntropy(), sg.losses.Dice()])
        logits, ids = batch_of(shape, classes, quick=quick)
        if how in ("XLA", "graph"):
            import tensorflow as tf

            z, y = tf.constant(logits), tf.constant(ids)

            def step(y: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
                with tf.GradientTape() as tape:
                    tape.watch(z)
                    value = loss(y, z)
                return tape.gradient(value, z)

            graph = tf.function(step, jit_compile=how == "XLA")
            return lambda: float(graph(y, z)[0, 0, 0, 0])
        if how == "jit":
            import jax

            step = jax.jit(jax.grad(lambda z, y: loss(y, z)))
            z, y = jax.device_put(logits), jax.device_put(ids)
            return lambda: jax.block_until_ready(step(z, y))
        import torch

        z, y = torch.tensor(logits, requires_grad=True), torch.tensor(ids)
        called = torch.compile(loss) if how == "compiled" else loss
        return lambda: torch.autograd.grad(called(y, z), z)

    return make


def torch_batch(shape: tuple[int, ...], classes: int, *, quick: bool):
    """The layout that peers are made for: channels first, contiguous, int64."""
    import torch

    logits, ids = batch_of(shape, classes, quick=quick)
    z = torch.tensor(logits).movedim(-1, 1).contiguous().requires_grad_()
    return z, torch.tensor(ids, dtype=torch.int64)


def monai_loss(how: str, shape: tuple[int, ...], classes: int) -> Callable[[bool], Run | None]:
    def make(quick: bool) -> Run | None:
        if not installed("monai"):
            return None
        import torch
        from monai.losses import DiceCELoss

        z, y = torch_batch(shape, classes, quick=quick)
        loss = DiceCELoss(softmax=True, to_onehot_y=True, batch=True)
        called = torch.compile(loss) if how == "compiled" else loss
        return lambda: torch.autograd.grad(called(z, y[:, None]), z)

    return make


def smp_loss(shape: tuple[int, ...], classes: int) -> Callable[[bool], Run | None]:
    def make(quick: bool) -> Run | None:
        name = "segmentation_models_pytorch"
        if not installed(name):
            return None
        import torch

        package = types.ModuleType(name)  # its own `__init__` wants torchvision, its losses do not
        package.__path__ = list(importlib.util.find_spec(name).submodule_search_locations)
        sys.modules.setdefault(name, package)
        dice = importlib.import_module(f"{name}.losses").DiceLoss("multiclass")
        z, y = torch_batch(shape, classes, quick=quick)
        return lambda: torch.autograd.grad(dice(z, y) + torch.nn.functional.cross_entropy(z, y), z)

    return make


def loss_contenders(shape: tuple[int, ...], classes: int) -> dict[str, Callable[[bool], Run | None]]:
    return {
        "segnosis, tensorflow, XLA": our_loss("XLA", shape, classes),
        "segnosis, tensorflow, graph": our_loss("graph", shape, classes),
        "segnosis, jax, jit": our_loss("jit", shape, classes),
        "segnosis, torch, compiled": our_loss("compiled", shape, classes),
        "segnosis, torch, eager": our_loss("eager", shape, classes),
        "MONAI DiceCELoss, compiled": monai_loss("compiled", shape, classes),
        "MONAI DiceCELoss, eager": monai_loss("eager", shape, classes),
        "segmentation_models.pytorch Dice + CE": smp_loss(shape, classes),
    }


CLASSES, SHAPE = 21, (8, 512, 512)


def id_batch(*, quick: bool):
    _, true = batch_of((SHAPE[0], *SHAPE[1:]), 1, quick=quick)
    import numpy as np

    draw = np.random.default_rng(1)
    return [draw.integers(0, CLASSES, true.shape).astype("int32") for _ in range(2)]


def our_metric(how: str) -> Callable[[bool], Run]:
    def make(quick: bool) -> Run:
        from keras import ops

        import segnosis as sg

        metric = sg.metrics.MeanIoU(CLASSES)
        y, p = map(ops.convert_to_tensor, id_batch(quick=quick))
        if how == "jit":
            import jax

            update, result = jax.jit(metric.stateless_update_state), jax.jit(metric.stateless_result)

            def run() -> float:
                state = [variable.value for variable in metric.variables]
                for _ in range(BATCHES):
                    state = update(state, y, p)
                return float(result(state))

            return run
        update = metric.update_state
        if how in ("XLA", "graph"):
            import tensorflow as tf

            update = tf.function(update, jit_compile=how == "XLA")
        elif how == "compiled":
            import torch

            update = torch.compile(update)

        def streamed() -> float:
            metric.reset_state()
            for _ in range(BATCHES):
                update(y, p)
            return float(metric.result())

        return streamed

    return make


def by_numpy(quick: bool) -> Run:
    import numpy as np

    true, pred = id_batch(quick=quick)

    def run() -> float:
        matrix = np.zeros((CLASSES, CLASSES), dtype=np.int64)
        for _ in range(BATCHES):
            matrix += np.bincount((true * CLASSES + pred).ravel(), minlength=CLASSES**2).reshape(CLASSES, CLASSES)
        hit = np.diagonal(matrix)
        return float(np.mean(hit / (matrix.sum(0) + matrix.sum(1) - hit)))

    return run


def torchmetrics_metric(name: str) -> Callable[[bool], Run | None]:
    def make(quick: bool) -> Run | None:
        if not installed("torchmetrics"):
            return None
        import torch
        from torchmetrics import classification

        peer = getattr(classification, name)(CLASSES, validate_args=False)
        y, p = (torch.tensor(ids, dtype=torch.int64) for ids in id_batch(quick=quick))

        def run() -> object:
            peer.reset()
            for _ in range(BATCHES):
                peer.update(p, y)
            return peer.compute()

        return run

    return make


NO_PEERS = ("numpy bincount",)  # no metric of a library: what is counted with when nothing is checked
TABLES: dict[str, dict[str, Callable[[bool], Run | None]]] = {
    "Dice + cross-entropy, forward and backward, 4×512×512, C = 21": loss_contenders((4, 512, 512), 21),
    "Dice + cross-entropy, forward and backward, 1×512×512, C = 150": loss_contenders((1, 512, 512), 150),
    f"Streaming mean IoU, {BATCHES} batches of 8×512×512, C = 21": {
        "segnosis, tensorflow, XLA": our_metric("XLA"),
        "segnosis, tensorflow, graph": our_metric("graph"),
        "segnosis, jax, jit": our_metric("jit"),
        "segnosis, torch, compiled": our_metric("compiled"),
        "segnosis, torch, eager": our_metric("eager"),
        "torchmetrics MulticlassJaccardIndex": torchmetrics_metric("MulticlassJaccardIndex"),
        "torchmetrics MulticlassConfusionMatrix": torchmetrics_metric("MulticlassConfusionMatrix"),
        "numpy bincount": by_numpy,
    },
}


if __name__ == "__main__":
    main()
