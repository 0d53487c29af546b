"""Folders of eight data sets that engineers and students label for themselves: surveys, scans, benches, archives."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
from benchmarks.doctor.folders import _save
from benchmarks.doctor.folders_of_forums import _blob
from benchmarks.doctor.folders_of_homes import _light
from benchmarks.doctor.folders_of_strangers import _cloudy
from PIL import Image
from scipy import ndimage as nd


def corrosion(root: Path) -> None:
    """Walls of fifteen bridges, three overlapping photographs and three others each; rust in greys 0, 80, 160 and 240.

    A third of the JPEG photographs were taken upside down and say so in their EXIF orientation.
    """
    random = np.random.default_rng(201)
    high, wide = 108, 144
    rows = [("photo", "structure", "part")]
    for bridge in range(15):
        paint = np.array([[0.5, 0.54, 0.58], [0.36, 0.48, 0.4], [0.36, 0.44, 0.58], [0.6, 0.57, 0.48]])[bridge % 4]
        for shot in range(6):
            if shot in (0, 3, 4, 5):  # photographs 1 and 2 show the wall of 0, a step further on
                long = wide + 40 if shot == 0 else wide
                wall = paint * random.uniform(0.8, 1.2) + 0.03 * _cloudy(random, (high, long, 3), 4)
                down, across = np.mgrid[:high, :long]
                wall[np.abs(across - random.uniform(20, long - 20)) < 3] *= 0.72
                for y in range(int(random.integers(8, 16)), high, 24):
                    for x in range(int(random.integers(5, 12)), long, 24):
                        wall[np.hypot(down - y, across - x) < 3] *= 1.25
                depth = _cloudy(random, (high, long), 10) + 0.12 * _cloudy(random, (high, long), 2)
                depth += random.uniform(-0.7, 0.3)
                state = (depth > 0.35).astype(int) + (depth > 0.85) + (depth > 1.4)
                grain = _cloudy(random, (high, long), 1)[..., None]
                colors = np.array([[0, 0, 0], [0.66, 0.5, 0.34], [0.55, 0.31, 0.16], [0.27, 0.15, 0.12]])
                rust = colors[state] * (1 + 0.1 * grain * state[..., None] ** 0.5)
                wall = np.where(
                    state[..., None] == 1, 0.5 * wall + 0.5 * rust, np.where(state[..., None] > 1, rust, wall)
                )
                wall[random.random((high, long)) < 0.03] *= 0.8
            left = 20 * shot if shot < 3 else 0
            photo = _light(random, wall[:, left : left + wide], 0.03)
            painted = (80 * state[:, left : left + wide]).astype("uint8")
            name = f"B{bridge + 1:02d}_{shot:02d}"
            exif = Image.Exif()
            if (bridge + shot) % 3 == 1:
                photo, exif[0x0112] = photo[::-1, ::-1], 3
            _save(root / "photos" / f"{name}.jpg", photo, quality=93, exif=exif)
            _save(root / "rating" / f"{name}.png", painted)
            rows.append((f"{name}.jpg", f"B{bridge + 1:02d}", "test" if bridge % 5 == 3 else "train"))
    with (root / "inspection.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def manuscripts(root: Path) -> None:
    """Cuttings of eighteen parchment pages; in the blue of the PNG labels the bits 2 comment, 4 decoration, 8 text.

    A pixel may carry several of them, 1 alone is parchment, and 128 in the red marks the unsure rim of the ink.
    """
    random = np.random.default_rng(202)
    high, wide = 80, 96
    down, across = np.mgrid[:high, :wide]
    for page in range(18):
        parchment = np.array([0.86, 0.79, 0.64]) * random.uniform(0.85, 1.08)
        ink = np.array([0.28, 0.2, 0.14]) * random.uniform(0.7, 1.5)
        for part in range(5):
            image = parchment + 0.03 * _cloudy(random, (high, wide, 3), 7) + 0.015 * _cloudy(random, (high, wide, 3), 1)
            stain = _cloudy(random, (high, wide), 8) > 1.3
            image[stain] *= 0.88
            bits = np.zeros((high, wide), "uint8")
            margin = random.uniform(26, 36) if part % 2 else wide - random.uniform(26, 36)
            for y in np.arange(random.uniform(6, 10), high - 4, random.uniform(12, 14)):  # the text, large
                spell = _cloudy(random, (high, wide), 1.1) * (np.sin(across / 1.5 + random.uniform(0, 6)) > -0.55)
                line = (np.abs(down - y - 0.6 * np.sin(across / 14)) < 3.4) & (spell > 0.1)
                line &= (across > margin + 3) if part % 2 else (across < margin - 3)
                image[line] = (ink + 0.04 * _cloudy(random, (high, wide, 3), 1))[line]
                bits[line] |= 8
            for y in np.arange(random.uniform(4, 8), high - 3, random.uniform(6.5, 8)):  # a comment beside it, small
                if random.random() < 0.3:
                    continue
                spell = _cloudy(random, (high, wide), 0.7) * (np.sin(across / 0.9) > -0.7)
                line = (np.abs(down - y) < 1.6) & (spell > 0.0)
                line &= ((across < margin - 3) if part % 2 else (across > margin + 3)) & (across % (wide - 3) > 3)
                image[line] = (ink * 1.5 + 0.1)[None] + 0.03 * random.normal(size=(int(line.sum()), 3))
                bits[line] |= 2
            for _ in range(random.integers(1, 3)):  # an initial, here and there upon the text
                x = random.uniform(margin + 4, wide - 10) if part % 2 else random.uniform(10, margin - 4)
                shape = _blob(random, wide, (random.uniform(10, high - 10), x), random.uniform(6, 11))[:high]
                tone = np.array([[0.7, 0.16, 0.13], [0.2, 0.3, 0.6], [0.72, 0.55, 0.14]])[random.integers(3)]
                paint = tone * random.uniform(0.85, 1.1) + 0.04 * _cloudy(random, (high, wide, 3), 2)
                image[shape] = (0.85 * paint + 0.15 * image)[shape]
                image[shape & (bits == 8)] *= 0.62
                bits[shape] |= 4
            rim = (bits > 0) ^ nd.binary_dilation(bits > 0)
            label = np.stack([np.where(rim, 128, 0), np.zeros_like(bits), np.where(bits, bits, 1)], -1).astype("uint8")
            name = f"csg{page + 1:04d}_{part}.png"
            _save(root / "img" / name, _light(random, image, 0.025))
            _save(root / "pixel-level-gt" / name, label)


def rice(root: Path) -> None:
    """Grains on a tray in PNG, some of them touching, and 16 bit PNG numbers of the grains; chaff is not numbered."""
    random = np.random.default_rng(203)
    size = 72
    down, across = np.mgrid[:size, :size]

    def ellipse(y: float, x: float, long: float, thick: float) -> tuple[np.ndarray, np.ndarray]:
        turn = random.uniform(0, np.pi)
        u = ((across - x) * np.cos(turn) + (down - y) * np.sin(turn)) / long
        v = ((down - y) * np.cos(turn) - (across - x) * np.sin(turn)) / thick
        return np.hypot(u, v) <= 1, 1 - 0.3 * v**2

    for number in range(84):
        tray = np.array([[0.25, 0.33, 0.48], [0.3, 0.32, 0.33], [0.2, 0.36, 0.34]])[number % 3]
        image = tray * random.uniform(0.8, 1.2) + 0.04 * _cloudy(random, (size, size, 3), 5)
        image += 0.03 * np.sin(across / 2.4)[..., None]
        for _ in range(random.integers(3, 8)):
            husk, shade = ellipse(*random.uniform(0, size, 2), random.uniform(4, 8), random.uniform(1, 1.8))
            image[husk] = (np.array([0.56, 0.44, 0.24]) * random.uniform(0.7, 1.1) * shade[..., None])[husk]
        for _ in range(2):
            image[_blob(random, size, tuple(random.uniform(0, size, 2)), 2)] = 0.7  # dust, bright but round
        ids = np.zeros((size, size), "uint16")
        heap = random.uniform(20, size - 20, 2)
        for grain in range(1, int(random.integers(7, 15))):
            place = heap + random.normal(0, 13, 2) if random.random() < 0.6 else random.uniform(4, size - 4, 2)
            shape, shade = ellipse(*place, random.uniform(8, 10.5), random.uniform(3.2, 4.4))
            tone = np.array([0.86, 0.83, 0.74]) * random.uniform(0.75, 1.1)
            image[nd.binary_dilation(shape) & ~shape] *= 0.7
            image[shape] = (tone * shade[..., None] + 0.04 * _cloudy(random, (size, size, 3), 1.5))[shape]
            ids[shape] = grain + 40 * (number % 4)
        _save(root / "photos" / f"tray-{number:03d}.png", _light(random, image, 0.025))
        _save(root / "instances" / f"tray-{number:03d}.png", ids)


def seismic(root: Path) -> None:
    """A cube of reflections, `amplitude.npy` in inlines, crosslines and samples, and `facies.npy` of 0 to 4."""
    random = np.random.default_rng(204)
    lines, cross, deep = 96, 96, 64

    def field(width: float) -> np.ndarray:
        noise = nd.gaussian_filter(random.normal(size=(lines, cross)), width)
        return noise / noise.std()

    t = np.arange(deep)[None, None].astype(float)
    tops = [base + 3.0 * field(14) + 1.2 * field(5) for base in (11, 23, 37, 50)]
    fault = 4.0 * (np.arange(cross)[None] > 55 + 8 * field(16))
    tops = np.sort(np.stack([top + fault for top in tops]), 0)
    facies = sum((t >= top[..., None]).astype(int) for top in tops)
    bend = (tops[0] + tops[2])[..., None] / 2
    slope = np.arange(cross)[None, :, None]
    rough = nd.gaussian_filter(random.normal(size=(lines, cross, deep)), (1.5, 1.5, 0.8))
    calm = nd.gaussian_filter(random.normal(size=(lines, cross, deep)), (3, 3, 1))
    rough, calm = rough / rough.std(), calm / calm.std()
    waves = [
        0.9 * np.sin((t - 0.5 * bend) / 0.8),  # thin even beds
        0.25 * rough,  # a quiet layer
        1.0 * np.sin((t - bend + 0.25 * slope) / 1.3),  # beds that dip
        0.9 * rough,  # a chaotic one
        1.1 * np.sin((t - bend) / 2.1) + 0.2 * calm,  # thick strong beds
    ]
    cube = np.choose(facies, waves) * (1 - 0.4 * t / deep) * (1 + 0.25 * field(20)[..., None])
    cube = nd.gaussian_filter(cube, (0.6, 0.6, 0.3)) + random.normal(0, 0.22, cube.shape)
    root.mkdir(parents=True, exist_ok=True)
    np.save(root / "amplitude.npy", (5200 * cube).astype("float32"))
    np.save(root / "facies.npy", facies.astype("uint8"))


def hippocampus(root: Path) -> None:
    """NIfTI volumes of 40 by 32 by 24, head 1 and tail 2 of a bent body; every scanner has a scale of its own."""
    random = np.random.default_rng(205)
    shape = (40, 32, 24)
    a, b, c = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(float)
    names = []
    for number in range(60):
        tissue = nd.gaussian_filter(random.normal(size=shape), 2.5)
        tissue /= tissue.std()
        image = 0.45 + 0.09 * tissue
        ventricle = (b - random.uniform(20, 25)) ** 2 + (c - random.uniform(14, 18)) ** 2 < random.uniform(9, 20)
        image[ventricle] = 0.16
        middle = random.uniform(15, 19) + 3 * np.sin((a - random.uniform(8, 14)) / 9)
        level = random.uniform(9, 13) + random.uniform(-0.12, 0.12) * (a - 20)
        thick = np.where(a < 20, random.uniform(5, 6.5), random.uniform(3.3, 4.4)) + 0.3 * tissue
        ends = (a > random.uniform(5, 8)) & (a < random.uniform(32, 36))
        body = (np.hypot((b - middle), 1.15 * (c - level)) < thick) & ends
        border = 19 + random.uniform(-2, 2) + 0.25 * (b - 16)
        label = np.where(body, np.where(a < border, 1, 2), 0).astype("uint8")
        image[label == 1] = 0.74 + 0.06 * tissue[label == 1]
        image[label == 2] = 0.66 + 0.05 * tissue[label == 2] + 0.05 * np.sin(1.4 * a)[label == 2]
        for _ in range(3):  # grey matter elsewhere, as bright
            y, x, z = random.uniform(0, 40), random.choice([3, 29]), random.uniform(0, 24)
            other = ((a - y) ** 2 / 40 + (b - x) ** 2 / 8 + (c - z) ** 2 / 10 < 1) & ~body
            image[other] = 0.7 + 0.05 * tissue[other]
        image = nd.gaussian_filter(image, 0.6) * (1 + random.uniform(-0.2, 0.2) * (a - 20) / 20)
        image = (image + random.normal(0, 0.04, shape)) * random.choice([300, 900, 45000]) * random.uniform(0.9, 1.1)
        name = f"hippocampus_{number * 7 % 400 + 1:03d}.nii.gz"
        for folder, voxels in (("imagesTr", image.astype("float32")), ("labelsTr", label)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), root / folder / name)
        names.append(name)
    cases = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in sorted(names)]
    about = {"name": "Hippocampus", "labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}
    (root / "dataset.json").write_text(json.dumps({**about, "numTraining": len(cases), "training": cases}))


def sonar(root: Path) -> None:
    """One NPZ of side scan sonar: `pings`, `altitude`, `track`; 0 bed, 1 water, 2 object, 3 shadow, 255 lost."""
    random = np.random.default_rng(206)
    high, wide = 64, 96
    down, across = np.mgrid[:high, :wide]
    pings, labels, heights, tracks = [], [], [], []
    for number in range(110):
        track = number // 11
        ground = np.random.default_rng(900 + track)
        altitude = ground.uniform(9, 20) + random.uniform(-1.5, 1.5)
        ripple, turn = ground.uniform(1.5, 3), ground.uniform(0, np.pi)
        image = 0.46 + 0.1 * np.sin((down * np.cos(turn) + across * np.sin(turn)) / ripple + random.uniform(0, 6))
        image = image + 0.06 * _cloudy(random, (high, wide), 7)
        image[_cloudy(random, (high, wide), 5) > 1.2] += 0.1  # gravel
        for _ in range(2):
            image[_blob(random, wide, tuple(random.uniform(0, high, 2)), random.uniform(3, 7))[:high]] -= 0.12  # mud
        label = np.zeros((high, wide), "uint8")
        for _ in range(random.integers(0, 4)):
            y, x = random.uniform(6, high - 6), random.uniform(altitude + 8, wide - 26)
            tall, flat = random.uniform(1.8, 3.6), random.uniform(2.0, 5.0)
            long = 5 + 0.28 * x * tall / 3
            cast = (np.abs(down - y) < tall * (1 - 0.3 * (across - x) / long)) & (across > x) & (across < x + long)
            image[cast], label[cast] = 0.13 + 0.01 * random.normal(size=int(cast.sum())), 3
            thing = ((down - y) / tall) ** 2 + ((across - x) / flat) ** 2 <= 1
            image[thing], label[thing] = 0.82 + 0.08 * random.normal(size=int(thing.sum())), 2
        water = across < altitude + 1.5 * np.sin(down / 11 + random.uniform(0, 6))
        image[water], label[water] = 0.08, 1
        image[np.abs(across - altitude * 0.55) < 0.8] += 0.12
        image = image * (1.12 - 0.35 * across / wide) * random.gamma(16, 1 / 16, (high, wide))
        if number % 4 == 2:
            y = int(random.integers(4, high - 6))
            image[y : y + 3], label[y : y + 3] = random.uniform(0, 1, (3, wide)), 255
        pings.append((255 * np.clip(image, 0, 1)).astype("uint8"))
        labels.append(label)
        heights.append(altitude)
        tracks.append(track)
    root.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        root / "survey.npz", pings=np.stack(pings), labels=np.stack(labels), track=np.array(tracks),
        altitude=np.array(heights, "float32"),
    )  # fmt: skip


def craters(root: Path) -> None:
    """One map of heights in metres, float32 TIFF of 480 by 768; a table of its craters: x, y, radius in pixels."""
    random = np.random.default_rng(207)
    high, wide = 480, 768
    down, across = np.mgrid[:high, :wide].astype(float)
    ground = 500 * _cloudy(random, (high, wide), 40) + 160 * _cloudy(random, (high, wide), 9)
    ground += 45 * _cloudy(random, (high, wide), 2.5) - 1800 + 0.6 * across
    rows = [("x", "y", "radius", "degradation")]
    for _ in range(1000):
        y, x, radius = random.uniform(0, high), random.uniform(0, wide), 3.5 + min(random.exponential(3.5), 15)
        age = random.uniform(0.35, 1)
        top, left = int(max(0, y - 2 * radius)), int(max(0, x - 2 * radius))
        part = np.s_[top : int(y + 2 * radius) + 1, left : int(x + 2 * radius) + 1]
        away = np.hypot(down[part] - y, across[part] - x) / radius
        bowl = np.where(away < 1, away**2 - 0.8, 0.2 * np.exp(-5 * (away - 1)))
        ground[part] += 42 * radius * age * bowl
        rows.append((f"{x:.1f}", f"{y:.1f}", f"{radius:.2f}", f"{1 - age:.2f}"))
    for _ in range(90):  # domes are round as well
        y, x, radius = random.uniform(0, high), random.uniform(0, wide), random.uniform(5, 12)
        ground += 36 * radius * np.exp(-2 * ((down - y) ** 2 + (across - x) ** 2) / radius**2)
    ground += random.normal(0, 14, ground.shape)
    root.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(root / "dem.tif", ground.astype("float32"))
    with (root / "craters.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def boards(root: Path) -> None:
    """Printed circuit boards in JPEG and COCO polygons of the parts: categories 1 chip, 2 capacitor and 5 resistor."""
    random = np.random.default_rng(208)
    high, wide = 72, 96
    down, across = np.mgrid[:high, :wide]
    categories = [{"id": 1, "name": "chip"}, {"id": 2, "name": "capacitor"}, {"id": 5, "name": "resistor"}]
    parts: dict[str, dict[str, list]] = {s: {"images": [], "annotations": []} for s in ("train", "val")}
    for number in range(100):
        split = "val" if number % 5 == 2 else "train"
        mask = np.array([[0.1, 0.36, 0.2], [0.1, 0.24, 0.42], [0.14, 0.34, 0.16]])[number % 3] * random.uniform(
            0.8, 1.3
        )
        image = mask + 0.02 * _cloudy(random, (high, wide, 3), 5)
        for _ in range(12):  # tracks and pads
            y, x, turn = random.uniform(0, high), random.uniform(0, wide), random.choice([0, 0.25, 0.5, 0.75]) * np.pi
            off = (down - y) * np.cos(turn) - (across - x) * np.sin(turn)
            reach = np.abs((down - y) * np.sin(turn) + (across - x) * np.cos(turn)) < random.uniform(8, 30)
            image[(np.abs(off) < 1) & reach] = mask * 1.45
            image[np.hypot(down - y, across - x) < random.uniform(1.2, 2.4)] = np.array([0.72, 0.66, 0.48])
        for y, x in random.uniform(4, 60, (3, 2)):
            image[int(y) : int(y) + 2, int(x) : int(x) + 9 : 2] = 0.85  # print
        taken = np.zeros((high, wide), bool)
        for _ in range(random.integers(4, 9)):
            kind = int(random.choice([1, 2, 2, 5, 5, 5]))
            tall, long = {1: random.uniform(7, 13, 2), 2: [random.uniform(4.5, 8)] * 2, 5: [2.6, 5.5]}[kind]
            if random.random() < 0.5:
                tall, long = long, tall
            y, x = random.uniform(tall + 2, high - tall - 2), random.uniform(long + 2, wide - long - 2)
            if kind == 2:
                angle = np.linspace(0, 2 * np.pi, 17)[:-1]
                corners = np.stack([x + long * np.cos(angle), y + tall * np.sin(angle)], 1)
                inside = np.hypot((down - y) / tall, (across - x) / long) <= 1
            else:
                corners = np.array(
                    [[x - long, y - tall], [x + long, y - tall], [x + long, y + tall], [x - long, y + tall]]
                )
                inside = (np.abs(down - y) <= tall) & (np.abs(across - x) <= long)
            if (taken & nd.binary_dilation(inside, iterations=2)).any():
                continue
            taken |= inside
            tone, lit = random.uniform(0.8, 1.2), 1 + 0.15 * (across - x + down - y)[..., None] / 10
            if kind == 1:
                pins = nd.binary_dilation(inside, iterations=2) & ~inside & ((down + across) % 3 > 0)
                image[pins] = 0.7
                image[inside] = (0.13 * tone + 0.015 * _cloudy(random, (high, wide, 3), 1))[inside]
                image[np.hypot(down - y + tall - 3, across - x + long - 3) < 1.3] = 0.4
            elif kind == 2:
                can = np.array([0.68, 0.68, 0.72]) if random.random() < 0.6 else np.array([0.22, 0.2, 0.3])
                image[inside] = (can * tone * lit)[inside]
                image[inside & (across > x + 0.45 * long)] *= 0.5
            else:
                image[inside] = np.array([0.2, 0.19, 0.2]) * tone
                ends = (np.abs(across - x) > 0.6 * long) if long > tall else (np.abs(down - y) > 0.6 * tall)
                image[inside & ends] = np.array([0.75, 0.73, 0.7]) * tone
            box = [x - long, y - tall, 2 * long, 2 * tall]
            parts[split]["annotations"].append({
                "id": sum(len(p["annotations"]) for p in parts.values()) + 1, "image_id": 1000 + number * 3,
                "category_id": kind, "bbox": [round(float(v), 1) for v in box], "iscrowd": 0,
                "segmentation": [[round(float(v), 1) for v in corners.ravel()]],
            })  # fmt: skip
        name = f"pcb_{number * 41 % 997:04d}.jpg"
        about = {"id": 1000 + number * 3, "file_name": name, "height": high, "width": wide}
        parts[split]["images"].append(about)
        _save(root / split / name, _light(random, image, 0.025), quality=94)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split, part in parts.items():
        order = random.permutation(len(part["images"]))  # as an annotation tool exports them
        part["images"] = [part["images"][k] for k in order]
        (root / "annotations" / f"{split}.json").write_text(json.dumps({**part, "categories": categories}))


FOLDERS: tuple[Callable[[Path], None], ...] = (
    corrosion, manuscripts, rice, seismic, hippocampus, sonar, craters, boards,
)  # fmt: skip
