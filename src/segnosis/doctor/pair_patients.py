"""Small pairs of images and masks that fit each other, to be made sick by the checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch

SPEC = DatasetSpec("folders", "images and masks", ("background", "disc"), channels=1, values={0: 0, 1: 1})


def scenes(count: int = 12, size: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images `(count, size, size)` float32 of three bright blobs each, and their masks of 0 and 1."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    images, masks = [], []
    for _ in range(count):
        mask = np.zeros((size, size), np.uint8)
        for _ in range(3):
            y, x = rng.integers(size // 6, size - size // 6, 2)
            a, b = rng.uniform(size / 12, size / 5, 2)
            mask[((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1] = 1
        images.append(60.0 + 80.0 * mask + rng.normal(0, 8, mask.shape))
        masks.append(mask)
    return np.array(images, np.float32), np.array(masks)


def pairs(images: Iterable[np.ndarray], masks: Iterable[np.ndarray], splits: Sequence[str] | None = None) -> list[Pair]:
    """Pairs named `scene 0`, `scene 1`, …"""
    return [
        Pair(image, mask, id=f"scene {k}", group=f"scene {k}", split=splits[k] if splits else None)
        for k, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]


def batches(images: np.ndarray, masks: np.ndarray, size: int = 4) -> tuple[Batch, ...]:
    """The same as a pipeline would hand them on: `(batch, height, width, 1)` in 0 to 1, and masks as they are."""
    x = images[..., None] / 255.0
    return tuple(Batch(x[k : k + size], masks[k : k + size]) for k in range(0, len(x), size))
