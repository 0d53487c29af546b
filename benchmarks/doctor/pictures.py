"""Pictures with masks, made here or read from real data beside the checkout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage as nd

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
VOID = 255


@dataclass(frozen=True)
class Pictures:
    """What a person would have on disk.

    Attributes:
        images: `(samples, height, width, channels)` uint8.
        masks: `(samples, height, width)` uint8 class ids, 255 where a pixel has no class.
        num_classes: With background.
    """

    images: np.ndarray
    masks: np.ndarray
    num_classes: int

    @property
    def has_void(self) -> bool:
        return bool((self.masks == VOID).any())


def _scene(random: np.random.Generator, size: int, channels: int) -> np.ndarray:
    """A dim background: a gradient, clouds and sensor noise."""
    down, across = np.mgrid[:size, :size] / size
    gradient = random.uniform(-0.15, 0.15) * down + random.uniform(-0.15, 0.15) * across
    clouds = nd.gaussian_filter(random.normal(size=(size, size, channels)), (4, 4, 0)) * 0.6
    grain = random.normal(0, 0.02, (size, size, channels))
    return random.uniform(0.25, 0.4) + gradient[..., None] + clouds + grain


def _ellipse(random: np.random.Generator, size: int, small: float, large: float) -> np.ndarray:
    down, across = np.mgrid[:size, :size]
    height, width = random.uniform(small, large, 2)
    top, left = random.uniform(large, size - large, 2)
    turn = random.uniform(0, np.pi)
    u, v = (down - top) * np.cos(turn) + (across - left) * np.sin(turn), None
    v = (across - left) * np.cos(turn) - (down - top) * np.sin(turn)
    return (u / height) ** 2 + (v / width) ** 2 <= 1


def _stored(images: list[np.ndarray]) -> np.ndarray:
    return (255 * np.clip(np.stack(images), 0, 1)).astype("uint8")


def lesions(seed: int, count: int = 64, size: int = 48) -> Pictures:
    """Grey, two classes, about four percent foreground, a tenth of the images without any."""
    random = np.random.default_rng(seed)
    images, masks = [], np.zeros((count, size, size), "uint8")
    for mask in masks:
        image = _scene(random, size, 1)
        for _ in range(random.integers(1, 4) if random.random() > 0.1 else 0):
            spot = _ellipse(random, size, 2.5, 6)
            image[spot] += random.uniform(0.25, 0.4)
            mask[spot] = 1
        images.append(image)
    return Pictures(_stored(images), masks, 2)


def cells(seed: int, count: int = 64, size: int = 48) -> Pictures:
    """Colour, two classes, about a quarter foreground, stained darker than what surrounds it."""
    random = np.random.default_rng(seed)
    images, masks = [], np.zeros((count, size, size), "uint8")
    for mask in masks:
        image = _scene(random, size, 3) + 0.4
        for _ in range(random.integers(4, 10)):
            spot = _ellipse(random, size, 4, 7)
            image[spot] -= np.array([0.35, 0.45, 0.2]) * random.uniform(0.7, 1.0)
            mask[spot] = 1
        images.append(image)
    return Pictures(_stored(images), masks, 2)


def organs(seed: int, count: int = 64, size: int = 48) -> Pictures:
    """Grey, four classes: a bright chamber in a dark ring, and a second chamber beside it."""
    random = np.random.default_rng(seed)
    images, masks = [], np.zeros((count, size, size), "uint8")
    down, across = np.mgrid[:size, :size]
    for mask in masks:
        image = _scene(random, size, 1)
        top, left = random.uniform(0.4, 0.6, 2) * size
        inner, wall = random.uniform(4, 6), random.uniform(2.5, 4)
        distance = np.hypot(down - top, across - left)
        beside = np.hypot((down - top) / 1.4, across - left + inner + wall + 3) <= random.uniform(4, 6)
        ring, chamber = distance <= inner + wall, distance <= inner
        for class_id, (region, light) in enumerate([(beside, 0.3), (ring, -0.2), (chamber, 0.4)], start=1):
            mask[region] = class_id
            image[region] = 0.35 + light + random.normal(0, 0.03, (int(region.sum()), 1))
        images.append(image)
    return Pictures(_stored(images), masks, 4)


def street(seed: int, count: int = 64, size: int = 48) -> Pictures:
    """Colour, six classes of unequal frequency, one to three objects an image, void on every border."""
    random = np.random.default_rng(seed)
    colors = np.array([[0, 0, 0], [0.8, 0.2, 0.2], [0.2, 0.8, 0.2], [0.2, 0.3, 0.9], [0.9, 0.9, 0.2], [0.9, 0.3, 0.9]])
    images, masks = [], np.zeros((count, size, size), "uint8")
    for mask in masks:
        image = _scene(random, size, 3)
        for _ in range(random.integers(1, 4)):
            class_id = random.choice([1, 1, 1, 2, 2, 3, 4, 5])
            thing = _ellipse(random, size, 6, 11)
            image[thing] = colors[class_id] * random.uniform(0.7, 1) + random.normal(0, 0.03, (int(thing.sum()), 3))
            mask[thing] = class_id
        border = nd.maximum_filter(mask, 3) != nd.minimum_filter(mask, 3)
        mask[border] = VOID
        images.append(image)
    return Pictures(_stored(images), masks, 6)


def nuclei(seed: int, count: int = 64, size: int = 64) -> Pictures:
    """Real microscopy: DSB 2018, one PNG a nucleus, united and scaled down."""
    from PIL import Image

    images, masks = [], []
    folders = sorted({file.stem for file in (REAL_DATA / "nuclei" / "images").glob("*.png")})
    for name in np.random.default_rng(seed).permutation(folders)[:count]:
        image = Image.open(REAL_DATA / "nuclei" / "images" / f"{name}.png").convert("RGB")
        parts = [np.asarray(Image.open(file)) > 0 for file in (REAL_DATA / "nuclei" / "masks" / name).glob("*.png")]
        mask = Image.fromarray(np.any(parts, axis=0).astype("uint8"))
        images.append(np.asarray(image.resize((size, size))))
        masks.append(np.asarray(mask.resize((size, size), Image.Resampling.NEAREST)))
    return Pictures(np.stack(images), np.stack(masks), 2)


def cardiac(seed: int, count: int = 64, size: int = 64) -> Pictures:
    """Real cardiac MR: slices of ACDC, cut about their middle and halved."""
    import h5py

    images, masks = [], []
    for file in sorted((REAL_DATA / "cardiac_hdf5").rglob("*.h5")):
        with h5py.File(file) as volume:
            for image, mask in zip(volume["image"][:], volume["label"][:], strict=True):
                top, left = (max(0, (side - 2 * size) // 2) for side in image.shape)
                cut = np.s_[top : top + 2 * size : 2, left : left + 2 * size : 2]
                room = [(0, size - side) for side in image[cut].shape]
                images.append(np.pad(image[cut], room)[..., None])
                masks.append(np.pad(mask[cut], room).astype("uint8"))
    chosen = np.random.default_rng(seed).permutation(len(images))[:count]
    return Pictures(_stored([images[i] for i in chosen]), np.stack([masks[i] for i in chosen]), 4)


def voc(seed: int, count: int = 64, size: int = 64) -> Pictures:
    """Real photographs: PASCAL VOC, 21 classes, void on every border."""
    from PIL import Image

    images, masks = [], []
    files = sorted((REAL_DATA / "voc2012").rglob("SegmentationClass/*.png"))
    for file in np.random.default_rng(seed).permutation(files)[:count]:
        photo = Image.open(file.parents[1] / "JPEGImages" / f"{file.stem}.jpg").convert("RGB")
        images.append(np.asarray(photo.resize((size, size))))
        masks.append(np.asarray(Image.open(file).resize((size, size), Image.Resampling.NEAREST)))
    return Pictures(np.stack(images), np.stack(masks), 21)


MADE: dict[str, Callable[[int], Pictures]] = {
    "lesions": lesions, "cells": cells, "organs": organs, "street": street,
}  # fmt: skip
REAL: dict[str, Callable[[int], Pictures]] = {"nuclei": nuclei, "cardiac": cardiac, "voc": voc}
