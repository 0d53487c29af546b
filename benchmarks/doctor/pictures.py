"""Pictures with masks, made here or read from real data beside the checkout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
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


def vessels(seed: int, count: int = 64, size: int = 48) -> Pictures:
    """Grey, two classes: dark winding lines one to three pixels wide on a bright, uneven ground."""
    random = np.random.default_rng(seed)
    images, masks = [], np.zeros((count, size, size), "uint8")
    for mask in masks:
        image = _scene(random, size, 1) + 0.35
        for _ in range(random.integers(2, 5)):
            angle, thick = random.uniform(0, 2 * np.pi), random.integers(1, 3)
            down, across = random.uniform(0, size, 2)
            for _ in range(2 * size):
                angle += random.normal(0, 0.15)
                down, across = down + np.sin(angle), across + np.cos(angle)
                if not (0 <= down < size and 0 <= across < size):
                    break
                mask[int(down) : int(down) + thick, int(across) : int(across) + thick] = 1
        image[mask == 1] -= random.uniform(0.25, 0.4)
        images.append(image)
    return Pictures(_stored(images), masks, 2)


def fields(seed: int, count: int = 64, size: int = 48) -> Pictures:
    """Colour, five classes that cover everything: patches of land with colours of their own, none rare."""
    random = np.random.default_rng(seed)
    colors = np.array([[0.3, 0.45, 0.25], [0.65, 0.6, 0.35], [0.2, 0.3, 0.5], [0.55, 0.35, 0.3], [0.5, 0.5, 0.52]])
    images, masks = [], np.zeros((count, size, size), "uint8")
    down, across = np.mgrid[:size, :size]
    for mask in masks:
        centres, owners = random.uniform(0, size, (7, 2)), random.integers(0, 5, 7)
        nearest = np.argmin([np.hypot(down - y, across - x) for y, x in centres], axis=0)
        mask[:] = owners[nearest]
        furrows = 0.05 * np.sin(down * random.uniform(0.5, 1.2) + across * random.uniform(0.5, 1.2))[..., None]
        images.append(colors[mask] + furrows * (mask == 1)[..., None] + _scene(random, size, 3) - 0.33)
    return Pictures(_stored(images), masks, 5)


def scans(seed: int, count: int = 64, size: int = 48) -> Pictures:
    """Grey, three classes: a body on black air, a faint organ in it, and in some a small bright growth in the organ."""
    random = np.random.default_rng(seed)
    images, masks = [], np.zeros((count, size, size), "uint8")
    down, across = np.mgrid[:size, :size]
    for mask in masks:
        top, left = random.uniform(0.45, 0.55, 2) * size
        body = ((down - top) / (0.42 * size)) ** 2 + ((across - left) / (0.36 * size)) ** 2 <= 1
        middle, beside = top + random.uniform(-4, 4), left + random.uniform(-5, 2)
        high, wide = random.uniform(0.16, 0.24, 2) * size
        organ = ((down - middle) / high) ** 2 + ((across - beside) / wide) ** 2 <= 1
        image = np.where(body, 0.35, 0.02)[..., None] + random.normal(0, 0.03, (size, size, 1))
        image[organ] += 0.22
        mask[organ] = 1
        if random.random() < 0.7:
            radius = random.uniform(2, 3.5)
            growth = np.hypot(down - middle - random.uniform(-3, 3), across - beside - random.uniform(-3, 3)) <= radius
            image[growth] += 0.25
            mask[growth] = 2
        images.append(nd.gaussian_filter(image, (0.6, 0.6, 0)))
    return Pictures(_stored(images), masks, 3)


def membranes(seed: int, count: int = 64, size: int = 48) -> Pictures:
    """Grey, two classes: a net of thin dark walls between grainy cells, every picture full of them."""
    random = np.random.default_rng(seed)
    images, masks = [], np.zeros((count, size, size), "uint8")
    down, across = np.mgrid[:size, :size]
    for mask in masks:
        centres = random.uniform(-4, size + 4, (14, 2))
        near = np.sort([np.hypot(down - y, across - x) for y, x in centres], axis=0)
        mask[near[1] - near[0] < 2.4] = 1
        image = 0.62 + random.normal(0, 0.06, (size, size, 1)) - 0.38 * mask[..., None]
        images.append(nd.gaussian_filter(image, (0.5, 0.5, 0)) + random.uniform(-0.06, 0.06))
    return Pictures(_stored(images), masks, 2)


def aerial(seed: int, count: int = 64, size: int = 48) -> Pictures:
    """Colour, four classes from above: rough ground, a straight road, tiled roofs at any angle, some round trees."""
    random = np.random.default_rng(seed)
    images, masks = [], np.zeros((count, size, size), "uint8")
    down, across = np.mgrid[:size, :size]
    for mask in masks:
        rough = nd.gaussian_filter(random.normal(size=(size, size)), 1)[..., None] * 0.12
        image = np.array([0.45, 0.5, 0.3]) * random.uniform(0.85, 1.1) + rough
        angle, away = random.uniform(0, np.pi), random.uniform(-0.3, 0.3) * size
        road = np.abs((down - size / 2) * np.cos(angle) + (across - size / 2) * np.sin(angle) + away) <= 3
        mask[road], image[road] = 1, random.uniform(0.55, 0.65)
        for _ in range(random.integers(2, 5)):
            top, left, turn = *random.uniform(0.1, 0.9, 2) * size, angle + random.choice([0, np.pi / 2])
            u = (down - top) * np.cos(turn) + (across - left) * np.sin(turn)
            v = (across - left) * np.cos(turn) - (down - top) * np.sin(turn)
            roof = (np.abs(u) <= random.uniform(3, 7)) & (np.abs(v) <= random.uniform(3, 7))
            tiles = 0.08 * np.sin(2 * u) - 0.12 * (u > 0)  # the side away from the sun is darker
            mask[roof], image[roof] = 2, (np.array([0.7, 0.35, 0.28]) + tiles[..., None])[roof]
        for _ in range(random.integers(0, 4)):
            tree = np.hypot(down - random.uniform(0, size), across - random.uniform(0, size)) <= random.uniform(2, 4)
            mask[tree], image[tree] = 3, np.array([0.12, 0.28, 0.12]) * random.uniform(0.8, 1.2)
        images.append(image + random.normal(0, 0.03, image.shape))
    return Pictures(_stored(images), masks, 4)


def ultrasound(seed: int, count: int = 64, size: int = 48) -> Pictures:
    """Grey, two classes: one dark organ under multiplied speckle, in a bright fan on black, fainter with depth."""
    random = np.random.default_rng(seed)
    images, masks = [], np.zeros((count, size, size), "uint8")
    down, across = np.mgrid[:size, :size]
    fan = np.abs(across - size / 2) <= 0.3 * size + 0.25 * down
    for mask in masks:
        mask[_ellipse(random, size, 0.14 * size, 0.24 * size) & fan] = 1
        echo = np.where(mask == 1, random.uniform(0.08, 0.14), random.uniform(0.45, 0.6)) * (1 - 0.4 * down / size)
        speckle = nd.gaussian_filter(random.rayleigh(0.8, (size, size)), 0.6)
        images.append((echo * speckle * fan)[..., None])
    return Pictures(_stored(images), masks, 2)


@cache
def _field_of_view(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    image = Image.open(next((folder / "images").glob("*.png"))).convert("RGB")
    parts = [np.asarray(Image.open(file)) > 0 for file in (folder / "masks").glob("*.png")]
    return np.asarray(image), np.any(parts, axis=0).astype("uint8")


def nuclei(seed: int, count: int = 64, size: int = 64) -> Pictures:
    """Real microscopy: DSB 2018, one PNG a nucleus, united and scaled down."""
    from PIL import Image

    images, masks = [], []
    folders = sorted(folder for folder in (REAL_DATA / "nuclei").iterdir() if folder.is_dir())
    for number in np.random.default_rng(seed).permutation(len(folders))[:count]:
        image, mask = (Image.fromarray(part) for part in _field_of_view(folders[number]))
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


MADE: dict[str, Callable[..., Pictures]] = {
    "lesions": lesions, "cells": cells, "organs": organs, "street": street, "vessels": vessels, "fields": fields,
    "scans": scans, "membranes": membranes, "aerial": aerial, "ultrasound": ultrasound,
}  # fmt: skip
REAL: dict[str, Callable[..., Pictures]] = {"nuclei": nuclei, "cardiac": cardiac, "voc": voc}
PICTURES = {**MADE, **REAL}
