"""Score against minutes: ours, segmentation_models.pytorch, MONAI and plain Keras, each as its own documents have it.

    python -m benchmarks.time_to_quality DATA [--minutes 3 6] [--peers PYTHON] [--json time_to_quality.json]

All learn from scratch on the same training samples, on the same cores, and predict the same held-out samples whole;
one function scores them all. A peer gets the minutes for its training alone, from decoded arrays in memory, and its
cosine ends just with them; ours gets them for the whole `segnosis train`: reading, checks, validation, scoring and
report included. PYTHON is an interpreter with `benchmarks/requirements.txt` and Keras; peers it lacks are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RATE, BATCH = 1e-3, 8
Batch = tuple[np.ndarray, np.ndarray]


# What the parent does, with segnosis ---------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of images and masks")
    parser.add_argument("--minutes", type=float, nargs="+", default=[3.0, 6.0], help="budgets, each a run of its own")
    parser.add_argument("--only", nargs="+", default=["segnosis", *CONTENDERS], help="contenders")
    parser.add_argument("--peers", type=Path, default=Path(sys.executable), help="Python that has the peers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    if arguments.data is None:
        print("left out: it needs a folder, `python -m benchmarks.time_to_quality DATA`")
        return
    from segnosis.core.run_folder import write_json

    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        task, truth = written(arguments.data, arguments.seed, Path(folder))
        for minutes in arguments.minutes:
            row = results[f"{minutes:g}"] = {}
            for name in arguments.only:
                found = ours if name == "segnosis" else theirs
                row[name] = found(name, task, truth, minutes, arguments)
                told = row[name] and {key: value for key, value in row[name].items() if key != "per_class"}
                print(f"{minutes:5g} min  {name:<30}{told or 'not installed'}", flush=True)
    print(f"\n{'foreground Dice after':<30}" + "".join(f"{minutes:>7} min" for minutes in results))
    for name in arguments.only:
        dice = [row[name]["foreground_dice"] if row[name] else math.nan for row in results.values()]
        print(f"{name:<30}" + "".join(f"{value:>11.4f}" for value in dice))
    if arguments.json:
        write_json(
            arguments.json, {"data": arguments.data.name, "cores": len(os.sched_getaffinity(0)), "minutes": results}
        )


def written(source: Path, seed: int, folder: Path) -> tuple[Path, list[tuple[str, np.ndarray]]]:
    """The task as plain arrays for the peers, and the truth that the held-out predictions are held against."""
    from segnosis import data
    from segnosis.data.fingerprint import FingerprintScan
    from segnosis.doctor.check_data import check_data
    from segnosis.training import planner

    dataset = data.open(source)
    parts = data.split(dataset, seed=seed)
    scan = FingerprintScan(dataset)
    check_data(dataset, splits={}, beside=(scan,))
    plan = planner.plan(scan.result(), data=str(source), training_samples=len(parts[0]), minutes=6.0)
    arrays: dict[str, np.ndarray] = {}
    for name, part in (("train", parts[0]), ("test", parts[2])):
        for index in range(len(part)):
            sample = part[index]
            arrays[f"{name}/{index}/image"] = sample.image
            arrays[f"{name}/{index}/mask"] = sample.mask
    facts = {"size": plan.size, "classes": dataset.spec.num_classes, "ignore": dataset.spec.ignore_class, "seed": seed}
    facts |= {"names": dataset.spec.class_names}
    np.savez(folder / "task.npz", facts=np.array(json.dumps(facts)), **arrays)  # type: ignore[arg-type]
    truth = [(sample.id, sample.mask) for sample in (parts[2][index] for index in range(len(parts[2])))]
    return folder / "task.npz", truth


def ours(name: str, task: Path, truth: list[Any], minutes: float, arguments: Any) -> dict[str, Any]:
    """`segnosis train`, as anyone would call it."""
    out = task.parent / f"run-{minutes:g}"
    words = [
        "train",
        str(arguments.data),
        "--minutes",
        f"{minutes:g}",
        "--seed",
        str(arguments.seed),
        "--out",
        str(out),
    ]
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "segnosis", *words], check=True, capture_output=True)
    scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    steps = sum(json.loads(line)["steps"] for line in (out / "history.jsonl").read_text().splitlines())
    return row(scores, steps, time.monotonic() - began)


def theirs(name: str, task: Path, truth: list[Any], minutes: float, arguments: Any) -> dict[str, Any] | None:
    """A peer in a process of its own, by the interpreter that has it; `None` where it is not installed."""
    from segnosis.training.scores import confusion, from_confusion

    out = task.parent / f"{name}-{minutes:g}.npz"
    command = [str(arguments.peers), str(Path(__file__)), "--contender", name, str(task), str(out), str(minutes)]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == _MISSING:
        return None
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    facts = json.loads(str(np.load(task)["facts"]))
    total = np.zeros((facts["classes"],) * 2, np.int64)
    with np.load(out) as predicted:
        for index, (_, mask) in enumerate(truth):
            total += confusion(mask, predicted[str(index)], facts["classes"], facts["ignore"])
        steps = int(predicted["steps"])
    return row(from_confusion(total, tuple(facts["names"])), steps, time.monotonic() - began)


def row(scores: dict[str, Any], steps: int, seconds: float) -> dict[str, Any]:
    """What is kept of a run."""
    names = ("foreground_dice", "foreground_iou", "mean_iou")
    figures = {name: round(scores[name], 4) for name in names}
    dice = {name: entry["dice"] for name, entry in scores["per_class"].items()}
    return {**figures, "steps": steps, "seconds": round(seconds, 1), "per_class": dice}


# What a contender does, without segnosis -----------------------------------------------------------------------------

_MISSING = 3


class Task:
    """The training samples as batches of crops, the held-out images, and the clock."""

    def __init__(self, file: Path, minutes: float) -> None:
        with np.load(file) as stored:
            facts = json.loads(str(stored["facts"]))
            arrays = {key: stored[key] for key in stored.files if key != "facts"}
        self.size, self.classes, self.ignore = tuple(facts["size"]), facts["classes"], facts["ignore"]
        count = len({key for key in arrays if key.startswith("train/")}) // 2
        images = [arrays[f"train/{k}/image"].astype(np.float32) for k in range(count)]
        pixels = np.concatenate([image.reshape(-1, image.shape[-1])[::97] for image in images])
        self.mean, self.deviation = pixels.mean(axis=0), pixels.std(axis=0) + 1e-6
        self.images = [self.scaled(image) for image in images]
        self.masks = [arrays[f"train/{k}/mask"].astype(np.int64) for k in range(count)]
        if self.ignore is not None:  # the peers know one value for "no class"
            self.masks = [np.where(mask == self.ignore, 255, mask) for mask in self.masks]
        held_out = len({key for key in arrays if key.startswith("test/")}) // 2
        self.test = [self.scaled(arrays[f"test/{k}/image"].astype(np.float32)) for k in range(held_out)]
        self.channels = self.images[0].shape[-1]
        self.rng = np.random.default_rng(facts["seed"])
        self.seconds, self.began, self.steps = 60 * minutes, time.monotonic(), 0

    def scaled(self, image: np.ndarray) -> np.ndarray:
        return (image - self.mean) / self.deviation

    @property
    def share(self) -> float:
        """Share of the time that is used up."""
        return (time.monotonic() - self.began) / self.seconds

    @property
    def rate(self) -> float:
        """A cosine that ends with the time."""
        return RATE * 0.5 * (1 + math.cos(math.pi * min(self.share, 1.0)))

    def batches(self) -> Iterator[Batch]:
        """Crops, turned and mirrored, brighter and darker, until time is up."""
        height, width = self.size
        while self.share < 1.0:
            x = np.zeros((BATCH, height, width, self.channels), np.float32)
            y = np.full((BATCH, height, width), 255, np.int64)
            for k, index in enumerate(self.rng.choice(len(self.images), BATCH)):
                image, mask = self.images[index], self.masks[index]
                top, left = (self.rng.integers(max(n - m, 0) + 1) for n, m in zip(mask.shape, self.size, strict=True))
                part, truth = (a[top : top + height, left : left + width] for a in (image, mask))
                for axis in (0, 1):
                    if self.rng.random() < 0.5:
                        part, truth = np.flip(part, axis), np.flip(truth, axis)
                h, w = truth.shape
                x[k, :h, :w] = part * self.rng.uniform(0.8, 1.2) + self.rng.uniform(-0.2, 0.2)
                y[k, :h, :w] = truth
            yield x, y
            self.steps += 1


def padded(image: np.ndarray, to: int) -> np.ndarray:
    """The image, mirrored at its lower and right ends to a multiple of `to`."""
    ends = [(0, -n % to) for n in image.shape[:2]]
    return np.pad(image, (*ends, (0, 0)), mode="symmetric")


def torch_training(task: Task, model: Any, loss: Any, predict: Callable[[Any], Any]) -> list[np.ndarray]:
    """The loop that is in everybody's script."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    model.train()
    for x, y in task.batches():
        for group in optimizer.param_groups:
            group["lr"] = task.rate
        optimizer.zero_grad()
        loss(model(torch.from_numpy(x).permute(0, 3, 1, 2)), torch.from_numpy(y)).backward()
        optimizer.step()
    model.eval()
    masks = []
    with torch.no_grad():
        for image in task.test:
            height, width = image.shape[:2]
            logits = predict(torch.from_numpy(padded(image, 32))[None].permute(0, 3, 1, 2))
            masks.append(logits[0].argmax(0).numpy()[:height, :width].astype(np.uint8))
    return masks


def smp(task: Task) -> list[np.ndarray]:
    """segmentation_models.pytorch: Unet on a ResNet-34, its documents' first model; Dice and cross-entropy."""
    import segmentation_models_pytorch as smp
    import torch

    model = smp.Unet("resnet34", encoder_weights=None, in_channels=task.channels, classes=task.classes)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=255)
    entropy = torch.nn.CrossEntropyLoss(ignore_index=255)
    return torch_training(task, model, lambda p, y: dice(p, y) + entropy(p, y), model)


def monai(task: Task) -> list[np.ndarray]:
    """MONAI: its tutorials' residual UNet, Dice and cross-entropy, sliding windows."""
    import torch
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceLoss, MaskedLoss
    from monai.networks.nets import UNet

    model = UNet(2, task.channels, task.classes, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2)
    dice = MaskedLoss(DiceLoss, softmax=True, to_onehot_y=False)
    entropy = torch.nn.CrossEntropyLoss(ignore_index=255)

    def loss(p: Any, y: Any) -> Any:
        known = (y != 255)[:, None]
        hot = torch.nn.functional.one_hot(y.where(y != 255, 0), task.classes).permute(0, 3, 1, 2).float()
        return dice(p, hot, known.float()) + entropy(p, y)

    return torch_training(task, model, loss, lambda x: sliding_window_inference(x, task.size, 4, model, overlap=0.25))


def keras(task: Task) -> list[np.ndarray]:
    """Plain Keras: the U-Net of the paper at half its width, Adam, cross-entropy, `train_on_batch`."""
    import keras
    from keras import layers

    def block(x: Any, filters: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
        return x

    x = inputs = keras.Input((None, None, task.channels))
    skips = []
    for filters in (32, 64, 128, 256):
        skips.append(block(x, filters))
        x = layers.MaxPooling2D()(skips[-1])
    x = block(x, 512)
    for filters, skip in zip((256, 128, 64, 32), reversed(skips), strict=True):
        x = block(layers.Concatenate()([layers.Conv2DTranspose(filters, 2, 2)(x), skip]), filters)
    model = keras.Model(inputs, layers.Conv2D(task.classes, 1)(x))
    model.compile(keras.optimizers.Adam(RATE), keras.losses.SparseCategoricalCrossentropy(True, ignore_class=255))
    for x, y in task.batches():
        model.optimizer.learning_rate = task.rate
        model.train_on_batch(x, y)
    masks = []
    for image in task.test:
        height, width = image.shape[:2]
        logits = model.predict_on_batch(padded(image, 32)[None])
        masks.append(np.asarray(logits)[0].argmax(-1)[:height, :width].astype(np.uint8))
    return masks


CONTENDERS = {"smp": smp, "monai": monai, "keras": keras}


def contend(name: str, file: str, out: str, minutes: str) -> None:
    """Train one contender, and write its masks."""
    task = Task(Path(file), float(minutes))
    try:
        masks = CONTENDERS[name](task)
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(_MISSING)
    np.savez(out, steps=task.steps, **{str(k): mask for k, mask in enumerate(masks)})  # type: ignore[arg-type]


if __name__ == "__main__":
    if "--contender" in sys.argv:
        contend(*sys.argv[2:])
    else:
        main()
