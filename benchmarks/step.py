"""A training step beside PyTorch, segmentation_models.pytorch and MONAI: U-Net, U-Net++ and DeepLab v3+.

    python -m benchmarks step
    python benchmarks/step.py [--task unet ...] [--precision float32 ...] [--peers PYTHON] [--rounds 5] [--threads 1]

Four images of 192 × 192 × 3 and four classes through ResNet-34 as encoder; cross-entropy + Dice; AdamW. Ours is the
step of `segnosis train`: its model, its loss, its optimizer and its `fit`, from batches in memory. *PyTorch* is the
same network layer by layer with the same weights: the losses of the first step, printed beside, are the same. The
networks of segmentation_models.pytorch, MONAI and keras-hub (DeepLab v3+ alone, output stride 32) are their own, with
the operations that PyTorch counts in the first two.
"Channels last" has the fused AdamW as well; bfloat16 is PyTorch's autocast.

Every contender lives in a process of its own on the same core; they take turns, round after round. A figure is the
median over rounds, a ratio the median of the ratios within a round. The machine's own limit stands beside: the fastest
product of matrices in that precision that either library manages, and the bandwidth of a copy. Memory is the peak of a
step above what the process held with its libraries loaded. PYTHON is an interpreter with `requirements.txt`; for
keras-hub it needs segnosis and keras-hub as well.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for `python -m benchmarks step`

from _step_worker import BATCH, CLASSES, RATE, SIDE, Turn, batches, peak, serve  # noqa: E402

RESULTS = HERE / "results" / "step.json"
TASKS = {
    "unet": {"backbone": "resnet34", "width": 16},
    "unet_plus_plus": {"backbone": "resnet34", "width": 16},
    "deeplab_v3_plus": {"backbone": "resnet34"},
}
PRECISIONS = ("float32", "bfloat16")
OURS, KERAS, HUB = "segnosis", "plain Keras", "keras-hub"
PEERS = (
    HUB,
    "PyTorch",
    "PyTorch, channels last",
    "PyTorch, channels last, compiled",
    "segmentation_models.pytorch, channels last",
    "MONAI, channels last",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--only", nargs="+", default=[OURS, KERAS, *PEERS], help="contenders; ours always runs")
    parser.add_argument("--peers", default=sys.executable, help="Python that has the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps a turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go, beside those of other tasks")
    parser.add_argument("--contender", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    pin(args.threads)
    if args.contender:
        ours(*args.contender, threads=args.threads)
        return
    report = json.loads(args.json.read_text("utf-8")) if args.json.exists() else {}
    tables = report.get("tables", {})
    for task in args.task:
        for precision in args.precision:
            tables[f"{task}, {precision}"] = measure(task, precision, args)
    report = {
        "command": "python -m benchmarks step",
        "machine": f"{args.threads} core{'s' if args.threads > 1 else ''} of {platform.machine()}, shared",
        "batch": [BATCH, SIDE, SIDE, 3],
        "copy_gigabytes_per_second": round(copying(), 1),
        "tables": tables,
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\na copy moves {report['copy_gigabytes_per_second']} GB/s\nwritten to {args.json}")


def measure(task: str, precision: str, args: argparse.Namespace) -> dict[str, Any]:
    """A row per contender of one table."""
    with tempfile.TemporaryDirectory() as folder:
        workers, facts = {}, {}
        for name in dict.fromkeys([OURS, *args.only]):
            worker = start(task, precision, name, folder, args)
            facts[name] = tell(worker, "warm")  # ours describes its network first
            if facts[name] is not None:
                workers[name] = worker
        limits = [tell(worker, "limit") for name, worker in workers.items() if name in (OURS, "PyTorch")]
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(args.rounds):
            for name, worker in workers.items():
                seconds[name].append(tell(worker, f"run {args.steps}"))
        memory = {name: tell(worker, "memory") for name, worker in workers.items()}
        for worker in workers.values():
            worker.communicate()
    limit = max(limits)
    work = next((facts[name]["gflop"] for name in workers if name.startswith("PyTorch")), None)
    rows = {}
    print(f"\n{task}, {precision}: a matrix product runs at {limit:.0f} GFLOP/s; load {os.getloadavg()[0]:.1f}")
    print(f"{'':<54}{'s':>7}{'spread':>8}{'× ours':>8}{'GFLOP':>8}{'of limit':>9}{'MB':>7}{'first loss':>12}")
    for name, times in seconds.items():
        median, gflop = statistics.median(times), facts[name].get("gflop", None if name == HUB else work)
        ratios = [t / o for t, o in zip(times, seconds[OURS], strict=True)]
        rows[name] = {
            "seconds": round(median, 4),
            "spread": round((max(times) - min(times)) / median, 3),
            "times_ours": round(statistics.median(ratios), 3),
            "gflop": gflop and round(gflop, 1),
            "share_of_limit": gflop and round(gflop / median / limit, 3),
            "megabytes": round(memory[name]),
            "first_loss": round(facts[name]["first_loss"], 5),
            "parameters": facts[name]["parameters"],
        }
        a, b, c, d, e, f, g, _ = rows[name].values()
        print(f"{name:<54}{a:>7.3f}{b:>8.1%}{c:>8.2f}{d or 0:>8.1f}{e or 0:>9.1%}{f:>7}{g:>12.5f}", flush=True)
    return {"matrix_product_gflops": round(limit, 1), "load": round(os.getloadavg()[0], 1), "rows": rows}


def start(task: str, precision: str, name: str, folder: str, args: argparse.Namespace) -> subprocess.Popen[str]:
    threads, what = str(args.threads), [task, precision, name, folder]
    if name in (OURS, KERAS, HUB):
        command = [args.peers if name == HUB else sys.executable, __file__, "--threads", threads, "--contender", *what]
    else:
        command = [args.peers, str(HERE / "_step_torch.py"), *what, threads]
    environment = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": threads}
    return subprocess.Popen(
        command, env={**os.environ, **environment}, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def tell(worker: subprocess.Popen[str], order: str) -> Any:
    """The answer of a worker; `None` when its peer is not installed."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(order + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        raise RuntimeError(f"{worker.args} ended")
    return json.loads(answer)


def pin(threads: int) -> None:
    """The same cores for every contender: those it starts inherit them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def copying() -> float:
    """Gigabytes a second that a copy reads and writes."""
    source = np.ones(2**26, np.float32)
    target, seconds = np.empty_like(source), []
    for _ in range(5):
        begin = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - begin)
    return 2 * source.nbytes / min(seconds[1:]) / 1e9


# What a worker of ours does ------------------------------------------------------------------------------------------


def ours(task: str, precision: str, name: str, folder: str, *, threads: int) -> None:
    """The step of `segnosis train`, or that of a plain `keras.Model.fit` with the same network and loss."""
    if name == HUB and (task != "deeplab_v3_plus" or importlib.util.find_spec("keras_hub") is None):
        serve(None, threads)
        return
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import segnosis as sg
    from segnosis.training import build, determinism
    from segnosis.training.faster import FasterModel
    from segnosis.training.optimizer import optimizer
    from segnosis.training.plan import Plan

    def make() -> tuple[Any, Turn, dict[str, Any]]:
        plan = Plan(
            data="", model=task, model_arguments=TASKS[task], precision=precision, preprocessing="backbone",
            size=(SIDE, SIDE), batch_size=BATCH, learning_rate=RATE,
        )  # fmt: skip
        determinism.start(0)
        network = build.model(plan, channels=3, num_classes=CLASSES)  # and the precision
        network = hub() if name == HUB else network
        if name == OURS:
            same = getattr(sg.models, task)((SIDE, SIDE, 3), CLASSES, **TASKS[task], preprocessing="backbone")
            same.set_weights(network.get_weights())
            describe(same, Path(folder))
            model = FasterModel(network.input, network.output)
            made = optimizer(plan, steps=10_000)
        else:
            model, made = keras.Model(network.input, network.output), keras.optimizers.AdamW(RATE, weight_decay=1e-4)
        loss = build.loss(plan, ignore_class=None)
        model.compile(made, loss, jit_compile=determinism.compiled())
        data = batches()

        class Batches(keras.utils.PyDataset):
            def __init__(self, steps: int) -> None:
                super().__init__()
                self.steps = steps

            def __len__(self) -> int:
                return self.steps

            def __getitem__(self, index: int) -> Any:
                return data[index % len(data)]

        class Clock(keras.callbacks.Callback):
            def __init__(self, clock: Any) -> None:
                super().__init__()
                self.clock, self.ends, self.losses = clock, [], []

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                self.losses.append(float(logs["loss"]))
                self.ends.append(self.clock())

        def fit(steps: int, clock: Any) -> Clock:
            watch = Clock(clock)
            model.fit(Batches(steps), callbacks=[watch], verbose=0, shuffle=False)
            return watch

        def turn(steps: int, clock: Any) -> list[float]:
            return [float(second) for second in np.diff(fit(steps + 1, clock).ends)]

        facts = {"parameters": sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)}
        return lambda _: fit(1, time.process_time).losses[0], turn, facts

    def product(side: int) -> Any:
        a, b = (tf.cast(tf.random.uniform((side, side)), precision) for _ in "ab")
        return lambda: tf.matmul(a, b)

    serve(make, threads, lambda: peak(product))


def hub() -> Any:
    """DeepLab v3+ of keras-hub on a ResNet-34 of its own, whose last stage strides as often as the published one."""
    import keras_hub

    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[7], stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3], stackwise_num_strides=[1, 2, 2, 2], block_type="basic_block",
    )  # fmt: skip
    backbone = keras_hub.models.DeepLabV3Backbone(
        image_encoder=encoder, spatial_pyramid_pooling_key="P5", upsampling_size=8, dilation_rates=[6, 12, 18],
        low_level_feature_key="P2",
    )  # fmt: skip
    return keras_hub.models.DeepLabV3ImageSegmenter(backbone, CLASSES)


def describe(network: Any, folder: Path) -> None:
    """Write the network as a list of layers and their weights, nested models unfolded."""
    import keras

    from segnosis.models.nodes import Graph

    nodes: list[dict[str, Any]] = []
    weights: dict[str, np.ndarray] = {}
    number = {id(network.inputs[0]): 0}

    def walk(model: Any) -> None:
        for node in Graph(model, normalization=False, upsampling=False).nodes:
            layer, inputs = node.operation, [number[id(tensor)] for tensor in node.input_tensors]
            kind = type(layer).__name__
            if isinstance(layer, keras.Model):
                if not layer.name.endswith("resize"):
                    number.update(zip(map(id, layer.inputs), inputs, strict=True))
                    walk(layer)
                    inside = [number[id(tensor)] for tensor in layer.outputs]
                    number.update(zip(map(id, node.outputs), inside, strict=True))
                    continue
                kind = "Resize"
            number[id(node.outputs[0])] = output = len(nodes) + 1
            config = layer.get_config() if isinstance(layer, keras.layers.Layer) and kind != "Resize" else {}
            nodes.append({**config, "kind": kind, "inputs": inputs, "output": output})
            if kind != "Resize":
                weights.update({f"{output}/{i}": w for i, w in enumerate(getattr(layer, "get_weights", list)())})

    walk(network)
    graph = {"nodes": nodes, "output": number[id(network.outputs[0])]}
    (folder / "graph.json").write_text(json.dumps(graph, default=str), encoding="utf-8")
    np.savez(folder / "weights.npz", **weights)


if __name__ == "__main__":
    main()
