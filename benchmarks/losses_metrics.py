"""Dice + cross-entropy and streaming mean IoU beside MONAI, segmentation_models.pytorch and torchmetrics.

    python benchmarks/losses_metrics.py [--backend jax] [--threads 1] [--rounds 5] [--quick] [--out FILE]

Every contender runs in this one process, in turn, round after round; a figure is the median over rounds, a ratio the
median of the ratios within a round, so that a busy machine slows both sides alike. Peers that are not installed are
left out. Peers: see `requirements.txt` beside this file.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np

OUT = Path(__file__).parent / "results" / "losses_metrics.json"
Contender = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="tensorflow", choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the pixels, to see that all of it runs")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    configure(args.backend, args.threads)
    side = 128 if args.quick else 512
    tables = {
        f"Dice + cross-entropy, forward and backward, 4×{side}×{side}×21": losses(args.backend, (4, side, side), 21),
        f"streaming mean IoU, 4 batches of 8×{side}×{side}, C = 21": metrics(args.backend, (8, side, side), 21, 4),
    }
    report: dict[str, object] = {"backend": args.backend, "threads": args.threads, "rounds": args.rounds}
    for title, contenders in tables.items():
        seconds = interleaved(contenders, args.rounds)
        report[title] = table(title, seconds)
    report["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {args.out}")


def configure(backend: str, threads: int) -> None:
    """Same threads for every side, before any of them starts its pool."""
    os.environ.update(KERAS_BACKEND=backend, TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS=str(threads))
    if hasattr(os, "sched_setaffinity"):  # XLA on the CPU takes its threads from the cores it may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(threads)


def interleaved(contenders: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    for run in contenders.values():
        run()  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def table(title: str, seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    ours = next(iter(seconds))
    rows = {
        name: {
            "seconds": round(statistics.median(times), 4),
            "times_ours": round(statistics.median(t / o for t, o in zip(times, seconds[ours], strict=True)), 2),
        }
        for name, times in seconds.items()
    }
    print(f"\n{title}")
    for name, row in rows.items():
        print(f"  {name:<44}{row['seconds']:>9.3f} s {row['times_ours']:>8.2f} ×")
    return rows


def losses(backend: str, shape: tuple[int, ...], classes: int) -> dict[str, Contender]:
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(*shape, classes)).astype("float32")
    ids = draw.integers(0, classes, shape).astype("int32")
    return {**our_losses(backend, logits, ids), **peer_losses(logits, ids)}


def our_losses(backend: str, logits: np.ndarray, ids: np.ndarray) -> dict[str, Contender]:
    import segnosis as sg

    loss = sg.losses.Sum([sg.losses.CrossEntropy(), sg.losses.Dice()])
    if backend == "tensorflow":
        import tensorflow as tf

        z, y = tf.constant(logits), tf.constant(ids)

        def step(y: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = loss(y, z)
            return tape.gradient(value, z)

        fused, graph = tf.function(step, jit_compile=True), tf.function(step)
        return {
            "segnosis, TensorFlow, XLA": lambda: fused(y, z)[0, 0, 0, 0].numpy(),
            "segnosis, TensorFlow, graph": lambda: graph(y, z)[0, 0, 0, 0].numpy(),
        }
    if backend == "jax":
        import jax

        step = jax.jit(jax.grad(lambda z, y: loss(y, z)))
        z, y = jax.device_put(logits), jax.device_put(ids)
        return {"segnosis, JAX": lambda: jax.block_until_ready(step(z, y))}
    import torch

    z, y = torch.tensor(logits, requires_grad=True), torch.tensor(ids)
    compiled = torch.compile(loss)
    return {
        "segnosis, torch, compiled": lambda: torch.autograd.grad(compiled(y, z), z),
        "segnosis, torch, eager": lambda: torch.autograd.grad(loss(y, z), z),
    }


def peer_losses(logits: np.ndarray, ids: np.ndarray) -> dict[str, Contender]:
    if not importlib.util.find_spec("torch"):
        return {}
    import torch

    # Peers get the layout they are made for: channels first, contiguous.
    z = torch.tensor(np.moveaxis(logits, -1, 1).copy(), requires_grad=True)
    y = torch.tensor(ids, dtype=torch.int64)
    found: dict[str, Contender] = {}
    if importlib.util.find_spec("monai"):
        from monai.losses import DiceCELoss

        monai = DiceCELoss(softmax=True, to_onehot_y=True, batch=True)
        fast = torch.compile(monai)
        found["MONAI DiceCELoss, compiled"] = lambda: torch.autograd.grad(fast(z, y[:, None]), z)
        found["MONAI DiceCELoss"] = lambda: torch.autograd.grad(monai(z, y[:, None]), z)
    if importlib.util.find_spec("segmentation_models_pytorch"):
        smp = smp_losses()
        dice = smp.DiceLoss("multiclass")
        found["segmentation_models.pytorch Dice + CE"] = lambda: torch.autograd.grad(
            dice(z, y) + torch.nn.functional.cross_entropy(z, y), z
        )
    return found


def smp_losses() -> types.ModuleType:
    """Its losses without its models: the package's own `__init__` wants torchvision, the losses do not."""
    name = "segmentation_models_pytorch"
    spec = importlib.util.find_spec(name)
    package = types.ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules.setdefault(name, package)
    return importlib.import_module(f"{name}.losses")


def metrics(backend: str, shape: tuple[int, ...], classes: int, batches: int) -> dict[str, Contender]:
    draw = np.random.default_rng(0)
    true = draw.integers(0, classes, shape).astype("int32")
    pred = draw.integers(0, classes, shape).astype("int32")
    return {**our_metric(backend, true, pred, classes, batches), **peer_metrics(true, pred, classes, batches)}


def our_metric(backend: str, true: np.ndarray, pred: np.ndarray, classes: int, batches: int) -> dict[str, Contender]:
    import segnosis as sg

    metric = sg.metrics.MeanIoU(classes)
    if backend == "tensorflow":
        import tensorflow as tf

        y, p = tf.constant(true), tf.constant(pred)

        def streamed(update: Callable[..., object]) -> float:
            metric.reset_state()
            for _ in range(batches):
                update(y, p)
            return float(metric.result())

        fused = tf.function(metric.update_state, jit_compile=True)
        graph = tf.function(metric.update_state)
        return {
            "segnosis, TensorFlow, XLA": lambda: streamed(fused),
            "segnosis, TensorFlow, graph": lambda: streamed(graph),
        }
    if backend == "jax":
        import jax

        y, p = jax.device_put(true), jax.device_put(pred)
        update, result = jax.jit(metric.stateless_update_state), jax.jit(metric.stateless_result)

        def run() -> float:
            state = [variable.value for variable in metric.variables]
            for _ in range(batches):
                state = update(state, y, p)
            return float(result(state))

        return {"segnosis, JAX": run}
    import torch

    y, p = torch.tensor(true), torch.tensor(pred)

    def run() -> float:
        metric.reset_state()
        for _ in range(batches):
            metric.update_state(y, p)
        return float(metric.result())

    return {"segnosis, torch, eager": run}


def peer_metrics(true: np.ndarray, pred: np.ndarray, classes: int, batches: int) -> dict[str, Contender]:
    found: dict[str, Contender] = {}

    def by_numpy() -> float:
        matrix = np.zeros((classes, classes), dtype=np.int64)
        for _ in range(batches):
            matrix += np.bincount((true * classes + pred).ravel(), minlength=classes**2).reshape(classes, classes)
        hit = np.diagonal(matrix)
        return float(np.mean(hit / (matrix.sum(0) + matrix.sum(1) - hit)))

    found["numpy bincount"] = by_numpy
    if importlib.util.find_spec("torchmetrics"):
        import torch
        from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

        y, p = torch.tensor(true, dtype=torch.int64), torch.tensor(pred, dtype=torch.int64)
        for name, peer in {
            "torchmetrics Jaccard, unchecked": MulticlassJaccardIndex(classes, validate_args=False),
            "torchmetrics confusion matrix, unchecked": MulticlassConfusionMatrix(classes, validate_args=False),
        }.items():

            def run(peer: object = peer) -> object:
                peer.reset()
                for _ in range(batches):
                    peer.update(p, y)
                return peer.compute()

            found[name] = run
    return found


if __name__ == "__main__":
    main()
