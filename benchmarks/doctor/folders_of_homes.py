"""Folders of eight data sets that people practise on at home, as they come out of the archive."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from benchmarks.doctor.folders import _save
from benchmarks.doctor.folders_of_forums import _blob
from benchmarks.doctor.folders_of_labs import _uneven
from benchmarks.doctor.pictures import VOID, _scene, _stored
from PIL import Image
from scipy import ndimage as nd


def _light(random: np.random.Generator, image: np.ndarray, noise: float) -> np.ndarray:
    """A lens that blurs, a lamp to one side, a sensor; stored in 8 bits."""
    lamp = _uneven(random, image.shape[:2], 0.4)
    image = nd.gaussian_filter(image, (0.6, 0.6) + (0,) * (image.ndim - 2))
    lamp = lamp[..., None] if image.ndim == 3 else lamp
    return _stored([image * lamp + random.normal(0, noise, image.shape)])[0]


def leaf_disease(root: Path) -> None:
    """JPEG photographs of leaves with brown spots; `_mask` PNGs of 0 and 255; some leaves are sound."""
    random = np.random.default_rng(71)
    size = 96
    for number in range(110):
        image = random.uniform(0.35, 0.75) + 0.7 * (_scene(random, size, 3) - 0.33)
        leaf = _blob(random, size, tuple(random.uniform(44, 52, 2)), random.uniform(34, 41))
        green = np.array([0.3, 0.52, 0.2]) * random.uniform(0.75, 1.2) * [random.uniform(0.8, 1.2), 1, 1]
        image[leaf] = green + 0.5 * (_scene(random, size, 1)[leaf] - 0.33)
        veins = leaf & (np.abs((np.mgrid[:size, :size].sum(0) + random.integers(0, 12)) % 13) == 0)
        image[veins] *= 1.25
        mask = np.zeros((size, size), bool)
        for _ in range(0 if number % 11 == 4 else random.integers(2, 6)):
            middle = tuple(random.uniform(22, 74, 2))
            radius = random.uniform(3.5, 9)
            spot = _blob(random, size, middle, radius) & leaf
            image[spot] = np.array([0.5, 0.36, 0.16]) * random.uniform(0.75, 1.1) + random.normal(0, 0.04, (1, 3))
            image[_blob(random, size, middle, radius * 0.4) & spot] *= 0.7
            mask |= spot
        name = f"{number + 1:05d}"
        _save(root / "images" / f"{name}.jpg", _light(random, image, 0.03), quality=93)
        _save(root / "masks" / f"{name}_mask.png", (255 * mask).astype("uint8"))


def pantry(root: Path) -> None:
    """Fruit on a table; PNG ids 0 table, 1 apple, 2 banana, 3 orange; `train` and `test`."""
    random = np.random.default_rng(72)
    size = 80
    down, across = np.mgrid[:size, :size]
    for number in range(100):
        label = np.zeros((size, size), "uint8")
        image = np.array([0.55, 0.42, 0.3]) * random.uniform(0.7, 1.3) + 0.8 * (_scene(random, size, 3) - 0.33)
        image *= 1 + 0.08 * np.sin(across / random.uniform(1.5, 3) + down * random.uniform(-0.1, 0.1))[..., None]
        for kind in random.permutation(3)[: random.integers(1, 4)] + 1:
            y, x = random.uniform(18, 62, 2)
            if kind == 2:
                bow = np.hypot(down - y - 20, across - x)
                shape = (np.abs(bow - 20) < 4.5) & (down < y + 8) & (np.abs(across - x) < 21)
                color = np.array([0.9, 0.78, 0.22])
            else:
                shape = np.hypot(down - y, across - x) < random.uniform(9, 14)
                color = np.array([0.72, 0.14, 0.12]) if kind == 1 else np.array([0.93, 0.52, 0.1])
            if kind == 1 and random.random() < 0.3:
                color = np.array([0.5, 0.65, 0.2])
            shade = 1 - 0.35 * np.clip((down - y + across - x) / 26, -1, 1)[..., None]
            image[shape] = (color * random.uniform(0.85, 1.1) * shade)[shape]
            label[shape] = kind
        split = "test" if number % 5 == 3 else "train"
        _save(root / split / "images" / f"IMG_{number * 37 % 1000:04d}.png", _light(random, image, 0.03))
        _save(root / split / "labels" / f"IMG_{number * 37 % 1000:04d}.png", label)


def montgomery(root: Path) -> None:
    """Chest films as grey PNG, the lungs as 0 and 255; a table of the files; the mask's name has `_mask` at its end."""
    random = np.random.default_rng(73)
    size = 96
    down, across = np.mgrid[:size, :size]
    rows = [("filename", "age", "finding")]
    for number in range(90):
        image = 0.72 + 0.6 * (_scene(random, size, 1)[..., 0] - 0.33)
        image[np.abs(across - 48) > random.uniform(40, 44) - 0.1 * (size - down)] = 0.05
        lungs = np.zeros((size, size), bool)
        tall, top = random.uniform(25, 33), random.uniform(42, 50)
        for side in (-1, 1):
            middle = 48 + side * random.uniform(16, 20)
            lean = (across - middle - side * 0.12 * (down - top)) / random.uniform(10, 13.5)
            lung = (((down - top) / tall) ** 2 + lean**2 <= 1) & (down < top + tall * random.uniform(0.7, 0.95))
            lungs |= lung
        image[lungs] = random.uniform(0.25, 0.42) + 0.4 * (_scene(random, size, 1)[..., 0][lungs] - 0.33)
        ribs = np.sin((down + 0.012 * (across - 48) ** 2) / 2.1 + random.uniform(0, 6)) > 0.5
        image[ribs & (image > 0.06)] += 0.13
        image[np.abs(across - 48) < 4] += 0.12
        if number % 2:
            ill = _blob(random, size, (random.uniform(30, 60), 48 + random.choice([-18, 18])), random.uniform(4, 8))
            image[ill & lungs] += 0.2
        name = f"MCUCXR_{number + 1:04d}_{number % 2}"
        _save(root / "CXR_png" / f"{name}.png", _light(random, image, 0.03))
        _save(root / "masks" / f"{name}_mask.png", (255 * lungs).astype("uint8"))
        rows.append((f"{name}.png", str(int(random.integers(18, 85))), "tuberculosis" if number % 2 else "normal"))
    with (root / "ClinicalReadings.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def mushrooms(root: Path) -> None:
    """Photographs in two sizes of a toadstool in the wood; masks of 0 and 255; lists of train and validation."""
    random = np.random.default_rng(74)
    size = 88
    down, across = np.mgrid[:size, :size]
    lists: dict[str, list[str]] = {"train": [], "valid": []}
    for number in range(96):
        image = np.array([0.3, 0.32, 0.18]) * random.uniform(0.8, 1.3) + 0.9 * (_scene(random, size, 3) - 0.33)
        for _ in range(40):
            y, x, turn = *random.uniform(0, size, 2), random.uniform(-0.6, 0.6)
            blade = (np.abs((across - x) - turn * (down - y)) < 1) & (np.abs(down - y) < random.uniform(5, 12))
            image[blade] = np.array([0.25, 0.42, 0.12]) * random.uniform(0.6, 1.5)
        y, x, wide = random.uniform(30, 48), random.uniform(30, 58), random.uniform(13, 21)
        cap = (((down - y) / (0.75 * wide)) ** 2 + ((across - x) / wide) ** 2 <= 1) & (down < y + 0.25 * wide)
        stem = (np.abs(across - x - 1.5 * np.sin(down / 9)) < 0.26 * wide) & (down >= y) & (down < y + 1.7 * wide)
        image[stem] = np.array([0.82, 0.78, 0.68]) * random.uniform(0.8, 1.1)
        tone = np.array([[0.75, 0.16, 0.1], [0.55, 0.36, 0.22], [0.8, 0.6, 0.25]])[number % 3]
        image[cap] = tone * random.uniform(0.8, 1.15)
        if number % 3 == 0:
            dots = (np.sin(across * 1.1 + number) * np.sin(down * 1.1) > 0.6) & cap
            image[dots] = 0.9
        mask = cap | stem
        cut = np.s_[:, 4:84] if number % 4 == 1 else np.s_[:, :]
        name = f"mushroom-{number:03d}"
        _save(root / "img" / f"{name}.jpg", _light(random, image, 0.03)[cut], quality=92)
        _save(root / "msk" / f"{name}.png", (255 * mask).astype("uint8")[cut])
        lists["valid" if number >= 76 else "train"].append(name)
    for split, names in lists.items():
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")


def ham(root: Path) -> None:
    """Dermoscopy in JPEG, `_segmentation` PNGs of 0 and 255, hairs and a dark vignette; metadata name the lesion."""
    random = np.random.default_rng(75)
    size = 80
    down, across = np.mgrid[:size, :size]
    rows = [("lesion_id", "image_id", "dx")]
    for number in range(100):
        if number % 4 != 3:  # every fourth is a second photograph of the lesion before
            middle, radius = tuple(random.uniform(32, 48, 2)), random.uniform(7, 17)
            brown = np.array([0.42, 0.26, 0.18]) * random.uniform(0.7, 1.35)
        skin = np.array([0.82, 0.62, 0.54]) * random.uniform(0.85, 1.1)
        image = skin + 0.45 * (_scene(random, size, 3) - 0.33)
        mask = _blob(random, size, middle, radius)
        soft = nd.gaussian_filter(mask.astype(float), random.uniform(0.6, 1.6))[..., None]
        network = 0.5 * (_scene(random, size, 1) - 0.33)
        image = image * (1 - soft) + soft * (brown + network)
        for _ in range(random.integers(0, 7)):
            hair = np.abs(across - random.uniform(0, size) - random.uniform(-0.8, 0.8) * (down - 40)) < 0.7
            image[hair] *= 0.55
        image *= np.clip(1.75 - np.hypot(down - 40, across - 40) / 48, 0.1, 1)[..., None]
        name = f"ISIC_{24306 + number:07d}"
        _save(root / "HAM_images" / f"{name}.jpg", _light(random, image, 0.02), quality=94)
        _save(root / "HAM_masks" / f"{name}_segmentation.png", (255 * mask).astype("uint8"))
        rows.append((f"HAM_{number - (number % 4 == 3):07d}", name, "mel" if number % 7 == 0 else "nv"))
    with (root / "HAM_metadata.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def kerb(root: Path) -> None:
    """Street scenes with palette PNGs: 0 road, 1 pavement, 2 house, 3 sky, 4 car; 255 on borders and on the bonnet."""
    random = np.random.default_rng(76)
    high, wide = 64, 96
    down, across = np.mgrid[:high, :wide]
    colors = np.array([[0.3, 0.3, 0.32], [0.56, 0.5, 0.5], [0.5, 0.36, 0.28], [0.66, 0.78, 0.92], [0.6, 0.15, 0.15]])
    palette = [128, 64, 128, 244, 35, 232, 70, 70, 70, 70, 130, 180, 0, 0, 142] + [0] * 750 + [224, 224, 192]
    for number in range(92):
        horizon, middle = random.uniform(26, 33), random.uniform(40, 56)
        far = np.clip((down - horizon) / (high - horizon), 0, 1)
        label = np.where(down < horizon, 3, 1)
        roofs = horizon - 5 - 14 * np.abs(nd.gaussian_filter1d(random.normal(size=wide // 8 + 1), 1)).repeat(8)[:wide]
        label[(down >= roofs) & (down < horizon + 2)] = 2
        label[(np.abs(across - middle) < 4 + random.uniform(32, 40) * far) & (down >= horizon)] = 0
        tones = colors * random.uniform(0.8, 1.2, (5, 1)) + random.normal(0, 0.04, (5, 3))
        image = tones[label] + 0.6 * (_scene(random, wide, 3)[:high] - 0.33)
        windows = (label == 2) & (down % 5 < 2) & (across % 6 < 3)
        image[windows] *= 0.55
        for _ in range(random.integers(1, 4)):
            foot = random.uniform(horizon + 6, high - 6)
            half = 3 + 0.28 * (foot - horizon)
            side = middle + random.uniform(-0.7, 0.7) * (foot - horizon)
            body = (np.abs(across - side) < half) & (down < foot) & (down > foot - 1.15 * half)
            image[body] = random.choice(np.array([[0.7, 0.1, 0.1], [0.1, 0.15, 0.5], [0.85, 0.85, 0.85]]), axis=0)
            image[body & (down < foot - 0.7 * half)] *= 0.5
            image[body & (down > foot - 2)] = 0.06
            label[body] = 4
        label[nd.maximum_filter(label, 3) != nd.minimum_filter(label, 3)] = VOID
        label[high - int(random.integers(3, 7)) :] = VOID
        split = "val" if number >= 72 else "train"
        name = f"{number // 6:02d}_{number * 971 % 9973:06d}"
        _save(root / "images" / split / f"{name}.png", _light(random, image, 0.03))
        drawn = Image.fromarray(label.astype("uint8"))
        drawn.putpalette(palette)
        (root / "labels" / split).mkdir(parents=True, exist_ok=True)
        drawn.save(root / "labels" / split / f"{name}.png")


def acdc(root: Path) -> None:
    """A folder a patient, short axes at two phases as NIfTI with `_gt`: 1 right ventricle, 2 muscle, 3 left one."""
    random = np.random.default_rng(77)
    size, slices = 64, 6
    down, across = np.mgrid[:size, :size]
    for number in range(12):
        patient = f"patient{number + 1:03d}"
        gain, body, (y, x) = random.uniform(200, 900), random.uniform(0.25, 0.4), random.uniform(27, 36, 2)
        for frame, beat in ((1, 1.0), (10, 0.72)):
            volume, labels = np.zeros((slices, size, size)), np.zeros((slices, size, size), "uint8")
            for z in range(slices):
                radius = beat * random.uniform(6.3, 7.2) * (1 - 0.1 * abs(z - 2))
                wall = 3.2 + 1.6 * (1 - beat)
                far = np.hypot(down - y, across - x) + 0.3 * np.sin(3 * np.arctan2(down - y, across - x))
                right = (((down - y) / (1.25 * radius)) ** 2 + ((across - x + radius + wall) / radius) ** 2) <= 1.2
                label = labels[z]
                if z < slices - 1 or number % 3:
                    label[right & (far > radius + wall)] = 1
                    label[(far > radius) & (far <= radius + wall)] = 2
                    label[far <= radius] = 3
                image = body + 0.8 * (_scene(random, size, 1)[..., 0] - 0.33)
                image[_blob(random, size, (52, 14), 10)] = 0.5
                image[_blob(random, size, (12, 54), 8)] = 0.08
                image[np.isin(label, (1, 3))] = random.uniform(0.8, 0.95)
                image[label == 2] = random.uniform(0.12, 0.2)
                volume[z] = np.clip(nd.gaussian_filter(image, 0.7) + random.normal(0, 0.04, image.shape), 0, None)
            folder = root / "training" / patient
            folder.mkdir(parents=True, exist_ok=True)
            space = np.diag([1.5, 1.5, 10.0, 1.0])
            name = f"{patient}_frame{frame:02d}"
            stored = (gain * volume).astype("int16").transpose(2, 1, 0)
            nib.save(nib.Nifti1Image(stored, space), folder / f"{name}.nii.gz")
            nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), space), folder / f"{name}_gt.nii.gz")


def dubai(root: Path) -> None:
    """Aerial tiles of a few sites in JPEG; masks painted: sand, water, road, roof and, grey, what nobody labelled."""
    random = np.random.default_rng(78)
    size = 72
    paint = np.array([[132, 41, 246], [226, 169, 41], [110, 193, 228], [60, 16, 152], [155, 155, 155]], "uint8")
    colors = np.array([[0.74, 0.62, 0.46], [0.12, 0.3, 0.38], [0.36, 0.36, 0.38], [0.82, 0.8, 0.78]])
    down, across = np.mgrid[:size, :size]
    for site in range(1, 9):
        tint = random.uniform(0.85, 1.12, 3)
        for part in range(1, 13):
            label = np.zeros((size, size), int)
            label[nd.gaussian_filter(random.normal(size=(size, size)), 8) * 16 > random.uniform(0.5, 0.9)] = 1
            turn, place = random.uniform(-0.7, 0.7), random.uniform(20, 52)
            label[np.abs(across - place - turn * (down - 36)) < random.uniform(2.5, 4.5)] = 2
            if part % 2:
                label[np.abs(down - random.uniform(12, 60) + turn * (across - 36)) < 3] = 2
            for _ in range(random.integers(2, 7)):
                y, x, a, b = *random.uniform(6, 66, 2), *random.uniform(4, 8, 2)
                house = (np.abs(down - y) < a) & (np.abs(across - x) < b)
                label[house & (label == 0)] = 3
            texture = 0.5 * (_scene(random, size, 3) - 0.33)
            image = colors[label] * tint * random.uniform(0.9, 1.1, (4, 3))[label] + texture
            roofs = label == 3
            image[roofs & (nd.uniform_filter(roofs.astype(float), 5) < 0.9)] *= 0.8
            shadow = np.roll(roofs, (2, 2), (0, 1)) & ~roofs
            image[shadow] *= 0.55
            if part % 6 == 0:
                label[: int(random.integers(6, 16))] = 4
            folder = root / f"Tile {site}"
            _save(folder / "images" / f"image_part_{part:03d}.jpg", _light(random, image, 0.03), quality=93)
            _save(folder / "masks" / f"image_part_{part:03d}.png", paint[label])


FOLDERS: tuple[Callable[[Path], None], ...] = (
    leaf_disease, pantry, montgomery, mushrooms, ham, kerb, acdc, dubai,
)  # fmt: skip
