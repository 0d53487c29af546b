"""Folders of eight data sets that people ask about in forums, laid out as their publishers do it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from benchmarks.doctor.folders import _save
from benchmarks.doctor.pictures import _scene, _stored
from PIL import Image, ImageDraw
from scipy import ndimage as nd


def _blob(random: np.random.Generator, size: int, middle: tuple[float, float], radius: float) -> np.ndarray:
    """An uneven round shape, `(size, size)` bool."""
    down, across = np.mgrid[:size, :size]
    angle = np.arctan2(down - middle[0], across - middle[1])
    edge = radius * (1 + sum(random.normal(0, 0.12) * np.cos(k * angle + random.uniform(0, 6)) for k in (2, 3, 5)))
    return np.hypot(down - middle[0], across - middle[1]) <= edge


def brats(root: Path) -> None:
    """A folder a case, in it one NIfTI a modality and labels 0, 1, 2 and 4; every scanner with a scale of its own."""
    random = np.random.default_rng(41)
    shape = np.array([48, 48, 24])
    places = np.stack(np.mgrid[: shape[0], : shape[1], : shape[2]], -1)
    for number in range(13):
        case = f"BraTS_{number * 37 % 101:03d}"
        brain = (((places - shape / 2) / (shape * [0.44, 0.38, 0.46])) ** 2).sum(-1) <= 1
        middle = shape / 2 + random.uniform(-7, 7, 3) * [1, 1, 0.5]
        away = np.linalg.norm((places - middle) / [1.0, random.uniform(0.75, 1.0), 0.7], axis=-1)
        away += nd.gaussian_filter(random.normal(size=shape), 2) * 8
        outer = random.uniform(9, 12)
        seg = np.select([~brain, away < outer * 0.32, away < outer * 0.62, away < outer], [0, 1, 4, 2], 0)
        flair = np.choose(np.where(seg == 4, 3, seg), [0.45, 0.6, 0.95, 0.75]) * brain
        t1ce = np.choose(np.where(seg == 4, 3, seg), [0.5, 0.2, 0.42, 1.0]) * brain
        space = np.diag([1.0, 1.0, 2.0, 1.0])
        (root / case).mkdir(parents=True)
        for name, volume in (("flair", flair), ("t1ce", t1ce)):
            noisy = nd.gaussian_filter(volume + random.normal(0, 0.09, shape) * brain, 0.5) * random.uniform(300, 1500)
            nib.save(nib.Nifti1Image((noisy * brain).astype("int16"), space), root / case / f"{case}_{name}.nii.gz")
        nib.save(nib.Nifti1Image(seg.astype("uint8"), space), root / case / f"{case}_seg.nii.gz")


def cloud38(root: Path) -> None:
    """Patches of a satellite scene, a folder a band, 16-bit PNG; clouds are 255; past the edge all is black."""
    random = np.random.default_rng(42)
    rows: list[tuple[object, ...]] = [("name",)]
    for number in range(84):
        name = f"patch_{number + 1}_{number // 12 + 1}_by_{number % 12 + 1}_LC08_L1TP_0290{30 + number // 12}.PNG"
        ground = (_scene(random, 64, 4) * 0.55) * np.array([0.7, 0.85, 0.6, 1.1])
        sand = nd.gaussian_filter(random.normal(size=(64, 64)), 4) * 8 > 0.3  # as bright as cloud, but not in blue
        ground[sand] = np.array([0.3, 0.45, 0.62, 0.68]) * random.uniform(0.85, 1.1)
        thick = nd.gaussian_filter(random.normal(size=(64, 64)), 6) * 12 + random.uniform(-0.9, 0.4)
        cloud = thick > 0.1
        veil = np.clip(0.45 + 0.3 * thick, 0, 1)[..., None] * cloud[..., None]
        bands = ground * (1 - veil) + veil * random.uniform(0.55, 0.75) + random.normal(0, 0.006, ground.shape)
        if number % 12 == 11:  # half outside of the scene
            bands[:, 30:], cloud[:, 30:] = 0, False
        for place, band in enumerate(("blue", "green", "red", "nir")):
            stored = (np.clip(bands[..., place], 0, 1) * 65535).astype("uint16")
            _save(root / f"train_{band}" / f"{band}_{name}", stored)
        _save(root / "train_gt" / f"gt_{name}", (255 * cloud).astype("uint8"))
        rows.append((name[:-4],))
    with (root / "training_patches.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def foot_ulcers(root: Path) -> None:
    """Photographs of feet, labels 0 and 255 of the same name, in folders `train` and `validation`."""
    random = np.random.default_rng(43)
    for number in range(84):
        split = "train" if number < 66 else "validation"
        skin = np.array([0.78, 0.58, 0.47]) * random.uniform(0.7, 1.1)
        image = skin + 0.35 * (_scene(random, 64, 3) - 0.33)
        foot = _blob(random, 64, (32, 32), random.uniform(27, 34))
        image[~foot] = np.array([0.15, 0.3, 0.4]) + random.normal(0, 0.03, (int((~foot).sum()), 3))
        mask = np.zeros((64, 64), bool)
        for _ in range(random.integers(1, 3)):
            wound = _blob(random, 64, tuple(random.uniform(18, 46, 2)), random.uniform(4, 10)) & foot
            rim = nd.binary_dilation(wound, iterations=2) & foot & ~wound
            image[rim] *= [1.05, 0.85, 0.85]
            image[wound] = np.array([0.55, 0.16, 0.14]) + random.normal(0, 0.05, (int(wound.sum()), 3))
            slough = nd.binary_erosion(wound, iterations=2) & (nd.gaussian_filter(random.normal(size=(64, 64)), 2) > 0)
            image[slough] = np.array([0.75, 0.65, 0.3]) + random.normal(0, 0.04, (int(slough.sum()), 3))
            mask |= wound
        _save(root / split / "images" / f"{number * 17 % 997:04d}.png", _stored([image])[0])
        _save(root / split / "labels" / f"{number * 17 % 997:04d}.png", (255 * mask).astype("uint8"))


def endoscopy(root: Path) -> None:
    """One HDF5 file: frames and masks, and the number of the sequence that every frame is from."""
    random = np.random.default_rng(44)
    images, masks, sequences = [], [], []
    for sequence in range(16):
        wall = np.array([0.75, 0.4, 0.32]) * random.uniform(0.75, 1.1) + 0.5 * (_scene(random, 64, 3) - 0.33)
        middle, radius = random.uniform(20, 44, 2), random.uniform(8, 14)
        polyp = _blob(random, 64, tuple(middle), radius)
        down, across = np.mgrid[:64, :64]
        dome = np.clip(1 - np.hypot(down - middle[0], across - middle[1]) / (1.3 * radius), 0, 1)[..., None]
        fold = 0.08 * np.sin(0.25 * down + 0.3 * across * random.uniform(-1, 1))[..., None]
        still = np.where(polyp[..., None], np.array([0.7, 0.3, 0.28]) + 0.3 * dome, wall + fold)
        for _ in range(6):
            move = tuple(random.integers(-2, 3, 2))
            frame = np.roll(still, move, (0, 1)) * random.uniform(0.95, 1.05) + random.normal(0, 0.02, still.shape)
            for _ in range(3):
                y, x = random.integers(4, 60, 2)
                frame[y : y + 2, x : x + 2] = 0.97  # the lamp, mirrored
            images.append(frame)
            masks.append(np.roll(polyp, move, (0, 1)))
            sequences.append(sequence + 1)
    root.mkdir(parents=True)
    with h5py.File(root / "frames.h5", "w") as file:
        file["image"] = _stored(images)
        file["mask"] = (255 * np.stack(masks)[..., None]).astype("uint8")
        file["sequence"] = np.array(sequences, "int16")


def levir_cd(root: Path) -> None:
    """The same place at two dates, folders `A` and `B`, and `label`: 255 where a building is new."""
    random = np.random.default_rng(45)
    for number in range(88):
        split = "train" if number < 70 else "val"
        land = np.array([0.42, 0.45, 0.33]) + 0.8 * (_scene(random, 64, 3) - 0.33)
        dates, label = [land.copy(), land.copy()], np.zeros((64, 64), bool)
        taken = np.zeros((64, 64), bool)
        for _ in range(random.integers(3, 7)):
            high, wide = random.integers(8, 16, 2)
            top, left = random.integers(0, 64 - high), random.integers(0, 64 - wide)
            roof = np.zeros((64, 64), bool)
            roof[top : top + high, left : left + wide] = True
            if (roof & taken).any():
                continue
            taken |= nd.binary_dilation(roof)
            color = np.array([[0.75, 0.72, 0.7], [0.7, 0.4, 0.32], [0.3, 0.42, 0.6]])[random.integers(3)]
            new = random.random() < 0.55
            label |= roof & new
            for date in dates[1:] if new else dates:
                date[roof] = color * random.uniform(0.9, 1.1)
        for folder, date in zip("AB", dates, strict=True):
            seen = date * random.uniform(0.85, 1.15) + random.normal(0, 0.03, date.shape)
            _save(root / split / folder / f"{split}_{number + 1}.png", _stored([seen])[0])
        _save(root / split / "label" / f"{split}_{number + 1}.png", (255 * label).astype("uint8"))


def cracks(root: Path) -> None:
    """JPEG photographs of concrete, and labels as PNG, 255 on the cracks, in four folders."""
    random = np.random.default_rng(46)
    for number in range(90):
        split = "train" if number < 72 else "test"
        canvas = Image.new("L", (64, 64))
        for _ in range(random.integers(1, 3)):
            angle, place = random.uniform(0, 2 * np.pi), random.uniform(8, 56, 2)
            path = [tuple(place)]
            for _ in range(random.integers(5, 10)):
                angle += random.normal(0, 0.5)
                place = place + 7 * np.array([np.cos(angle), np.sin(angle)])
                path.append(tuple(place))
            ImageDraw.Draw(canvas).line(path, fill=1, width=int(random.integers(3, 6)))
        crack = np.asarray(canvas) > 0
        stone = 0.62 + 0.12 * nd.gaussian_filter(random.normal(size=(64, 64)), 8) * 8 + random.normal(0, 0.06, (64, 64))
        stone[nd.binary_dilation(random.random((64, 64)) > 0.998)] -= 0.2  # pores
        stone[crack] = random.uniform(0.12, 0.28) + random.normal(0, 0.04, int(crack.sum()))
        image = np.repeat(nd.gaussian_filter(stone, 0.4)[..., None], 3, -1) * [1.0, 0.98, 0.93]
        _save(root / f"{split}_img" / f"{11215 + number}.jpg", _stored([image])[0], quality=95)
        _save(root / f"{split}_lab" / f"{11215 + number}.png", (255 * crack).astype("uint8"))


def parcels(root: Path) -> None:
    """Six dates of four bands a tile, `(dates, bands, height, width)`; crops 1 to 4, 0 is no field, 19 is unknown."""
    random = np.random.default_rng(47)
    size = 48
    down, across = np.mgrid[:size, :size]
    season = np.arange(6) / 5
    green = np.stack([0.1 + 0 * season, *(np.exp(-((season - peak) ** 2) / 0.04) for peak in (0.1, 0.4, 0.65, 0.95))])
    tiles: list[dict[str, int]] = []
    (root / "DATA_S2").mkdir(parents=True)
    (root / "ANNOTATIONS").mkdir()
    for number in range(75):
        name = 10000 + number * 13
        centres, owners = random.uniform(0, size, (9, 2)), random.integers(0, 5, 9)
        owners[:2] = 1, 3
        near = np.sort([np.hypot(down - y, across - x) for y, x in centres], axis=0)
        nearest = np.argmin([np.hypot(down - y, across - x) for y, x in centres], axis=0)
        crop = owners[nearest]
        crop[near[1] - near[0] < 1.2] = 0  # hedges
        leaf = green[crop].transpose(2, 0, 1) * random.uniform(0.85, 1.1)
        bands = np.stack([900 - 500 * leaf, 1000 - 300 * leaf, 1300 - 900 * leaf, 1500 + 2800 * leaf], 1)
        bands += random.normal(0, 90, bands.shape) + random.normal(0, 60, (6, 4, 1, 1))
        unknown = nearest == int(random.integers(2, 9))
        label = np.where(unknown & (random.random() < 0.5), 19, crop)
        np.save(root / "DATA_S2" / f"S2_{name}.npy", bands.astype("int16"))
        np.save(root / "ANNOTATIONS" / f"TARGET_{name}.npy", label.astype("uint8"))
        tiles.append({"ID_PATCH": name, "Fold": number % 5 + 1})
    (root / "metadata.json").write_text(json.dumps([tiles[i] for i in random.permutation(len(tiles))]))
    norm = {"mean": [800.0, 940.0, 1120.0, 2060.0], "std": [200.0, 150.0, 330.0, 950.0]}
    (root / "NORM_S2_patch.json").write_text(json.dumps(norm))


def glands(root: Path) -> None:
    """Histology as BMP, beside it `_anno`: 0 and a number for every gland."""
    random = np.random.default_rng(48)
    for number in range(80):
        name = f"train_{number + 1}" if number < 64 else f"testA_{number - 63}"
        tissue = np.array([0.86, 0.62, 0.76]) + 0.5 * (_scene(random, 64, 3) - 0.33)
        nuclei = nd.gaussian_filter(random.normal(size=(64, 64)), 1) > 0.42
        tissue[nuclei] -= [0.3, 0.28, 0.15]
        anno = np.zeros((64, 64), "uint8")
        for place in random.permutation([(18, 18), (18, 46), (46, 18), (46, 46)])[: random.integers(2, 5)]:
            gland = _blob(random, 64, tuple(place + random.uniform(-3, 3, 2)), random.uniform(9, 13)) & (anno == 0)
            lumen = nd.binary_erosion(gland, iterations=5)
            tissue[gland] = np.array([0.48, 0.3, 0.58]) + random.normal(0, 0.05, (int(gland.sum()), 3))
            tissue[lumen] = np.array([0.93, 0.88, 0.92]) + random.normal(0, 0.02, (int(lumen.sum()), 3))
            anno[gland] = anno.max() + 1
        _save(root / f"{name}.bmp", _stored([tissue + random.normal(0, 0.02, tissue.shape)])[0])
        _save(root / f"{name}_anno.bmp", anno)


FOLDERS: tuple[Callable[[Path], None], ...] = (
    brats, cloud38, foot_ulcers, endoscopy, levir_cd, cracks, parcels, glands,
)  # fmt: skip
