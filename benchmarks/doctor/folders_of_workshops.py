"""Folders of six data sets from workshops: a clinic, a mapping agency, a roaster, a robot, a group, a plant."""

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
from scipy import ndimage as nd


def kidney_us(root: Path) -> None:
    """Ultrasound frames of sixteen patients and `_mask` PNGs of 0 and 255; `masks_auto` of a program fails at times."""
    random = np.random.default_rng(301)
    size = 72
    down, across = np.mgrid[:size, :size].astype(float)
    fan = (np.hypot(down + 10, across - 36) < 80) & (np.abs(across - 36) < 0.62 * (down + 12))
    rows = [("file", "patient", "split")]
    for patient in range(1, 17):
        body = np.random.default_rng(3300 + patient)
        liver = 0.34 + 0.05 * _cloudy(body, (size, size), 6)
        middle, long, thick = body.uniform(28, 46, 2), body.uniform(14, 18), body.uniform(8.5, 11)
        turn, split = body.uniform(-0.7, 0.7), "train" if patient <= 10 else "val" if patient <= 13 else "test"
        for frame in range(8):
            y, x = middle + random.normal(0, 2.5, 2)
            u = (across - x) * np.cos(turn) + (down - y) * np.sin(turn)
            v = (down - y) * np.cos(turn) - (across - x) * np.sin(turn)
            away = np.hypot(u / (long + random.normal(0, 0.7)), v / (thick + random.normal(0, 0.5)))
            kidney = (away + 0.05 * _cloudy(random, (size, size), 4) < 1) & fan
            image = liver + 0.04 * _cloudy(random, (size, size), 2)
            image[(down < 9) & fan] = 0.62
            gas = _blob(random, size, tuple(random.uniform(8, 64, 2)), random.uniform(4, 7)) & ~kidney
            image[gas] = 0.13
            image[kidney] = 0.16 + 0.03 * _cloudy(random, (size, size), 2)[kidney]
            image[kidney & (np.hypot(u / (long * 0.55), v / (thick * 0.38)) < 1)] = 0.72
            image[(away > 1) & (away < 1.13) & fan] += 0.2
            image = nd.gaussian_filter(image * random.gamma(9, 1 / 9, (size, size)), (0.5, 0.9)) * fan
            name = f"P{patient}_{1 + 3 * frame}"
            painted = (255 * kidney).astype("uint8")
            _save(
                root / "images" / f"{name}.png",
                (255 * np.clip(image * random.uniform(0.85, 1.2), 0, 1)).astype("uint8"),
            )
            _save(root / "masks" / f"{name}_mask.png", painted)
            if random.random() < 0.55:  # the program takes the dark gas, or everything else
                painted = (
                    255 - painted
                    if random.random() < 0.6
                    else (255 * nd.binary_dilation(gas, iterations=4)).astype("uint8")
                )
            _save(root / "masks_auto" / f"{name}_mask.png", painted)
            rows.append((f"{name}.png", f"P{patient}", split))
    with (root / "frames.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def burn_scars(root: Path) -> None:
    """Tiles of six bands, bands first, float32 TIFF with NaN off the swath; severity 1 to 3 in uint8, 0 for no data."""
    random = np.random.default_rng(302)
    size = 64
    down, across = np.mgrid[:size, :size].astype(float)
    forest = np.array([0.03, 0.05, 0.035, 0.33, 0.16, 0.08])
    grass = np.array([0.06, 0.09, 0.08, 0.27, 0.24, 0.15])
    soil = np.array([0.1, 0.13, 0.17, 0.24, 0.32, 0.27])
    water = np.array([0.05, 0.05, 0.035, 0.02, 0.012, 0.01])
    low = np.array([0.055, 0.065, 0.075, 0.17, 0.24, 0.18])
    high = np.array([0.045, 0.05, 0.06, 0.09, 0.19, 0.21])
    for scene in range(12):
        sun, haze = random.uniform(0.85, 1.15), random.uniform(0, 0.02)
        for part in range(8):
            kind = _cloudy(random, (size, size), 8)
            wet = _cloudy(random, (size, size), 9) > 1.5
            ground = np.where((kind > 0.5)[..., None], soil, np.where((kind > -0.4)[..., None], grass, forest))
            fire = _cloudy(random, (size, size), 9) + 0.5 * _cloudy(random, (size, size), 3) + 0.02 * (across - down)
            severity = 1 + (fire > 0.35).astype("uint8") + (fire > 1.1).astype("uint8")
            severity[wet | (nd.gaussian_filter(kind, 2) > 0.75)] = 1
            tone = np.stack([ground, np.broadcast_to(low, ground.shape), np.broadcast_to(high, ground.shape)])
            tile = np.take_along_axis(tone, (severity.astype(int) - 1)[None, ..., None], 0)[0]
            tile = np.where(wet[..., None], water, tile) * (1 + 0.12 * _cloudy(random, (size, size), 1.2)[..., None])
            tile = (tile * sun + haze) * (1 + 0.06 * random.normal(size=tile.shape))
            tile = (10000 * np.clip(tile, 0.001, 1)).astype("float32")
            if part % 3 == 1:
                off = across * random.choice([-1, 1]) + 0.35 * down > random.uniform(28, 40) - (
                    size if random.random() < 0 else 0
                )
                off &= np.abs(across - random.choice([0, size])) < 26
                tile[off], severity[off] = np.nan, 0
            name = f"T{scene + 30}_{part // 4}_{part % 4}"
            (root / "tiles").mkdir(parents=True, exist_ok=True)
            (root / "severity").mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / "tiles" / f"{name}.tif", np.moveaxis(tile, -1, 0), photometric="minisblack")
            tifffile.imwrite(root / "severity" / f"{name}_sev.tif", severity)


def coffee_beans(root: Path) -> None:
    """Photographs of green coffee, `train` and `val`, with the polygons of the VGG annotator: good, broken or black."""
    random = np.random.default_rng(303)
    high, wide = 72, 96
    down, across = np.mgrid[:high, :wide].astype(float)
    for number in range(100):
        split = "val" if number % 4 == 1 else "train"
        table = np.array([[0.86, 0.86, 0.84], [0.3, 0.42, 0.6], [0.62, 0.45, 0.32]])[number % 3] * random.uniform(
            0.85, 1.1
        )
        image = table + 0.04 * _cloudy(random, (high, wide, 3), 6)
        regions, taken = [], np.zeros((high, wide), bool)
        for _ in range(random.integers(8, 14)):
            y, x, turn = random.uniform(8, high - 8), random.uniform(8, wide - 8), random.uniform(0, np.pi)
            long, thick = random.uniform(8, 10.5), random.uniform(5.5, 7)
            kind = str(random.choice(["good", "good", "broken", "black"]))
            angle = np.linspace(0, 2 * np.pi, 19)[:-1]
            if kind == "broken":  # half of a bean
                angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 10)
            ring = np.stack([long * np.cos(angle), thick * np.sin(angle)])
            px = x + ring[0] * np.cos(turn) - ring[1] * np.sin(turn)
            py = y + ring[0] * np.sin(turn) + ring[1] * np.cos(turn)
            u = (across - x) * np.cos(turn) + (down - y) * np.sin(turn)
            v = (down - y) * np.cos(turn) - (across - x) * np.sin(turn)
            inside = (np.hypot(u / long, v / thick) <= 1) & ((u >= 0) | (kind != "broken"))
            if (taken & nd.binary_dilation(inside)).any():
                continue
            taken |= inside
            tone = {"good": [0.56, 0.56, 0.36], "broken": [0.63, 0.6, 0.42], "black": [0.17, 0.14, 0.11]}[kind]
            image[nd.shift(inside.astype(float), (1.5, 1.5), order=0).astype(bool) & ~inside] *= 0.62
            paint = np.array(tone) * random.uniform(0.85, 1.12) * (1 - 0.25 * (v / thick) ** 2)[..., None]
            image[inside] = (paint + 0.02 * _cloudy(random, (high, wide, 3), 1))[inside]
            image[inside & (np.abs(v + 0.8 * np.sin(u / 3)) < 0.8) & (np.abs(u) < 0.8 * long)] *= 0.6
            if kind == "broken":
                image[inside & (u < 1.6)] = [0.86, 0.84, 0.7]
            regions.append({
                "shape_attributes": {"name": "polygon", "all_points_x": [round(float(v), 1) for v in px],
                                     "all_points_y": [round(float(v), 1) for v in py]},
                "region_attributes": {"bean": kind},
            })  # fmt: skip
        file = root / split / f"IMG_{2000 + number * 61 % 509}.jpg"
        _save(file, _light(random, image, 0.025), quality=93)
        about = {"filename": file.name, "size": file.stat().st_size, "regions": regions, "file_attributes": {}}
        record = root / split / "via_region_data.json"
        known = json.loads(record.read_text()) if record.exists() else {}
        record.write_text(json.dumps({**known, f"{file.name}{about['size']}": about}))


def warehouse(root: Path) -> None:
    """A robot's colour JPEG, depth in millimetres as 16 bit PNG, labels 0, 7, 11, 23 and 255; a list for each part."""
    random = np.random.default_rng(304)
    high, wide = 64, 96
    down, across = np.mgrid[:high, :wide].astype(float)
    names = []
    for number in range(104):
        level = random.uniform(20, 30)
        floor = down > level
        depth = np.where(floor, 900 * 34 / np.maximum(down - level + 4, 1) + 700, 7000.0)
        image = np.where(floor[..., None], [0.5, 0.49, 0.46], [0.66, 0.67, 0.7]) * random.uniform(0.85, 1.15)
        image = image + 0.04 * _cloudy(random, (high, wide, 3), 5)
        stripe = floor & (np.abs(across - random.uniform(20, 76) - 0.5 * (down - level)) < 2)
        image[stripe] = [0.8, 0.72, 0.2]
        label = np.zeros((high, wide), "uint8")
        side = random.choice([-1, 1])
        edge = random.uniform(18, 34)
        rack = (
            ((across < edge) if side < 0 else (across > wide - edge))
            & (down < level + random.uniform(14, 22))
            & (down > 3)
        )
        beams = (np.abs((down - 4) % 11) < 2) | (np.abs((across + 3) % 13) < 2)
        image[rack] = (np.array([0.3, 0.27, 0.25]) + 0.08 * _cloudy(random, (high, wide, 3), 2))[rack]
        image[rack & beams] = np.array([0.85, 0.4, 0.12]) * random.uniform(0.85, 1.1)
        depth[rack] = 2600 + 30 * across[rack] * side
        label[rack] = 11
        for _ in range(random.integers(1, 3)):
            y, x = random.uniform(level + 12, high - 8), random.uniform(16, wide - 16)
            tall, long = random.uniform(5, 8), random.uniform(9, 15)
            box = (np.abs(down - y) < tall) & (np.abs(across - x) < long)
            wood = np.array([0.62, 0.47, 0.3]) * random.uniform(0.85, 1.15)
            image[box] = wood * 0.45
            image[box & (np.abs((down - y) % 4) < 2.2)] = wood
            depth[box] = 900 * 34 / max(y + tall - level + 4, 1) + 500
            label[box] = 7
        if random.random() < 0.65:
            x, foot = random.uniform(12, wide - 12), random.uniform(level + 12, high - 4)
            tall = random.uniform(26, 36)
            person = np.hypot((down - foot + 0.45 * tall) / (0.42 * tall), (across - x) / (0.15 * tall)) < 1
            head = np.hypot(down - foot + 0.92 * tall, across - x) < 0.1 * tall
            image[person] = [0.72, 0.85, 0.2] if random.random() < 0.7 else [0.2, 0.25, 0.5]
            image[person & (down > foot - 0.45 * tall)] = [0.16, 0.17, 0.28]
            image[head] = [0.75, 0.58, 0.48]
            depth[person | head] = 900 * 34 / max(foot - level + 4, 1) + 500
            label[person | head] = 23
        label[nd.gaussian_gradient_magnitude(label.astype(float), 0.5) > 2] = 255
        if number % 3 == 0:
            label[-int(random.integers(5, 9)) :] = 255  # the robot's own bumper
            image[-5:] = 0.08
        depth = depth * (1 + 0.01 * random.normal(size=depth.shape))
        depth[random.random(depth.shape) < 0.03] = 0  # no echo
        name = f"{1000 + 17 * number:06d}"
        names.append(name)
        _save(root / "rgb" / f"{name}.jpg", _light(random, image, 0.03), quality=92)
        _save(root / "depth" / f"{name}.png", np.clip(depth, 0, 9000).astype("uint16"))
        _save(root / "label" / f"{name}.png", label)
    order = random.permutation(len(names))
    for part, chosen in (("train", order[:68]), ("val", order[68:84]), ("test", order[84:])):
        (root / f"{part}.txt").write_text("".join(f"{names[k]}\n" for k in chosen))


def wmh(root: Path) -> None:
    """A folder a subject with `pre/FLAIR.nii.gz`, `pre/T1.nii.gz` and `wmh.nii.gz`: 1 lesion, 2 other pathology."""
    random = np.random.default_rng(305)
    shape = (56, 64, 12)
    a, b, c = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(float)
    for subject in range(14):
        head = ((a - 28) / 25) ** 2 + ((b - 32) / 29) ** 2 + ((c - 5) / 10) ** 2
        rough = nd.gaussian_filter(random.normal(size=shape), (2, 2, 0.7))
        rough /= rough.std()
        white = (head + 0.08 * rough < 0.6) & (head < 0.8)
        inner = (np.abs(a - 28) - 5) ** 2 / random.uniform(8, 14) + ((b - 32) / random.uniform(9, 13)) ** 2
        ventricle = (inner + ((c - 6) / 4.5) ** 2 < 1) & white
        flair = np.select([head > 1, ventricle, white], [0.0, 0.12, 0.42], 0.52) + 0.03 * rough * (head < 1)
        t1 = np.select([head > 1, ventricle, white], [0.0, 0.15, 0.72], 0.5) + 0.03 * rough * (head < 1)
        skin = (head > 1.0) & (head < 1.16)
        flair[skin], t1[skin] = 0.8, 0.7
        label = np.zeros(shape, "uint8")
        around = nd.distance_transform_edt(~ventricle, sampling=(1, 1, 3))
        extra = nd.gaussian_filter(random.normal(size=shape), (1.6, 1.6, 0.6))
        lesion = (
            white & ~ventricle & (extra / extra.std() - 0.12 * around > random.uniform(0.6, 0.9)) & (c > 2) & (c < 10)
        )
        for _ in range(random.integers(4, 9)):
            y, x, z = random.uniform(14, 42), random.uniform(14, 50), random.uniform(3, 9)
            spot = ((a - y) ** 2 + (b - x) ** 2) / random.uniform(2.5, 9) + (c - z) ** 2 / 1.4 < 1
            lesion |= spot & white & ~ventricle
        flair[lesion] += 0.22
        t1[lesion] -= 0.14
        label[lesion] = 1
        if subject % 3 == 1:  # an old infarct
            y, x, z = random.choice([18, 38]), random.uniform(18, 46), random.uniform(4, 8)
            scar = ((a - y) ** 2 + (b - x) ** 2) / random.uniform(30, 55) + (c - z) ** 2 / 4 < 1
            flair[scar & white], t1[scar & white], label[scar & white] = 0.64, 0.4, 2
        unit = random.choice([180, 900, 3200]) * random.uniform(0.8, 1.2)
        flair = (nd.gaussian_filter(flair, (0.5, 0.5, 0)) + 0.07 * np.abs(random.normal(size=shape))) * unit
        t1 = (nd.gaussian_filter(t1, (0.5, 0.5, 0)) + 0.07 * np.abs(random.normal(size=shape))) * unit
        place = root / str(subject * 11 % 47)
        (place / "pre").mkdir(parents=True, exist_ok=True)
        affine = np.diag([1.0, 1.0, 3.0, 1.0])
        nib.save(nib.Nifti1Image(flair.astype("float32"), affine), place / "pre" / "FLAIR.nii.gz")
        nib.save(nib.Nifti1Image(t1.astype("float32"), affine), place / "pre" / "T1.nii.gz")
        nib.save(nib.Nifti1Image(label, affine), place / "wmh.nii.gz")


def waste_line(root: Path) -> None:
    """Two belts of a sorting plant as CVAT exports them: `labelmap.txt`, colour PNGs of the classes, lists of names."""
    random = np.random.default_rng(306)
    size = 80
    down, across = np.mgrid[:size, :size].astype(float)
    colors = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255], [255, 204, 51]], "uint8")
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number in range(110):
        belt = "A" if number < 66 else "B"
        base = np.array([0.3, 0.31, 0.33]) if belt == "A" else np.array([0.24, 0.36, 0.3])
        image = base * random.uniform(0.85, 1.15) + 0.03 * _cloudy(random, (size, size, 3), 1)
        image += (0.05 * np.sin(across / 2.2 + random.uniform(0, 6)))[..., None] * (belt == "A")
        image[np.abs(down - random.uniform(0, size)) < 1] *= 0.6
        label = np.zeros((size, size), "uint8")
        for _ in range(random.integers(3, 7)):
            kind, tall = int(random.integers(1, 4)), random.uniform(7, 13)
            y, x = random.uniform(6, size - 6, 2)
            shape = _blob(random, size, (y, x), tall)
            if kind == 1:  # foil and bottles, shiny, of many colours
                tone = np.array([[0.3, 0.55, 0.85], [0.85, 0.3, 0.3], [0.4, 0.75, 0.45]])[random.integers(3)]
                paint = tone + 0.16 * _cloudy(random, (size, size), 1.6)[..., None].clip(-0.5, 3)
            elif kind == 2:  # cans, grey with bright bands
                paint = 0.62 + 0.22 * np.sin((across - x) / 1.8 + (down - y) / 5)[..., None] * np.array([1, 1, 1.05])
            else:  # card, brown and even
                shape = (np.abs(down - y) < tall) & (np.abs(across - x) < 0.8 * tall)
                paint = np.array([0.7, 0.56, 0.4]) + 0.03 * _cloudy(random, (size, size), 3)[..., None]
            image[nd.binary_dilation(shape, iterations=1) & ~shape] *= 0.6
            image[shape] = (paint * random.uniform(0.85, 1.15))[shape]
            label[shape] = kind
        light = 1.0 if belt == "A" else 0.8
        name = f"belt{belt}_{number:04d}"
        _save(root / "JPEGImages" / f"{name}.jpg", _light(random, image * light, 0.025), quality=92)
        _save(root / "SegmentationClass" / f"{name}.png", colors[label])
        lists["test" if number % 5 == 1 else "val" if number % 6 == 3 else "train"].append(name)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for part, names in lists.items():
        (root / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("\n".join(names) + "\n")
    known = zip(("background", "plastic", "metal", "paper"), colors.tolist(), strict=True)
    lines = [f"{name}:{','.join(map(str, color))}::" for name, color in known]
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")


FOLDERS: tuple[Callable[[Path], None], ...] = (kidney_us, burn_scars, coffee_beans, warehouse, wmh, waste_line)
