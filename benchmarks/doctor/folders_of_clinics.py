"""Folders of eight data sets from surgeries and their laboratories, as somebody copied them to a laptop."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from benchmarks.doctor.folders import _save
from benchmarks.doctor.folders_of_forums import _blob
from benchmarks.doctor.folders_of_homes import _light
from benchmarks.doctor.pictures import _scene
from scipy import ndimage as nd


def dental(root: Path) -> None:
    """Panoramic films as grey PNG with masks of 0 ground, 1 tooth, 2 filling; `list.csv` names patient and split."""
    random = np.random.default_rng(81)
    high, wide = 64, 96
    down, across = np.mgrid[:high, :wide]
    rows = [("file", "patient", "split")]
    for number in range(80):
        image = random.uniform(0.3, 0.4) + 0.7 * (_scene(random, wide, 1)[:high, :, 0] - 0.33)
        label = np.zeros((high, wide), "uint8")
        middle, bow = random.uniform(29, 35), random.uniform(0.002, 0.005)
        bite = middle + bow * (across - 48) ** 2
        image[(down < bite - 22) | (down > bite + 22)] -= 0.12
        for upper in (-1, 1):
            place = random.uniform(5, 12)
            while place < wide - 5:
                half, tall = random.uniform(2.6, 4.6), random.uniform(12, 18)
                away = upper * (down - bite) - 1
                tooth = (away > 0) & (away < tall) & (np.abs(across - place) < half * (1 - 0.5 * (away / tall) ** 2))
                if random.random() > 0.12:
                    image[tooth] += random.uniform(0.18, 0.3)
                    image[tooth & (np.abs(across - place) < 0.8) & (away > 4)] -= 0.1
                    label[tooth] = 1
                    if random.random() < 0.3:
                        spot = _blob(random, wide, (bite[0, int(place)] + upper * 4.5, place), random.uniform(1.8, 3))
                        image[spot[:high] & tooth] = random.uniform(0.9, 1.0)
                        label[spot[:high] & tooth] = 2
                place += 2 * half + random.uniform(0.6, 2)
        name = f"opg_{number + 101}.png"
        _save(root / "films" / name, _light(random, image, 0.025))
        _save(root / "labels" / name, label)
        rows.append((name, f"P{number // 2:03d}", "test" if number // 2 % 4 == 1 else "train"))
    with (root / "list.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def thyroid(root: Path) -> None:
    """Ultrasound frames and masks of nodules as TIFF; every eighth gland has none."""
    random = np.random.default_rng(82)
    size = 80
    down, across = np.mgrid[:size, :size]
    for number in range(84):
        image = random.uniform(0.42, 0.55) + 0.6 * (_scene(random, size, 1)[..., 0] - 0.33)
        layers = nd.gaussian_filter1d(random.normal(size=size), 2)[:, None] * 0.25
        image += layers * (down < 22)
        mask = np.zeros((size, size), bool)
        if number % 8 != 5:
            middle, radius = tuple(random.uniform(28, 56, 2)), random.uniform(8, 16)
            mask = _blob(random, size, middle, radius)
            image[mask] -= random.uniform(0.2, 0.3)
            image[nd.binary_dilation(mask, iterations=1) & ~mask] += 0.08
            behind = (np.abs(across - middle[1]) < 0.6 * radius) & (down > middle[0] + radius)
            image[behind] += 0.07
        tube = np.hypot((down - random.uniform(30, 60)) / 0.8, across - random.choice([7, 73])) < random.uniform(4, 7)
        image[tube & ~mask] = 0.08
        speckle = nd.gaussian_filter(random.rayleigh(0.8, (size, size)), (0.5, 0.9))
        image = np.clip(image, 0.02, 1) * (0.55 + 0.45 * speckle) * (1.1 - 0.004 * down)
        name = f"case{number:03d}"
        pixels = (255 * np.clip(nd.gaussian_filter(image, 0.5), 0, 1)).astype("uint8")
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "masks").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(root / "images" / f"{name}.tif", pixels)
        tifffile.imwrite(root / "masks" / f"{name}.tif", (255 * mask).astype("uint8"))


def fundus(root: Path) -> None:
    """Colour photographs of the nerve's head in JPEG; BMP masks of 255 ground, 128 disc and 0 cup; three folders."""
    random = np.random.default_rng(83)
    size = 96
    for number in range(84):
        image = np.array([0.72, 0.36, 0.18]) * random.uniform(0.75, 1.15) + 0.5 * (_scene(random, size, 3) - 0.33)
        (y, x), radius = random.uniform(36, 60, 2), random.uniform(17, 24)
        disc = _blob(random, size, (y, x), radius)
        cup = _blob(
            random, size, (y + random.uniform(-2, 2), x + random.uniform(-2, 2)), radius * random.uniform(0.4, 0.7)
        )
        cup &= nd.binary_erosion(disc, iterations=2)
        soft = nd.gaussian_filter(disc.astype(float), 1.2)[..., None]
        image = image * (1 - soft) + soft * np.array([0.88, 0.58, 0.3]) * random.uniform(0.9, 1.08)
        image[cup] = np.array([0.98, 0.84, 0.6]) * random.uniform(0.93, 1.05)
        for _ in range(random.integers(5, 9)):
            turn, bend = random.uniform(0, 2 * np.pi), random.normal(0, 0.012)
            far = np.arange(0, 70, 0.5)
            line = turn + bend * far
            rows, columns = (y + far * np.sin(line)).astype(int), (x + far * np.cos(line)).astype(int)
            inside = (rows >= 0) & (rows < size - 1) & (columns >= 0) & (columns < size - 1)
            for step in (0, 1):
                image[rows[inside] + step, columns[inside]] *= np.array([0.72, 0.55, 0.6])
        mask = np.full((size, size), 255, "uint8")
        mask[disc] = 128
        mask[cup] = 0
        split = "train" if number < 56 else "val" if number < 70 else "test"
        _save(root / split / "images" / f"g{number + 1:04d}.jpg", _light(random, image, 0.02), quality=94)
        _save(root / split / "gts" / f"g{number + 1:04d}.bmp", mask)


def slides(root: Path) -> None:
    """Stained tiles of nine patients as PNG; labels 0 stroma, 1 tumour, 2 lymphocytes, and 255 nobody looked at."""
    random = np.random.default_rng(84)
    size = 80
    for patient in range(9):
        stain = np.array([0.86, 0.62, 0.76]) * random.uniform(0.9, 1.08, 3)
        for tile in range(8):
            image = stain + 0.6 * (_scene(random, size, 3) - 0.33)
            fibre = nd.gaussian_filter(random.normal(size=(size, size)), (1, 6) if tile % 2 else (5, 1.2))
            image += 0.7 * fibre[..., None]
            field = nd.gaussian_filter(random.normal(size=(size, size)), 8) * 16
            label = np.zeros((size, size), "uint8")
            label[field > random.uniform(0.2, 0.6)] = 1
            label[field < random.uniform(-1.1, -0.6)] = 2
            image[label == 1] = image[label == 1] * 0.86 - np.array([0.1, 0.16, 0.05])
            for kind, count, radius in ((0, 14, 1.5), (1, 170, 2.7), (2, 420, 1.7)):
                for y, x in random.uniform(0, size, (count, 2)):
                    if label[int(y), int(x)] == kind:
                        top, left = max(int(y) - 5, 0), max(int(x) - 5, 0)
                        window = np.s_[top : min(int(y) + 6, size), left : min(int(x) + 6, size)]
                        rows, columns = np.mgrid[window]
                        cell = np.hypot(rows - y, columns - x) < radius * random.uniform(0.8, 1.2)
                        image[window][cell] = np.array([0.42, 0.24, 0.52]) * random.uniform(0.75, 1.2)
            if tile % 3 == 1:
                label[:, : int(random.integers(8, 22))] = 255
            name = f"pt{patient + 1:02d}_{tile:02d}.png"
            _save(root / "tiles" / name, _light(random, image, 0.02))
            _save(root / "annotation" / name, label)


def malaria(root: Path) -> None:
    """Thin blood films in JPEG, parasites as 1 in PNG, about three percent; a JSON file names slide and files."""
    random = np.random.default_rng(85)
    size = 88
    entries = []
    for number in range(84):
        image = np.array([0.88, 0.84, 0.82]) * random.uniform(0.9, 1.08) + 0.35 * (_scene(random, size, 3) - 0.33)
        mask = np.zeros((size, size), bool)
        sick = random.integers(1, 5) if number % 9 else 0
        for cell in range(random.integers(11, 17)):
            middle = random.uniform(4, size - 4, 2)
            body = _blob(random, size, tuple(middle), random.uniform(7, 9))
            soft = nd.gaussian_filter(body.astype(float), 0.8)[..., None]
            image = image * (1 - soft) + soft * np.array([0.8, 0.58, 0.6]) * random.uniform(0.94, 1.06)
            mask &= ~body
            if cell >= 11 - sick and cell < 11:
                inner = _blob(random, size, tuple(middle + random.uniform(-2, 2, 2)), random.uniform(3.2, 5.2))
                image[inner] = np.array([0.5, 0.3, 0.58]) * random.uniform(0.9, 1.15)
                hollow = nd.binary_erosion(inner, iterations=3)
                image[hollow] = np.array([0.72, 0.52, 0.64])
                mask |= inner
        if number % 3 == 0:  # a platelet is dark too
            image[_blob(random, size, tuple(random.uniform(8, 80, 2)), 2)] = np.array([0.55, 0.38, 0.6])
        name = f"film_{number * 53 % 1009:04d}"
        _save(root / "photos" / f"{name}.jpg", _light(random, image, 0.02), quality=94)
        _save(root / "parasites" / f"{name}.png", mask.astype("uint8"))
        entries.append({"slide": f"S{number // 4:02d}", "photo": f"{name}.jpg", "parasites": f"{name}.png"})
    (root / "index.json").write_text(json.dumps(entries, indent=1))


def instruments(root: Path) -> None:
    """Frames of six operations as JPEG; PNG 0 tissue, 1 shaft, 2 jaws and 255 where the picture has no content."""
    random = np.random.default_rng(86)
    high, wide = 64, 80
    down, across = np.mgrid[:high, :wide]
    for operation in range(6):
        tint = np.array([0.7, 0.3, 0.26]) * random.uniform(0.85, 1.15, 3)
        for frame in range(14):
            image = tint + 1.1 * (_scene(random, wide, 3)[:high] - 0.33)
            image += 0.5 * nd.gaussian_filter(random.normal(size=(high, wide)), 3)[..., None]
            label = np.zeros((high, wide), "uint8")
            for side in random.permutation([-1, 1])[: random.integers(1, 3)]:
                tip = np.array([random.uniform(22, 42), 40 + side * random.uniform(2, 16)])
                start = np.array([random.uniform(20, 64), 40 + side * 46])
                along = (start - tip) / np.hypot(*(start - tip))
                v = (down - tip[0]) * along[0] + (across - tip[1]) * along[1]
                u = (across - tip[1]) * along[0] - (down - tip[0]) * along[1]
                thick = random.uniform(3.2, 4.8)
                shaft = (v > 11) & (np.abs(u) < thick)
                jaws = (v > 0) & (v <= 11) & (np.abs(np.abs(u) - 0.25 * (11 - v)) < 1.9)
                image[shaft] = np.array([0.3, 0.31, 0.34]) * random.uniform(0.7, 1.2)
                image[shaft & (np.abs(u - 1) < 0.9)] += 0.3
                image[jaws] = np.array([0.78, 0.8, 0.82]) * random.uniform(0.88, 1.05)
                label[shaft], label[jaws] = 1, 2
            glint = nd.gaussian_filter(random.normal(size=(high, wide)), 1.5) > 0.42
            image[glint & (label == 0)] = 0.95
            outside = (np.abs(across - 40) > 36) & (np.abs(down - 32) + np.abs(across - 40) > 56)
            image[outside], label[outside] = 0.02, 255
            folder = root / f"op{operation + 1}"
            _save(folder / "raw" / f"frame{frame:03d}.jpg", _light(random, image, 0.02), quality=93)
            _save(folder / "labels" / f"frame{frame:03d}.png", label)


def cervix(root: Path) -> None:
    """Smears as PNG; two masks a picture, `cytoplasm` and `nuclei` of 0 and 255, and a nucleus lies in both."""
    random = np.random.default_rng(87)
    size = 80
    for number in range(76):
        image = np.array([0.84, 0.86, 0.88]) * random.uniform(0.92, 1.06) + 0.4 * (_scene(random, size, 3) - 0.33)
        bodies, kernels = np.zeros((size, size), bool), np.zeros((size, size), bool)
        tone = np.array([[0.56, 0.72, 0.78], [0.84, 0.62, 0.7]])[number % 2] * random.uniform(0.94, 1.06)
        for _ in range(random.integers(2, 5)):
            middle = random.uniform(14, size - 14, 2)
            body = _blob(random, size, tuple(middle), random.uniform(10, 16))
            soft = nd.gaussian_filter(body.astype(float), 0.9)[..., None]
            image = image * (1 - soft) + soft * (0.3 * image + 0.7 * tone)
            kernel = _blob(random, size, tuple(middle + random.uniform(-3, 3, 2)), random.uniform(3, 5)) & body
            image[kernel] = np.array([0.36, 0.28, 0.46]) * random.uniform(0.85, 1.2)
            bodies |= body
            kernels |= kernel
        for y, x in random.uniform(4, 76, (random.integers(0, 6), 2)):  # leucocytes lie beside
            image[_blob(random, size, (y, x), 1.5)] *= 0.7
        name = f"smear_{number + 1:03d}.png"
        _save(root / "images" / name, _light(random, image, 0.02))
        _save(root / "cytoplasm" / name, (255 * bodies).astype("uint8"))
        _save(root / "nuclei" / name, (255 * kernels).astype("uint8"))


def knees(root: Path) -> None:
    """Slices of fourteen knees, a 16 bit NPZ each: `mri` (slices, height, width) and `seg` 0, 1 bone, 2 cartilage."""
    random = np.random.default_rng(88)
    size, slices = 64, 6
    down, across = np.mgrid[:size, :size]
    root.mkdir(parents=True, exist_ok=True)
    for knee in range(14):
        gain, gap, lean = random.uniform(300, 1400), random.uniform(29, 35), random.uniform(-0.1, 0.1)
        mri, seg = np.zeros((slices, size, size), "uint16"), np.zeros((slices, size, size), "uint8")
        for part in range(slices):
            image = 0.32 + 0.7 * (_scene(random, size, 1)[..., 0] - 0.33)
            image[np.abs(across - 32) > 27 + 0.08 * np.abs(down - 32)] = 0.04
            wave = gap + lean * (across - 32) + 1.2 * np.sin(across / 6 + part / 3)
            width = 19 + 2 * np.sin(part)
            for side in (-1, 1):
                away = side * (down - wave)
                bone = (away > 4) & (np.abs(across - 32) < width - 0.16 * np.clip(away - 10, 0, 99))
                rim = (away > 0.8) & (away <= random.uniform(4.2, 5.2)) & (np.abs(across - 32) < width - 1)
                image[bone] = random.uniform(0.5, 0.62) + 0.4 * (_scene(random, size, 1)[..., 0][bone] - 0.33)
                image[bone & (away < 6)] = 0.14
                image[rim] = random.uniform(0.82, 0.96)
                seg[part][bone], seg[part][rim] = 1, 2
            image[_blob(random, size, (random.uniform(20, 44), 32 + random.choice([-25, 25])), 4)] = 0.85
            image = nd.gaussian_filter(image, 0.6) + random.normal(0, 0.035, image.shape)
            mri[part] = (gain * np.clip(image, 0, 1.4)).astype("uint16")
        np.savez_compressed(root / f"knee_{knee + 1:02d}.npz", mri=mri, seg=seg)


FOLDERS: tuple[Callable[[Path], None], ...] = (
    dental, thyroid, fundus, slides, malaria, instruments, cervix, knees,
)  # fmt: skip
