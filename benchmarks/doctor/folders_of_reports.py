"""Folders as they appear in reports of programs that did not learn: run lengths, palettes, alpha, polygons, raw ids."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmarks.doctor.folders import _save
from benchmarks.doctor.pictures import VOID, _scene, _stored, aerial, street, ultrasound
from PIL import Image, ImageDraw
from scipy import ndimage as nd


def _run_lengths(mask: np.ndarray) -> str:
    """`start length …`, counted from 1 down the columns, as Kaggle writes it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]]).astype(int))) + 1
    return " ".join(f"{start} {end - start}" for start, end in zip(edges[::2], edges[1::2], strict=True))


def _write_table(file: Path, rows: list[tuple[object, ...]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def _box(random: np.random.Generator, size: int, long: tuple[float, float], wide: tuple[float, float]) -> np.ndarray:
    """The four corners, `(4, 2)` as x, y, of a rectangle at any angle."""
    turn = random.uniform(0, np.pi)
    along = np.array([np.cos(turn), np.sin(turn)]) * random.uniform(*long)
    across = np.array([-np.sin(turn), np.cos(turn)]) * random.uniform(*wide)
    middle = random.uniform(0.15, 0.85, 2) * size
    return np.stack(
        [middle + along + across, middle + along - across, middle - along - across, middle - along + across]
    )


def _filled(polygon: np.ndarray, size: int) -> np.ndarray:
    canvas = Image.new("L", (size, size))
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in polygon], fill=1)
    return np.asarray(canvas)


def airbus(root: Path) -> None:
    """Satellite JPEGs of the sea; a row of the table for every ship, an empty one where there is none."""
    random = np.random.default_rng(31)
    rows: list[tuple[object, ...]] = [("ImageId", "EncodedPixels")]
    for number in range(90):
        image = _scene(random, 96, 3) * np.array([0.5, 0.8, 1.0])
        name, taken = f"{number * 104729:09x}.jpg", np.zeros((96, 96), bool)
        for _ in range(random.integers(0, 4) if number % 3 else 2):
            ship = _filled(_box(random, 96, (7, 13), (2, 4)), 96) > 0
            if (ship & taken).any():
                continue
            taken |= ship
            image[ship] = random.uniform(0.6, 0.9) + random.normal(0, 0.04, (int(ship.sum()), 3))
            rows.append((name, _run_lengths(ship)))
        if not taken.any():
            rows.append((name, ""))
        _save(root / "train_v2" / name, _stored([image])[0], quality=95)
    _write_table(root / "train_ship_segmentations_v2.csv", rows)


def salt(root: Path) -> None:
    """Grey PNGs of 101 pixels, masks of 16 bit (0 and 65535), and a table of depths."""
    made = ultrasound(32, 90, 101)
    rows: list[tuple[object, ...]] = [("id", "z")]
    for number, (image, mask) in enumerate(zip(made.images, made.masks, strict=True)):
        name = f"{number * 7907:06x}"
        _save(root / "train" / "images" / f"{name}.png", np.repeat(image, 3, -1))
        _save(root / "train" / "masks" / f"{name}.png", mask.astype("uint16") * 65535)
        rows.append((name, 50 + 9 * number))
    _write_table(root / "depths.csv", rows)


def steel(root: Path) -> None:
    """Strips of steel, 48 × 128; four kinds of defect that may overlap, each a row of run lengths."""
    random = np.random.default_rng(33)
    down, across = np.mgrid[:48, :128]
    rows: list[tuple[object, ...]] = [("ImageId", "ClassId", "EncodedPixels")]
    for number in range(96):
        name = f"{number * 15485863 % 2**32:08x}.jpg"
        image = 0.45 + 0.04 * np.sin(across / 9 + number) + random.normal(0, 0.03, (48, 128))
        for kind in sorted(random.choice(4, random.integers(1, 4), replace=False, p=[0.3, 0.2, 0.3, 0.2])):
            top, left = random.integers(8, 40), random.integers(15, 113)
            if kind == 0:
                spot = np.hypot(down - top, across - left) < random.uniform(4, 7)
                image[spot] -= 0.3
            elif kind == 1:
                spot = (np.abs(across - left) < 2.5) & (np.abs(down - top) < 16)
                image[spot] += 0.35
            elif kind == 2:
                spot = (np.abs(down - top) < 4) & (np.abs(across - left) < random.uniform(12, 22))
                image[spot] += 0.25 * ((across[spot] // 2) % 2) - 0.1
            else:
                spot = (np.abs(down - top) < 7) & (np.abs(across - left) < 8)
                image[spot] += random.choice([-0.22, 0.22], int(spot.sum()))
            rows.append((name, kind + 1, _run_lengths(spot)))
        _save(root / "train_images" / name, np.repeat(_stored([image])[0][..., None], 3, -1), quality=95)
    _write_table(root / "train.csv", rows)


def drone(root: Path) -> None:
    """Photographs from above, masks painted in the colours of `class_dict.csv`; every fourth picture for validation."""
    colors = np.array([[130, 76, 0], [128, 64, 128], [70, 70, 70], [107, 142, 35]], "uint8")
    made = aerial(34, 88, 64)
    for number, (image, mask) in enumerate(zip(made.images, made.masks, strict=True)):
        split = "val" if number % 4 == 0 else "train"
        _save(root / split / "original_images" / f"{number:03d}.jpg", image, quality=95)
        _save(root / split / "label_images" / f"{number:03d}.png", colors[mask])
    names = ("ground", "road", "roof", "tree")
    _write_table(
        root / "class_dict.csv",
        [("name", "r", "g", "b"), *((name, *color) for name, color in zip(names, colors.tolist(), strict=True))],
    )


def livers(root: Path) -> None:
    """A folder a patient, in it CT slices from neck to hip (int16, Hounsfield units) and organ 1 with growths 2."""
    random = np.random.default_rng(35)
    down, across = np.mgrid[:64, :64]
    for patient in range(12):
        top, left = random.uniform(28, 36, 2)
        high, wide = random.uniform(12, 17, 2)
        growths = random.uniform(-6, 6, (3, 2))
        image, mask = np.full((8, 64, 64), -1000.0), np.zeros((8, 64, 64), "uint8")
        for level in range(8):
            swell = np.sin(np.pi * (level + 1) / 9) ** 0.5
            body = ((down - 32) / 28) ** 2 + ((across - 32) / 25) ** 2 <= 1
            organ = ((down - top) / (high * swell)) ** 2 + ((across - left) / (wide * swell)) ** 2 <= 1
            image[level][body], image[level][organ] = 20, 110
            mask[level][organ] = 1
            for number, (y, x) in enumerate(growths):
                near = np.hypot(down - top - y, across - left - x) <= 4.2 - 0.5 * abs(level - 2 - 2 * number)
                image[level][near & organ], mask[level][near & organ] = 45, 2
        image += nd.gaussian_filter(random.normal(0, 60, image.shape), (0, 0.7, 0.7))
        (root / f"patient_{patient:02d}").mkdir(parents=True)
        np.savez(root / f"patient_{patient:02d}" / "volume.npz", ct=image.astype("int16"), seg=mask)


def buildings(root: Path) -> None:
    """Tiles of a town and one JSON of polygons, as COCO keeps them; some tiles without a building."""
    random = np.random.default_rng(36)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(84):
        rough = nd.gaussian_filter(random.normal(size=(80, 80)), 1)[..., None] * 0.12
        image = np.array([0.4, 0.48, 0.32]) + rough + random.normal(0, 0.03, (80, 80, 3))
        for _ in range(random.integers(2, 5) if number % 12 else 0):
            corners = _box(random, 80, (7, 14), (5, 9)).round(2)
            roof = _filled(corners, 80) > 0
            image[roof] = np.array([0.72, 0.42, 0.36]) * random.uniform(0.8, 1.2)
            image[roof] += random.normal(0, 0.04, (int(roof.sum()), 3))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": 100,
                    "segmentation": [corners.ravel().tolist()],
                }
            )
        images.append({"id": number + 1, "file_name": f"{number:012d}.jpg", "height": 80, "width": 80})
        _save(root / "images" / f"{number:012d}.jpg", _stored([image])[0], quality=95)
    categories = [{"id": 100, "name": "building"}]
    (root / "annotation.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )


def portraits(root: Path) -> None:
    """PNGs with alpha: a person before a wall, whose outline is soft."""
    random = np.random.default_rng(37)
    down, across = np.mgrid[:80, :64]
    for number in range(80):
        middle, crown = random.uniform(24, 40), random.uniform(18, 28)
        head = ((down - crown) / random.uniform(10, 13)) ** 2 + ((across - middle) / random.uniform(8, 10)) ** 2 <= 1
        below = down - crown - 10
        trunk = (below > 0) & (np.abs(across - middle) <= 6 + np.sqrt(np.clip(below, 0, None)) * random.uniform(2, 3))
        person = head | trunk
        alpha = nd.gaussian_filter(person.astype(float), 0.8)
        wall = _scene(random, 80, 3)[:, :64] + random.uniform(0, 0.25)
        coat, skin = random.uniform(0.05, 0.25, 3), np.array([0.85, 0.65, 0.55]) * random.uniform(0.75, 1.05)
        front = np.where(head[..., None], skin, coat) + random.normal(0, 0.03, (80, 64, 3))
        front = nd.gaussian_filter(front, (0.5, 0.5, 0))
        pixels = np.where(alpha[..., None] > 0.02, alpha[..., None] * front + (1 - alpha[..., None]) * wall, wall)
        _save(root / "raw" / f"person_{number:03d}.png", _stored([np.dstack([pixels, alpha])])[0])


def cityscapes(root: Path) -> None:
    """A folder a town; `_leftImg8bit` beside `_gtFine_labelIds`, whose ids are the long list's (0 is no class)."""
    ids = np.zeros(256, "uint8")
    ids[:6], ids[VOID] = [7, 26, 11, 21, 23, 24], 0
    made = street(38, 96, 72)
    towns = {"train": ("aachen", "bremen", "jena"), "val": ("ulm",)}
    for split, part in (("train", range(72)), ("val", range(72, 96))):
        for number in part:
            town = towns[split][number % len(towns[split])]
            stem = f"{town}_{number:06d}_000019"
            _save(root / "leftImg8bit" / split / town / f"{stem}_leftImg8bit.png", made.images[number])
            _save(root / "gtFine" / split / town / f"{stem}_gtFine_labelIds.png", ids[made.masks[number]])


FOLDERS: tuple[Callable[[Path], None], ...] = (
    airbus, salt, steel, drone, livers, buildings, portraits, cityscapes,
)  # fmt: skip
