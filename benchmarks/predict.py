"""Whole-image prediction by overlapping windows beside MONAI's SlidingWindowInferer, with one network on both sides.

    python benchmarks/predict.py [--threads 1] [--rounds 1] [--side 2048] [--out FILE]
    python benchmarks/predict.py --huge --side 40000

A U-Net (1.9 M parameters, one channel, four classes, BatchNormalization), a square image, windows of 256 × 256,
overlap 50 %, Gaussian weights. MONAI's side is the same network in PyTorch with the same weights, once with MONAI's
defaults and once as fast as it goes: channels-last and four windows at once. Before anything is timed, the answers are
compared with those of a plain loop over windows. Contenders run in one process, in turn, round after round; a figure is
the median over rounds, a ratio the median of the ratios within a round. Peers: see `requirements.txt` beside this file.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

OUT = Path(__file__).parent / "results" / "predict.json"
WINDOW, OVERLAP, CLASSES, WIDTH, DEPTH = 256, 0.5, 4, 16, 4
Contender = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--side", type=int, default=2048, help="height and width of the image, pixels")
    parser.add_argument("--huge", action="store_true", help="instead, the memory that a TIFF of that side takes")
    parser.add_argument("--height", type=int, help="of that TIFF, where it is no square")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    configure(args.threads)
    if args.huge:
        report: dict[str, object] = huge(args.height or args.side, args.side)
    else:
        report = side_by_side(args.side, args.rounds, args.threads)
    report = {"command": " ".join(["python", "benchmarks/predict.py", *sys.argv[1:]]), "threads": args.threads} | report
    out = args.out or (OUT.with_stem("predict_huge") if args.huge else OUT)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {out}")


def side_by_side(side: int, rounds: int, threads: int) -> dict[str, object]:
    """Seconds of every contender for one image, and the difference of its answer from a plain loop's."""
    model = network()
    contenders = {**ours(model), **monai(model)}
    small = image(2 * WINDOW)
    answers = {name: run(small) for name, run in contenders.items()}  # compiles, too
    exact = answers["segnosis, float32"] - plain_loop(model, small, like=contenders["segnosis, float32"])
    if np.abs(exact).max() > 1e-5:
        sys.exit(f"error: float32 differs from a plain loop by {np.abs(exact).max():.2e}, more than 1e-5.")
    truth = plain_loop(model, small)
    # At the image's edge MONAI lifts small weights, and so blends another way; inside, the same is meant.
    inside = slice(32, -32), slice(32, -32)
    differences = {name: float(np.abs(found - truth)[inside].max()) for name, found in answers.items()}
    picture = image(side)
    # One thread is timed by the processor's own clock, which a busy machine does not stretch.
    clock = time.process_time if threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = clock()
            run(picture)
            seconds[name].append(clock() - start)
    return {
        "rounds": rounds,
        "image": [side, side],
        "window": WINDOW,
        "overlap": OVERLAP,
        "rows": table(seconds, differences),
    }


def huge(height: int, width: int) -> dict[str, object]:
    """Peak memory of a tiled TIFF from file to file, with a network too small to matter: one 1 × 1 convolution.

    The whole process counts, with what it loads and with the writing of the TIFF; 2 GiB or more is an error.
    """
    import keras
    import tifffile

    import segnosis as sg
    from segnosis.core.run_folder import RunFolder, write_json
    from segnosis.training.plan import Plan

    tile = np.add.outer(np.arange(512), np.arange(512)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as place:
        folder, file = RunFolder(Path(place) / "run"), Path(place) / "slide.tif"
        count = -(-height // 512) * -(-width // 512)
        with tifffile.TiffWriter(file, bigtiff=True) as slide:
            tiles = (tile for _ in range(count))
            slide.write(tiles, shape=(height, width), dtype=np.uint8, tile=(512, 512), compression="zlib", maxworkers=1)
        Plan(data="", size=(1024, 1024), overlap=0.0).save(folder.plan)
        pixels = keras.Input((None, None, 1))
        head = keras.layers.Conv2D(2, 1)
        model = keras.Model(pixels, head(pixels))
        head.set_weights([np.array([0.0, 1.0]).reshape(1, 1, 1, 2), np.array([0.0, -127.5])])
        model.save(folder.model)
        spec = {"reader": "", "saw": "", "class_names": ["dark", "bright"], "channels": 1}
        write_json(folder.fingerprint, {"spec": spec})
        write_json(folder.scores, {"per_class": {"dark": {}, "bright": {}}})
        start = time.perf_counter()
        (mask,) = sg.predict(folder.root, file, Path(place) / "out")
        seconds = time.perf_counter() - start
        wrong = sum(not agrees for agrees in _tiles_agree(mask, (height, width), tile > 127))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{height} × {width} pixels: peak {peak} MiB, {seconds:.0f} s")
    if wrong or peak >= 2048:
        sys.exit(f"error: {wrong} tiles of the mask are wrong; the peak is {peak} MiB, and 2048 were too many.")
    return {"image": [height, width], "seconds": round(seconds, 1), "peak_memory_mb": peak}


def _tiles_agree(mask: Path, size: tuple[int, int], expected: np.ndarray) -> Iterator[bool]:
    """Of every tile of a written mask: whether it is `expected`, as every tile of the image was the same."""
    from segnosis.data.windows import TiffWindows

    side = len(expected)
    with TiffWindows(mask) as written:
        if written.size != size:
            yield False
        for top, left in itertools.product(range(0, size[0], side), range(0, size[1], side)):
            height, width = min(side, size[0] - top), min(side, size[1] - left)
            found = written.read(top, left, height, width)[..., 0]
            yield bool(np.array_equal(found, expected[:height, :width]))


def configure(threads: int) -> None:
    """Same threads for both sides, before either of them starts its pool."""
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS=str(threads))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(threads)


def network() -> Any:
    """Ours, its normalizations fitted to the pixels they will see, as training leaves them."""
    import keras

    import segnosis as sg

    keras.utils.set_random_seed(0)
    model = sg.models.unet((WINDOW, WINDOW, 1), num_classes=CLASSES, width=WIDTH, depth=DEPTH)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(image(WINDOW)[None], training=True)
    return model


def image(side: int) -> np.ndarray:
    """Something with structure: smooth spots under a little noise, about 0 ± 1."""
    import cv2

    draw = np.random.default_rng(1)
    spots = cv2.GaussianBlur(draw.normal(size=(side, side)).astype(np.float32), (0, 0), 6.0)
    return (spots / spots.std() + 0.1 * draw.normal(size=(side, side)).astype(np.float32))[..., None]


def plain_loop(model: Any, picture: np.ndarray, like: Contender | None = None) -> np.ndarray:
    """The definition: the unchanged model on one window after the other, probabilities averaged by weight.

    A float32 network of this depth carries a rounding error of some 1e-5 itself, so that another order of the same
    sums gives another answer. With `like`, the windows are predicted by that contender: what is left is the tiling.
    """
    from segnosis.data.tiles import tile_positions

    line = np.exp(-0.5 * ((np.arange(WINDOW) + 0.5 - WINDOW / 2) / (WINDOW / 8)) ** 2)
    weight = np.outer(line, line)[..., None]
    total, weights = np.zeros((*picture.shape[:2], CLASSES)), np.zeros((*picture.shape[:2], 1))
    for top, left in tile_positions(picture.shape[:2], window=(WINDOW, WINDOW), overlap=OVERLAP):
        place = slice(top, top + WINDOW), slice(left, left + WINDOW)
        if like is not None:
            total[place] += weight * like(picture[place])
        else:
            logits = np.asarray(model.predict_on_batch(picture[place][None])[0], np.float64)
            odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
            total[place] += weight * odds / odds.sum(axis=-1, keepdims=True)
        weights[place] += weight
    return total / weights


def ours(model: Any) -> dict[str, Contender]:
    from segnosis.training.plan import Plan
    from segnosis.training.predict import Predictor

    plan = Plan(data="", size=(WINDOW, WINDOW), overlap=OVERLAP)
    return {
        f"segnosis, {precision}": Predictor.planned(plan, model, precision=precision).probabilities
        for precision in ("float32", "bfloat16")
    }


def monai(model: Any) -> dict[str, Contender]:
    if not (importlib.util.find_spec("monai") and importlib.util.find_spec("torch")):
        return {}
    import torch
    from monai.inferers import SlidingWindowInferer

    def contender(precision: str, *, tuned: bool) -> Contender:
        net = in_torch(model)
        layout = torch.channels_last if tuned else torch.contiguous_format
        net = net.to(memory_format=layout)
        inferer = SlidingWindowInferer((WINDOW, WINDOW), 4 if tuned else 1, overlap=OVERLAP, mode="gaussian")

        def forward(x: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                return torch.softmax(net(x.to(memory_format=layout)).float(), dim=1)

        def run(picture: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                found = inferer(torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()), forward)
            return found[0].numpy().transpose(1, 2, 0)

        return run

    return {
        "MONAI, defaults (float32)": contender("float32", tuned=False),
        "MONAI, float32, channels-last": contender("float32", tuned=True),
        "MONAI, bfloat16, channels-last": contender("bfloat16", tuned=True),
    }


def in_torch(model: Any) -> Any:
    """The same U-Net in PyTorch, with the weights of `model`."""
    import torch
    from torch import nn

    def unit(inside: int, filters: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for channels in (inside, filters):
            layers += [nn.Conv2d(channels, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters, eps=1e-3)]
            layers += [nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [WIDTH * 2**level for level in range(DEPTH + 1)]
            self.encoder = nn.ModuleList(unit(i, o) for i, o in zip([1, *widths], widths, strict=False))
            self.decoder = nn.ModuleList(unit(3 * o, o) for o in reversed(widths[:-1]))
            self.head = nn.Conv2d(WIDTH, CLASSES, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skips = []
            for level, block in enumerate(self.encoder):
                x = block(nn.functional.max_pool2d(x, 2) if level else x)
                skips.append(x)
            for block, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
                x = block(torch.cat([skip, nn.functional.interpolate(x, scale_factor=2, mode="nearest")], 1))
            return self.head(x)

    net = UNet().eval()
    with torch.no_grad():
        for layer in model.layers:
            weights = layer.get_weights()
            if not weights:
                continue
            room = (
                net.encoder[int(layer.name[7]) - 1] if layer.name.startswith("encoder")
                else net.decoder[DEPTH - int(layer.name[7])] if layer.name.startswith("decoder")
                else net.head
            )  # fmt: skip
            place = 3 * (int(layer.name[-1]) - 1) if layer.name != "head" else 0
            if "norm" in layer.name:
                values = zip(("weight", "bias", "running_mean", "running_var"), weights, strict=True)
                for name, value in values:
                    getattr(room[place + 1], name).copy_(torch.from_numpy(value))
            else:
                target = room if layer.name == "head" else room[place]
                target.weight.copy_(torch.from_numpy(weights[0].transpose(3, 2, 0, 1).copy()))
                if len(weights) > 1:
                    target.bias.copy_(torch.from_numpy(weights[1]))
    return net


def table(seconds: dict[str, list[float]], differences: dict[str, float]) -> dict[str, dict[str, float]]:
    exact, half = (seconds[f"segnosis, {precision}"] for precision in ("float32", "bfloat16"))
    rows = {
        name: {
            "seconds": round(statistics.median(times), 3),
            "times_ours_float32": round(statistics.median(t / o for t, o in zip(times, exact, strict=True)), 2),
            "times_ours_bfloat16": round(statistics.median(t / o for t, o in zip(times, half, strict=True)), 2),
            "largest_difference": float(f"{differences[name]:.1e}"),
        }
        for name, times in seconds.items()
    }
    print(f"{'':<34}{'seconds':>9}{'× our f32':>11}{'× our bf16':>12}{'difference':>12}")
    for name, row in rows.items():
        a, b, c, d = row.values()
        print(f"{name:<34}{a:>9.2f}{b:>11.2f}{c:>12.2f}{d:>12.1e}")
    return rows


if __name__ == "__main__":
    main()
