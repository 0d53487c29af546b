"""Milliseconds for one augmented pair on one core: ours against direct OpenCV, albumentations, MONAI and torchvision.

    python benchmarks/feed.py [--json feed.json]

Each contender gets the same decoded image (three channels, uint8) and mask and does the same: turn by up to 15°, scale
by 0.7–1.4, mirror, change brightness, contrast and gamma, float32 image out. All take turns, batch by batch, so that a
busy machine slows them alike; the time is the processor's, the figure the median. Peers not installed are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np

from segnosis.core.run_folder import write_json
from segnosis.data import open as open_dataset
from segnosis.data.batches import Batches
from segnosis.data.dataset import Dataset
from segnosis.data.transforms.augment import apply, preset
from segnosis.data.transforms.crop import Crop

Contender = Callable[[np.ndarray, np.ndarray, int], object]
PAIRS, ROUNDS = 12, 6


def ours(size: int) -> Contender:
    transforms = [Crop((size, size)), *_always("default")]
    return lambda image, mask, seed: apply(transforms, image, mask, np.random.default_rng(seed))


def opencv(size: int) -> Contender:
    """The least that the task takes, with nothing proven: two warps and a table."""

    def run(image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        matrix = cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(-15, 15), rng.uniform(0.7, 1.4))
        image = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(128, 128, 128))
        mask = cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_NEAREST, borderValue=255)
        if rng.random() < 0.5:
            image, mask = cv2.flip(image, 1), cv2.flip(mask, 1)
        table = (np.arange(256) / 255.0) ** rng.uniform(0.7, 1.5) * 255 * rng.uniform(0.75, 1.25) + rng.uniform(-30, 30)
        return cv2.LUT(image, table.clip(0, 255).astype(np.float32)), mask

    return run


def albumentations(size: int) -> Contender:
    import albumentations as a

    run = a.Compose(
        [
            a.Affine(rotate=(-15, 15), scale=(0.7, 1.4), fill=128, fill_mask=255, p=1),
            a.HorizontalFlip(p=0.5),
            a.RandomBrightnessContrast(0.15, 0.25, p=1),
            a.RandomGamma((70, 150), p=1),
        ]
    )
    return lambda image, mask, seed: run(image=image, mask=mask)["image"].astype(np.float32)


def monai(size: int) -> Contender:
    import torch
    from monai import transforms as m

    torch.set_num_threads(1)
    both, turn = ["image", "mask"], math.radians(15)
    run = m.Compose(
        [
            m.EnsureChannelFirstd(both[:1], channel_dim=-1),
            m.EnsureChannelFirstd(both[1:], channel_dim="no_channel"),
            m.RandAffined(both, prob=1.0, rotate_range=turn, scale_range=(-0.3, 0.4), mode=["bilinear", "nearest"]),
            m.RandFlipd(both, 0.5, spatial_axis=1),
            m.RandScaleIntensityd("image", 0.25, prob=1.0),
            m.RandShiftIntensityd("image", 30.0, prob=1.0),
            m.RandAdjustContrastd("image", 1.0, (0.7, 1.5)),
        ]
    )
    return lambda image, mask, seed: run({"image": image, "mask": mask})


def torchvision(size: int) -> Contender:
    import torch

    # A torchvision built for another torch has transforms all the same, if only the operators it looks up are declared.
    for name in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):
            torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    run = v2.Compose(
        [
            v2.RandomAffine(15, scale=(0.7, 1.4), interpolation=v2.InterpolationMode.BILINEAR, fill=128),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.25, 0.25),
            v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}),
        ]
    )

    def to_tensors(image: np.ndarray, mask: np.ndarray, seed: int) -> object:
        return run(tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(mask)))

    return to_tensors


CONTENDERS = {f.__name__: f for f in (ours, opencv, albumentations, monai, torchvision)}


def _always(name: str) -> list:
    """The preset with every probability but the flip's raised to 1, so that all contenders do all of it every time."""
    from dataclasses import replace

    return [t if type(t).__name__.startswith("Flip") else replace(t, probability=1.0) for t in preset(name)]


def write_pairs(folder: Path, size: int) -> None:
    """Smooth random pictures with grain, which compress like photographs, not like noise."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for k in range(PAIRS):
        waves = cv2.resize(rng.uniform(0, 255, (size // 16, size // 16, 3)).astype(np.float32), (size, size))
        image = (waves + rng.normal(0, 4, waves.shape)).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{k}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{k}.png"), (waves[..., 0] > 140).astype(np.uint8))


def decode(dataset: Dataset, k: int) -> None:
    """Both files of a pair read from the disk, past the data set's own memory of them."""
    entry, _ = dataset.source.locate(k)
    dataset.source.reader.read_image(dataset.root, entry)
    dataset.scheme.decode(dataset.source.reader.read_mask(dataset.root, entry))


def timed(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return 1000 * (time.process_time() - started)


def measure(size: int) -> dict[str, float]:
    """Median milliseconds of one pair: decoding, and each contender's augmentation of a decoded one."""
    runs = {}
    for name, build in CONTENDERS.items():
        try:
            runs[name] = build(size)
        except ImportError:
            print(f"  {name} is not installed")
    times: dict[str, list[float]] = {name: [] for name in ("decoding", *runs)}
    with tempfile.TemporaryDirectory() as folder:
        write_pairs(Path(folder), size)
        dataset = open_dataset(folder)
        samples = [dataset[k] for k in range(len(dataset))]
        for turn in range(ROUNDS):
            # Batch by batch, as a feed works: pair by pair each would begin with caches that another has filled.
            for name, run in [*runs.items()][turn % len(runs) :] + [*runs.items()][: turn % len(runs)]:
                for k, sample in enumerate(samples[:2]):
                    run(sample.image, sample.mask, k)  # warms up
                for k, sample in enumerate(samples):
                    times[name].append(timed(lambda: run(sample.image, sample.mask, PAIRS * turn + k)))  # noqa: B023
            times["decoding"] += [timed(lambda k=k: decode(dataset, k)) for k in range(PAIRS)]  # type: ignore[misc]
        batches = Batches(dataset, batch_size=PAIRS, size=size, augment=_always("default"), workers=0)
        batches[0]  # decodes; from here on everything is cached
        feeding = [timed(lambda: batches[0]) / PAIRS for _ in range(ROUNDS)]
    figures = {name: statistics.median(values) for name, values in times.items()}
    return {**figures, "ours, decoding included": figures["decoding"] + figures["ours"], "feed": min(feeding)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    results = {}
    for size in (256, 512):
        print(f"{size} × {size}")
        results[str(size)] = figures = measure(size)
        for name, milliseconds in figures.items():
            ratio = milliseconds / figures["ours"]
            print(f"  {name:24} {milliseconds:7.2f} ms {1000 / milliseconds:7.0f}/s  {ratio:5.2f} × ours")
    if arguments.json:
        write_json(arguments.json, {"milliseconds": results, "versions": versions(), "machine": platform.processor()})


def versions() -> dict[str, str | None]:
    out: dict[str, str | None] = {}
    for package in ("segnosis", "numpy", "opencv-python-headless", "albumentations", "monai", "torchvision"):
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            out[package] = None
    return out


if __name__ == "__main__":
    main()
