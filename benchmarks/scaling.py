"""How a training step grows with the image's side, the classes and the batch, on every backend.

    python -m benchmarks.scaling [--backends tensorflow jax torch] [--curves side classes batch] [--threads 1]

The step is that of `segnosis train` for a U-Net of width 16 on batches in memory. Every point is a process of its own:
seconds of a step (the median of three, after two that compile), nanoseconds for each pixel, and the memory it took at
most. Beside them one convolution of 64 channels: forward, the gradient of its input and that of its kernel, each
compiled, per backend. How opening a folder grows with its files is `benchmarks/index.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._memory import peak

from segnosis.core.run_folder import write_json

BASE = {"side": 256, "classes": 4, "batch": 2}
CURVES = {
    "side": [{**BASE, "side": side, "batch": 1} for side in (128, 256, 512, 1024)],
    "classes": [{**BASE, "classes": classes} for classes in (2, 10, 50, 150)],
    "batch": [{**BASE, "side": 128, "batch": batch} for batch in (1, 2, 4, 8, 16)],
}
_STEPS = 5
"""Steps of a point; the first two compile."""
BACKENDS = ("tensorflow", "jax", "torch")


def main() -> None:
    """Measure every point in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--curves", nargs="*", choices=CURVES, default=list(CURVES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point is not None:
        found = step(**options.point) if options.point else convolution()
        print(json.dumps(found), file=sys.__stdout__)
        return
    figures: dict[str, Any] = {"threads": options.threads, "convolution_ms": {}, "curves": {}}
    for backend in options.backends:
        found = figures["convolution_ms"][backend] = measured(backend, {}, options.threads)
        told = ", ".join(f"{what} {value:.1f} ms" for what, value in found.items())
        print(f"{backend:<10} one convolution: {told}", flush=True)
    for curve in options.curves:
        print(f"\n{curve:<10}{'':<9}{'s':>8}{'ns/pixel':>10}{'MiB':>8}")
        for backend in options.backends:
            for point in CURVES[curve]:
                found = measured(backend, point, options.threads)
                figures["curves"].setdefault(curve, []).append({"backend": backend, **point, **found})
                a, b, c = found.values()
                print(f"{backend:<10}{point[curve]:<9}{a:>8.3f}{b:>10.0f}{c:>8.0f}", flush=True)
                if options.json:
                    write_json(options.json, figures)


def measured(backend: str, point: dict[str, int], threads: int) -> dict[str, float]:
    """What a process of its own on so many cores finds at this point; that of no point is the convolution."""
    environment = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(threads)}
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling", "--point", json.dumps(point)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def step(side: int, classes: int, batch: int) -> dict[str, float]:
    """The step of `segnosis train` at this size."""
    import keras

    from segnosis.training import build, determinism
    from segnosis.training.faster import FasterModel
    from segnosis.training.optimizer import optimizer
    from segnosis.training.plan import Plan

    plan = Plan(
        data="", model="unet", model_arguments={"width": 16}, preprocessing="standardize", size=(side, side),
        batch_size=batch,
    )  # fmt: skip
    determinism.start(0)
    network = build.model(plan, channels=3, num_classes=classes)
    model = FasterModel(network.input, network.output)
    loss = build.loss(plan, ignore_class=None)
    model.compile(optimizer(plan, steps=10_000), loss, jit_compile=determinism.compiled())
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 255, (batch, side, side, 3)).astype("float32")
    y = draw.integers(0, classes, (batch, side, side)).astype("int32")

    class Same(keras.utils.PyDataset):
        def __len__(self) -> int:
            return _STEPS

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return x, y

    ends: list[float] = []

    def stop_the_clock(batch: int, logs: dict[str, Any]) -> None:
        float(logs["loss"])  # waits for the step on JAX
        ends.append(time.perf_counter())

    clock = keras.callbacks.LambdaCallback(on_train_batch_end=stop_the_clock)
    model.fit(Same(), callbacks=[clock], shuffle=False, verbose=0)
    seconds = statistics.median(np.diff(ends)[1:])
    return {
        "seconds": round(seconds, 4),
        "nanoseconds_per_pixel": round(1e9 * seconds / (batch * side * side), 1),
        "mebibytes": round(peak()),
    }


def convolution(batch: int = 4, side: int = 96, channels: int = 64) -> dict[str, float]:
    """Milliseconds of a 3 × 3 convolution and of its two gradients, each compiled by itself."""
    import keras

    backend = keras.backend.backend()
    draw = np.random.default_rng(0)
    maps, grown = (draw.normal(size=(batch, side, side, channels)).astype("float32") for _ in range(2))
    kernel = draw.normal(size=(3, 3, channels, channels)).astype("float32")
    makes = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    return {what: round(_milliseconds(run), 2) for what, run in makes[backend](maps, kernel, grown).items()}


def _tensorflow(maps: np.ndarray, kernel: np.ndarray, grown: np.ndarray) -> dict[str, Callable[[], Any]]:
    import tensorflow as tf

    x, k, g = tf.constant(maps), tf.constant(kernel), tf.constant(grown)
    return {
        "forward": tf.function(lambda: tf.nn.conv2d(x, k, 1, "SAME")),
        "gradient of the input": tf.function(lambda: tf.nn.conv2d_transpose(g, k, x.shape, 1, "SAME")),
        "gradient of the kernel": tf.function(
            lambda: tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=k.shape, out_backprop=g, strides=[1, 1, 1, 1], padding="SAME"
            )
        ),
    }


def _jax(maps: np.ndarray, kernel: np.ndarray, grown: np.ndarray) -> dict[str, Callable[[], Any]]:
    import jax

    x, k, g = (jax.numpy.asarray(array) for array in (maps, kernel, grown))

    def forward(x: Any, k: Any) -> Any:
        return jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    of_input = jax.jit(lambda x, k, g: jax.vjp(lambda x: forward(x, k), x)[1](g)[0])
    of_kernel = jax.jit(lambda x, k, g: jax.vjp(lambda k: forward(x, k), k)[1](g)[0])
    compiled = jax.jit(forward)
    return {
        "forward": lambda: compiled(x, k).block_until_ready(),
        "gradient of the input": lambda: of_input(x, k, g).block_until_ready(),
        "gradient of the kernel": lambda: of_kernel(x, k, g).block_until_ready(),
    }


def _torch(maps: np.ndarray, kernel: np.ndarray, grown: np.ndarray) -> dict[str, Callable[[], Any]]:
    import torch

    x, g = (torch.from_numpy(array).permute(0, 3, 1, 2) for array in (maps, grown))  # channels last underneath
    k = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return {
        "forward": lambda: torch.nn.functional.conv2d(x, k, padding=1),
        "gradient of the input": lambda: torch.nn.grad.conv2d_input(x.shape, k, g, padding=1),
        "gradient of the kernel": lambda: torch.nn.grad.conv2d_weight(x, k.shape, g, padding=1),
    }


def _milliseconds(run: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(12):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
