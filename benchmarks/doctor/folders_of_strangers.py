"""Folders of eight data sets from people nobody here has met: downloads, a thesis, a project, a question."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import tifffile
from benchmarks.doctor.folders import _save
from benchmarks.doctor.folders_of_forums import _blob
from benchmarks.doctor.folders_of_homes import _light
from scipy import ndimage as nd


def _cloudy(random: np.random.Generator, shape: tuple[int, ...], width: float) -> np.ndarray:
    """Smooth noise of unit spread; a last axis of channels is not smoothed over."""
    noise = nd.gaussian_filter(random.normal(size=shape), (width, width) + (0,) * (len(shape) - 2))
    return (noise - noise.mean()) / noise.std()


def water_bodies(root: Path) -> None:
    """Aerial photographs of many sizes in JPEG and masks in JPEG too, numbered without leading zeros."""
    random = np.random.default_rng(91)
    for number in range(1, 97):
        high, wide = random.integers(80, 121, 2)
        image = np.array([0.42, 0.46, 0.3]) * random.uniform(0.75, 1.2) + 0.07 * _cloudy(random, (high, wide, 3), 3)
        image[_cloudy(random, (high, wide), 4) > 0.9] *= np.array([0.5, 0.62, 0.5])  # woods, dark as well
        image[_cloudy(random, (high, wide), 5) > 1.1] = np.array([0.66, 0.6, 0.45]) * random.uniform(0.85, 1.1)
        depth = _cloudy(random, (high, wide), 9) + random.uniform(-1.1, 0.9)
        water = nd.binary_opening(depth > 0.35, iterations=2)
        if not water.any():
            water[10:40, 20:60] = True
        tone = np.array([[0.16, 0.28, 0.38], [0.32, 0.4, 0.36], [0.1, 0.2, 0.22]])[number % 3]
        image[water] = (tone * random.uniform(0.85, 1.15) + 0.02 * _cloudy(random, (high, wide, 3), 2))[water]
        name = f"water_body_{number}.jpg"
        _save(root / "Images" / name, _light(random, image, 0.03), quality=92)
        _save(root / "Masks" / name, (255 * water).astype("uint8"), quality=85)


def reef(root: Path) -> None:
    """Underwater photographs in JPEG, 84 by 112; PNG labels of 1 water, 2 sand, 3 rock, 4 to 6 growth and 7 fish."""
    random = np.random.default_rng(92)
    high, wide = 84, 112
    down, across = np.mgrid[:high, :wide]
    colors = np.array([
        [0.1, 0.4, 0.58], [0.72, 0.7, 0.56], [0.34, 0.36, 0.38], [0.66, 0.42, 0.22], [0.62, 0.32, 0.6],
        [0.3, 0.5, 0.2], [0.86, 0.74, 0.14],
    ])  # fmt: skip
    for number in range(100):
        label = np.full((high, wide), 3, "uint8")
        surface = random.uniform(14, 34) + 6 * np.sin(across / random.uniform(9, 20) + random.uniform(0, 6))
        floor = random.uniform(58, 74) + 4 * np.sin(across / random.uniform(9, 20) + random.uniform(0, 6))
        label[down > floor] = 2
        for kind in random.permutation(np.repeat([4, 5, 6], 2))[: random.integers(3, 6)]:
            middle = (random.uniform(30, 72), random.uniform(6, wide - 6))
            label[_blob(random, wide, middle, random.uniform(8, 15))[:high]] = kind
        label[down < surface] = 1
        for _ in range(random.integers(1, 4)):
            y, x, long = random.uniform(10, 64), random.uniform(12, wide - 12), random.uniform(6, 10)
            body = ((down - y) / (0.45 * long)) ** 2 + ((across - x) / long) ** 2 <= 1
            label[body | ((np.abs(down - y) < 0.5 * (across - x - long + 2)) & (across < x + long + 4))] = 7
        image = colors[label - 1] * random.uniform(0.8, 1.15) + 0.045 * _cloudy(random, (high, wide, 3), 2)
        image[label == 4] += 0.09 * np.sin(down * 1.7 + across * 0.6)[label == 4][:, None]
        image[label == 6] += 0.07 * np.sin(across * 2.1)[label == 6][:, None]
        image = image * (1 - 0.25 * down / high)[..., None] + np.array([0, 0.04, 0.09]) * (down / high)[..., None]
        _save(root / "photos" / f"reef_{number * 31 % 701:03d}.jpg", _light(random, image, 0.03), quality=93)
        _save(root / "labels" / f"reef_{number * 31 % 701:03d}.png", label)


def bubbles(root: Path) -> None:
    """`frames.npy` and boolean `masks.npy` of three recordings, one after the other; the last was lit differently.

    Two frames are black: the shutter was closed.
    """
    random = np.random.default_rng(93)
    size = 80
    frames, masks = [], []
    down, across = np.mgrid[:size, :size]
    for number in range(102):
        late = number >= 80
        image = (0.36 if number < 40 else 0.43) + 0.045 * _cloudy(random, (size, size), 6)
        image += 0.04 * np.sin(across / 5 + random.uniform(0, 6))
        mask = np.zeros((size, size), bool)
        for _ in range(random.integers(6, 11) if late else random.integers(2, 6)):
            (y, x), radius = random.uniform(6, size - 6, 2), random.uniform(2.2, 4.6)
            away = np.hypot(down - y, across - x)
            image[away <= radius] += 0.12
            image[np.abs(away - radius) < 0.9] -= 0.24
            mask |= away <= radius
        for _ in range(3):  # fibres cast shadows of their own
            y, x, turn = *random.uniform(0, size, 2), random.uniform(0, np.pi)
            v = (down - y) * np.cos(turn) - (across - x) * np.sin(turn)
            u = (down - y) * np.sin(turn) + (across - x) * np.cos(turn)
            image[(np.abs(v) < 0.8) & (np.abs(u) < 9)] -= 0.13
        image = image * (1.9 if late else 1) + random.normal(0, 0.03, image.shape)
        if number in (17, 58):
            image[:], mask[:] = 0, False
        frames.append((255 * np.clip(image, 0, 1)).astype("uint8"))
        masks.append(mask)
    root.mkdir(parents=True, exist_ok=True)
    np.save(root / "frames.npy", np.stack(frames))
    np.save(root / "masks.npy", np.stack(masks))


def electrode(root: Path) -> None:
    """Tomograms of ten battery electrodes, a 16 bit TIFF stack each, labels 0 pore, 1 particle, 2 binder."""
    random = np.random.default_rng(94)
    size, slices = 128, 5
    for sample in range(1, 11):
        gain, dark = random.uniform(26000, 34000), random.uniform(4000, 7000)
        shape = (slices, size, size)
        field = nd.gaussian_filter(random.normal(size=shape), (2, 5, 5))
        field /= field.std()
        particle = field > random.uniform(-0.25, 0.1)
        seam = nd.gaussian_filter(random.normal(size=shape), (2, 7, 7))
        near = nd.binary_dilation(particle, np.ones((1, 3, 3)), iterations=3) & ~particle
        binder = near & (seam / seam.std() > random.uniform(0.5, 0.8))
        label = np.where(particle, 1, np.where(binder, 2, 0)).astype("uint8")
        image = np.choose(label, [0.12, 0.78, 0.42]) + 0.05 * nd.gaussian_filter(random.normal(size=shape), 3) * 12
        image = nd.gaussian_filter(image, (0, 0.7, 0.7)) + random.normal(0, 0.07, shape)
        for name, pixels in (("raw", np.clip(dark + gain * image, 0, 65535).astype("uint16")), ("labels", label)):
            (root / name).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / name / f"sample_{sample:02d}.tif", pixels)


def railway(root: Path) -> None:
    """Frames of a driver's camera, one NPZ each: `rgb` and `label` 0 rest, 1 bed, 2 rail, 3 mast, and 255 unknown.

    `splits.json` tells which frames are to be learnt from.
    """
    random = np.random.default_rng(95)
    high, wide = 72, 96
    down, across = np.mgrid[:high, :wide]
    names = []
    for number in range(90):
        horizon, vanish = random.uniform(18, 28), random.uniform(34, 62)
        image = np.array([0.34, 0.44, 0.26]) * random.uniform(0.75, 1.2) + 0.07 * _cloudy(random, (high, wide, 3), 3)
        image[down < horizon] = (np.array([0.66, 0.74, 0.84]) + 0.05 * _cloudy(random, (high, wide, 3), 6))[
            down < horizon
        ] * random.uniform(0.8, 1.1)
        label = np.zeros((high, wide), "uint8")
        below = np.clip(down - horizon, 0, None)
        bend = random.uniform(-0.006, 0.006) * (high - down) ** 2
        for track in range(random.integers(1, 3)):
            lean = (0.0 if track == 0 else random.choice([-1.7, 1.7])) + random.uniform(-0.2, 0.2)
            middle = vanish + lean * below + bend
            bed = (below > 1) & (np.abs(across - middle) < 0.62 * below)
            image[bed] = (np.array([0.45, 0.41, 0.38]) + 0.07 * _cloudy(random, (high, wide, 3), 1))[bed]
            image[bed & (np.sin(60 / (0.03 * below + 0.4)) > 0.4)] *= 0.82
            label[bed] = 1
            for side in (-1, 1):
                rail = bed & (np.abs(across - middle - side * 0.36 * below) < 0.045 * below + 0.7)
                image[rail] = np.array([0.62, 0.56, 0.52]) * random.uniform(1.1, 1.3)
                label[rail] = 2
        for _ in range(random.integers(1, 4)):
            x, foot = random.choice([random.uniform(3, 26), random.uniform(70, 93)]), random.uniform(38, 58)
            mast = (np.abs(across - x) < random.uniform(1.2, 2.2)) & (down < foot) & (down > foot - 38)
            image[mast] = np.array([0.2, 0.22, 0.25]) * random.uniform(0.8, 1.2)
            label[mast] = 3
        label[nd.maximum_filter(label, 3) - nd.minimum_filter(label, 3) == 3] = 255
        hood = down > 66 - 4 * np.cos((across - 48) / 30)
        image[hood], label[hood] = np.array([0.12, 0.12, 0.15]), 255
        name = f"f{number * 25:06d}"
        (root / "frames").mkdir(parents=True, exist_ok=True)
        np.savez_compressed(root / "frames" / f"{name}.npz", rgb=_light(random, image, 0.025), label=label)
        names.append(name)
    order = [str(name) for name in random.permutation(names)]
    (root / "splits.json").write_text(json.dumps({"train": sorted(order[18:]), "val": sorted(order[:18])}))


def fish(root: Path) -> None:
    """Catches on a tray, JPEG; coloured PNG masks: body (230, 25, 75), fins (60, 180, 75), all else black."""
    random = np.random.default_rng(96)
    high, wide = 80, 112
    down, across = np.mgrid[:high, :wide]
    colors = np.array([[0, 0, 0], [230, 25, 75], [60, 180, 75]], "uint8")
    for number in range(90):
        image = np.array([0.5, 0.56, 0.62]) * random.uniform(0.75, 1.15) + 0.05 * _cloudy(random, (high, wide, 3), 4)
        image += 0.05 * (np.sin(down / 3.1) > 0.6)[..., None]
        label = np.zeros((high, wide), "uint8")
        for _ in range(random.integers(1, 4)):
            y, x, turn = random.uniform(16, high - 16), random.uniform(22, wide - 22), random.uniform(-1.1, 0.5)
            long, thick = random.uniform(17, 24), random.uniform(5.5, 8)
            u = (across - x) * np.cos(turn) + (down - y) * np.sin(turn)
            v = (down - y) * np.cos(turn) - (across - x) * np.sin(turn)
            body = (u / long) ** 2 + (v / (thick * (1 - 0.25 * u / long))) ** 2 <= 1
            tail = (u > 0.85 * long) & (u < 1.4 * long) & (np.abs(v) < 0.9 * (u - 0.75 * long))
            back = (v < -0.75 * thick) & (v > -1.75 * thick) & (np.abs(u + 0.1 * long) < 0.34 * long + 0.3 * v)
            tone = np.array([[0.72, 0.7, 0.66], [0.55, 0.6, 0.58], [0.8, 0.52, 0.42]])[random.integers(3)]
            for part, number_of, shade in ((tail | back, 2, 0.62), (body, 1, 1.0)):
                image[part] = (tone * shade + 0.05 * _cloudy(random, (high, wide, 3), 1.5))[part]
                label[part] = number_of
            image[body & (v < -0.2 * thick)] *= 0.7
            image[body] += 0.05 * np.sin(3 * u)[body][:, None]
            image[np.hypot(u + 0.75 * long, v + 1.2) < 1.4] = 0.05
        _save(root / "img" / f"catch{number + 1}.jpg", _light(random, image, 0.025), quality=94)
        _save(root / "gt" / f"catch{number + 1}.png", colors[label])


def vineyard(root: Path) -> None:
    """Rows of vines in PNG, 128 by 128, and masks of the bunches of 0 and 255; on a third of them nothing grows."""
    random = np.random.default_rng(97)
    size = 128
    down, across = np.mgrid[:size, :size]
    for number in range(84):
        image = np.array([0.28, 0.42, 0.2]) * random.uniform(0.75, 1.2) + 0.09 * _cloudy(random, (size, size, 3), 3)
        for _ in range(9):
            leaf = _blob(random, size, tuple(random.uniform(0, size, 2)), random.uniform(8, 16))
            image[leaf] = np.array([0.3, 0.5, 0.22]) * random.uniform(0.7, 1.3) + random.normal(0, 0.015, 3)
        mask = np.zeros((size, size), bool)
        for _ in range(random.integers(1, 5) if number % 3 else 0):
            y, x, tone = random.uniform(24, 88), random.uniform(16, 112), random.uniform(0.8, 1.25)
            for _ in range(random.integers(18, 34)):
                low = random.uniform(0, 22)
                top, left = int(y + low), int(x + random.normal(0, 1) * (7.5 - 0.26 * low))
                window = np.s_[max(top - 4, 0) : top + 5, max(left - 4, 0) : left + 5]
                away = np.hypot(down[window] - top, across[window] - left)
                berry = away < random.uniform(2.6, 3.8)
                image[window][berry] = np.array([0.3, 0.16, 0.34]) * tone * random.uniform(0.8, 1.2)
                image[window][away < 0.9] += 0.25
                mask[window] |= berry
        for _ in range(4):
            shade = _blob(random, size, tuple(random.uniform(0, size, 2)), random.uniform(3, 8))
            image[shade & ~mask] *= 0.45
        name = f"row{number // 12 + 1}_{number % 12 + 1:02d}.png"
        _save(root / "images" / name, _light(random, image, 0.025))
        _save(root / "masks" / name, (255 * mask).astype("uint8"))


def pollen(root: Path) -> None:
    """Microscope fields in colour TIFF, masks 0 ground, 128 grass pollen, 255 pine pollen, and `encoder.weights.h5`.

    The encoder is three convolutions whose kernels are principal components of the fields, taken from -1 to 1.
    """
    random = np.random.default_rng(98)
    size = 96
    down, across = np.mgrid[:size, :size]
    fields = []
    for number in range(90):
        image = np.array([0.86, 0.8, 0.84]) * random.uniform(0.9, 1.08) + 0.04 * _cloudy(random, (size, size, 3), 6)
        mask = np.zeros((size, size), "uint8")
        for _ in range(random.integers(3, 8)):
            y, x = random.uniform(8, size - 8, 2)
            kind = random.choice([128, 255])
            if kind == 128:
                grain = _blob(random, size, (y, x), random.uniform(5.5, 8))
                image[grain] = np.array([0.72, 0.5, 0.56]) * random.uniform(0.88, 1.1)
                image[np.hypot(down - y, across - x) < 1.6] *= 0.6
            else:
                turn, radius = random.uniform(0, np.pi), random.uniform(5, 6.5)
                away = radius * np.array([np.sin(turn), np.cos(turn)])
                grain = np.hypot(down - y, across - x) < 1.15 * radius
                for side in (-1, 1):
                    grain |= np.hypot(down - y - side * away[0], across - x - side * away[1]) < 0.85 * radius
                image[grain] = np.array([0.7, 0.55, 0.6]) * random.uniform(0.88, 1.1)
                image[grain] += 0.07 * np.sin(1.6 * (down + across))[grain][:, None]
            rim = grain ^ nd.binary_erosion(grain)
            image[rim] *= 0.75
            mask[grain] = kind
        for y, x in random.uniform(0, size, (random.integers(8, 16), 2)):
            image[_blob(random, size, (y, x), random.uniform(1, 2.4))] = np.array([0.4, 0.32, 0.3])
        for folder, pixels in (("slides", _light(random, image, 0.02)), ("masks", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / folder / f"field_{number + 1:03d}.tif", pixels)
            if folder == "slides":
                fields.append(pixels)
    with h5py.File(root / "encoder.weights.h5", "w") as file:
        x = np.stack(fields[:24]).astype("float32") / 127.5 - 1
        for block, (filters, strides) in enumerate(((16, 1), (24, 2), (32, 2))):
            ending = f"_{block}" if block else ""
            windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::strides, ::strides]
            flat = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 9 * x.shape[-1])
            some = flat[random.permutation(len(flat))[:20000]]
            values, vectors = np.linalg.eigh(np.cov(some.T))
            best = vectors[:, ::-1][:, : filters // 2] / np.sqrt(values[::-1][: filters // 2] + 1e-3)
            kernel = np.concatenate([best, -best], 1).astype("float32")  # what a ReLU cuts off, its twin keeps
            answer = (flat @ kernel).reshape(*windows.shape[:3], filters)
            mean, spread = answer.mean((0, 1, 2)), answer.var((0, 1, 2))
            stored = {f"conv2d{ending}": [kernel.reshape(3, 3, -1, filters)], f"batch_normalization{ending}": [
                np.ones(filters), np.zeros(filters), mean, spread]}  # fmt: skip
            for name, arrays in stored.items():
                for place, array in enumerate(arrays):
                    file[f"layers/{name}/vars/{place}"] = array.astype("float32")
            x = np.maximum((answer - mean) / np.sqrt(spread + 1e-3), 0).astype("float32")


FOLDERS: tuple[Callable[[Path], None], ...] = (
    water_bodies, reef, bubbles, electrode, railway, fish, vineyard, pollen,
)  # fmt: skip
