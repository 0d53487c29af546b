"""Folders of eight data sets as laboratories and challenges hand them out, with the oddities that each has."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
from benchmarks.doctor.folders import _save
from benchmarks.doctor.folders_of_forums import _blob
from benchmarks.doctor.pictures import VOID, _scene, _stored
from scipy import ndimage as nd
from scipy.io import savemat


def _uneven(random: np.random.Generator, size: tuple[int, int], depth: float) -> np.ndarray:
    """Light that comes from one side, `size` float, about 1."""
    down, across = np.mgrid[: size[0], : size[1]] / max(size)
    slope = random.uniform(-depth, depth, 2)
    return random.uniform(0.85, 1.15) * (1 + slope[0] * (down - 0.5) + slope[1] * (across - 0.5))


def flowers(root: Path) -> None:
    """Photographs of four species, by species, in two sizes; trimaps of 1 (flower), 2 (ground) and 3 (unsure edge)."""
    random = np.random.default_rng(61)
    petals = np.array([[0.9, 0.8, 0.2], [0.85, 0.4, 0.55], [0.9, 0.88, 0.85], [0.42, 0.35, 0.8]])
    for number in range(88):
        species = number // 22
        image = np.array([0.25, 0.4, 0.2]) + 0.6 * (_scene(random, 88, 3) - 0.33)
        leaves = nd.gaussian_filter(random.normal(size=(88, 88)), 5) * 10 > 0.6
        image[leaves] *= [0.7, 1.15, 0.7]
        middle, radius = random.uniform(32, 56, 2), random.uniform(13, 24)
        down, across = np.mgrid[:88, :88] - middle[:, None, None]
        lobes = 1 + 0.25 * np.cos((5 + species) * np.arctan2(down, across) + random.uniform(0, 6))
        flower = np.hypot(down, across * random.uniform(0.8, 1.2)) <= radius * lobes
        image[flower] = petals[species] * random.uniform(0.75, 1.05) + random.normal(0, 0.05, (int(flower.sum()), 3))
        heart = np.hypot(down, across) <= 0.25 * radius
        image[heart] = np.array([0.55, 0.4, 0.1]) + random.normal(0, 0.05, (int(heart.sum()), 3))
        image *= _uneven(random, (88, 88), 0.5)[..., None]
        trimap = np.where(flower, 1, 2).astype("uint8")
        trimap[nd.binary_dilation(flower, iterations=2) ^ nd.binary_erosion(flower)] = 3
        cut = np.s_[:, 4:84] if number % 3 else np.s_[2:86, :]
        name = f"image_{number + 1:04d}"
        _save(root / "jpg" / f"{name}.jpg", _stored([image])[0][cut], quality=92)
        _save(root / "trimaps" / f"{name}.png", trimap[cut])


def uw_madison(root: Path) -> None:
    """16-bit slices in folders of case and day; a table of run lengths along the rows, three lines a slice."""
    random = np.random.default_rng(62)
    size = 64
    rows: list[tuple[object, ...]] = [("id", "class", "segmentation")]
    for case in random.permutation(120)[:12] + 2:
        places = {
            "large_bowel": (random.uniform(38, 46), random.uniform(40, 47), random.uniform(6.5, 9)),
            "small_bowel": (random.uniform(40, 48), random.uniform(18, 26), random.uniform(7, 10)),
            "stomach": (random.uniform(16, 23), random.uniform(26, 38), random.uniform(7, 10)),
        }
        for day in (0, 16):
            gain = random.uniform(9000, 20000)
            for number in range(60, 64):
                image = 0.32 + 0.5 * (_scene(random, size, 1)[..., 0] - 0.33)
                image[~_blob(random, size, (32, 32), random.uniform(27, 30))] = 0.02
                for organ, light in (("large_bowel", 0.55), ("small_bowel", 0.45), ("stomach", 0.75)):
                    down, across, radius = places[organ]
                    middle = (down + random.uniform(-1.5, 1.5), across + random.uniform(-1.5, 1.5))
                    mask = _blob(random, size, middle, radius * random.uniform(0.9, 1.1))
                    mask &= random.random() > 0.15
                    image[mask] = light + random.normal(0, 0.05, int(mask.sum()))
                    if organ == "large_bowel":
                        image[nd.binary_erosion(mask, iterations=3)] = 0.12  # air
                    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel(), [0]]).astype(int))) + 1
                    runs = " ".join(f"{a} {b - a}" for a, b in zip(edges[::2], edges[1::2], strict=True))
                    rows.append((f"case{case}_day{day}_slice_{number:04d}", organ, runs))
                image = nd.gaussian_filter(image, 0.5) * _uneven(random, (size, size), 0.4)
                stored = np.clip((image + random.normal(0, 0.03, image.shape)) * gain, 0, 65535).astype("uint16")
                scans = root / "train" / f"case{case}" / f"case{case}_day{day}" / "scans"
                _save(scans / f"slice_{number:04d}_{size}_{size}_1.50_1.50.png", stored)
    with (root / "train.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def sen1floods(root: Path) -> None:
    """Radar in decibels, `(2, height, width)` TIFF, not a number off the track; 1 is water, -1 was not looked at."""
    random = np.random.default_rng(63)
    size = 64
    lists: dict[str, list[tuple[str, str]]] = {"train": [], "valid": []}
    for number in range(76):
        country = ("Ghana", "India", "Mekong", "Spain")[number % 4]
        name = f"{country}_{number * 7919 % 99991}"
        height = nd.gaussian_filter(random.normal(size=(size, size)), 7) * 14 + random.normal(0, 0.3)
        water = height < -0.35
        field = nd.gaussian_filter(random.normal(size=(size, size)), 5) * 8
        land = np.stack([-9.5 + 1.5 * field, -16 + 1.2 * field]) + random.normal(0, 0.7, (2, 1, 1))
        smooth = np.array([-19.5, -27.0])[:, None, None] + random.normal(0, 0.8, (2, 1, 1))
        radar = np.where(water, smooth, land) + random.normal(0, 2.6, (2, size, size))  # speckle
        label = water.astype("int16")
        label[nd.gaussian_filter(random.normal(size=(size, size)), 6) * 12 > 1.1] = -1  # under a cloud
        if number % 6 == 5:
            radar[:, :, : int(random.integers(6, 16))] = np.nan
            label[:, : int(random.integers(6, 16))] = -1
        for folder, pixels in (("S1Hand", radar.astype("float32")), ("LabelHand", label)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / folder / f"{name}_{folder}.tif", pixels)
        lists["valid" if number >= 60 else "train"].append((f"{name}_S1Hand.tif", f"{name}_LabelHand.tif"))
    for split, pairs in lists.items():
        with (root / f"flood_{split}_data.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(pairs)


def covid_ct(root: Path) -> None:
    """Slices of the chest as DICOM, stored from 0 with an intercept of -1024; NIfTI of lungs (1) and infection (2)."""
    from pydicom.dataset import Dataset, FileMetaDataset  # optional, as in the package
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    random = np.random.default_rng(64)
    size = 64
    down, across = np.mgrid[:size, :size]
    (root / "labels").mkdir(parents=True)
    for patient in range(12):
        labels = np.zeros((6, size, size), "uint8")
        folder = root / "dicom" / f"P{patient:02d}"
        folder.mkdir(parents=True)
        shift, wide = random.uniform(-2, 2, 2), random.uniform(0.9, 1.08)
        for z, label in enumerate(labels):
            hounsfield = np.full((size, size), -1000.0)
            hounsfield[((down - 32) / 23) ** 2 + ((across - 32) / 29) ** 2 <= wide] = 40
            for left in (20, 44):
                inside = ((down - 30 - shift[0]) / (15 - abs(z - 3))) ** 2
                label[inside + ((across - left - shift[1]) / 9) ** 2 <= wide] = 1
            hounsfield[label == 1] = -820
            vessels = (nd.gaussian_filter(random.normal(size=(size, size)), 1) > 0.55) & (label == 1)
            hounsfield[vessels] = -350
            for _ in range(random.integers(0, 4) if patient % 4 else 1):
                ill = _blob(random, size, tuple(random.uniform((20, 14), (42, 50))), random.uniform(4, 7))
                ill &= label > 0
                hounsfield[ill] = random.uniform(-520, -250)
                label[ill] = 2
            hounsfield[np.hypot(down - 50, across - 32) <= 4] = 600
            hounsfield = nd.gaussian_filter(hounsfield, 0.6) + random.normal(0, 45, hounsfield.shape)
            data = Dataset()
            data.file_meta = FileMetaDataset()
            data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(
                entropy_srcs=[f"{patient}{z}"]
            )
            data.Rows = data.Columns = size
            data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
            data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
            data.RescaleSlope, data.RescaleIntercept, data.InstanceNumber = 1, -1024, 6 - z
            data.PixelData = np.clip(hounsfield + 1024, 0, 4095).astype("uint16").tobytes()
            data.save_as(folder / f"IM{(z * 5 + patient) % 6:04d}.dcm", enforce_file_format=True)
        volume = nib.Nifti1Image(labels[::-1].transpose(2, 1, 0), np.diag([0.8, 0.8, 5.0, 1.0]))
        nib.save(volume, root / "labels" / f"P{patient:02d}.nii.gz")


def offroad(root: Path) -> None:
    """Frames of drives off the road: 0 sky, 1 trees, 2 grass, 3 trail, 4 obstacle, 255 where nobody is sure; lists."""
    random = np.random.default_rng(65)
    high, wide = 64, 80
    colors = np.array([[0.7, 0.8, 0.95], [0.16, 0.3, 0.14], [0.42, 0.52, 0.2], [0.55, 0.46, 0.36], [0.25, 0.22, 0.24]])
    down, across = np.mgrid[:high, :wide]
    for number in range(84):
        waves = nd.gaussian_filter1d(random.normal(size=(3, wide)), 6, axis=1) * 9
        top = 12 + waves[0] + random.uniform(-3, 3)
        horizon = np.maximum(top + 6, 28 + 0.4 * waves[1] + random.uniform(-3, 3))
        label = np.select([down < top, down < horizon], [0, 1], 2)
        far = np.clip((down - 28) / 36, 0, 1)
        middle = random.uniform(28, 52) + random.uniform(-20, 20) * far + 2 * waves[2]
        label[(np.abs(across - middle) < 3 + 17 * far) & (label == 2)] = 3
        for _ in range(random.integers(1, 3)):
            foot, side = random.uniform(38, 56), random.uniform(10, 70)
            box = (np.abs(across - side) < random.uniform(4, 8)) & (down < foot) & (down > foot - random.uniform(9, 16))
            label[box] = 4
        image = (colors + random.normal(0, 0.07, colors.shape))[label] + 0.6 * (_scene(random, wide, 3)[:high] - 0.33)
        image[label == 1] += random.normal(0, 0.08, (int((label == 1).sum()), 1))
        image = nd.gaussian_filter(image, (0.6, 0.6, 0)) * _uneven(random, (high, wide), 0.5)[..., None]
        label[nd.maximum_filter(label, 3) != nd.minimum_filter(label, 3)] = VOID
        label[:, : random.integers(0, 6)] = VOID  # the vehicle
        name = f"drive{number // 12:02d}_{number % 12 * 30:06d}"
        _save(root / "rgb" / f"{name}.png", _stored([image + random.normal(0, 0.06, image.shape)])[0])
        _save(root / "annotation" / f"{name}.png", label.astype("uint8"))
        with (root / ("val.lst" if number >= 66 else "train.lst")).open("a") as stream:
            stream.write(f"rgb/{name}.png annotation/{name}.png\n")


def oct_dme(root: Path) -> None:
    """A MATLAB file a subject: scans, heights of four boundaries in each column, not a number where none was drawn."""
    random = np.random.default_rng(66)
    high, wide, count = 64, 80, 6
    light = np.array([0.08, 0.55, 0.32, 0.85, 0.45])
    (root / "2015_BOE_Chiu").mkdir(parents=True)
    for subject in range(1, 12):
        images, layers = np.zeros((high, wide, count), "uint8"), np.full((4, wide, count), np.nan)
        for scan in range(count):
            tilt = random.uniform(-0.12, 0.12) * (np.arange(wide) - wide / 2)
            wave = nd.gaussian_filter1d(random.normal(size=(4, wide)), 8, axis=1) * 5
            thick = np.array([0, random.uniform(9, 13), random.uniform(9, 13), random.uniform(4, 6)])
            dip = 6 * np.exp(-(((np.arange(wide) - random.uniform(30, 50)) / 9) ** 2))
            lines = random.uniform(12, 24) + tilt + np.cumsum(thick)[:, None] + wave * [[1], [0.4], [0.4], [0.2]]
            lines[0] += dip
            lines = np.maximum.accumulate(lines + np.arange(4)[:, None] * 0.5, axis=0)
            region = (np.arange(high)[:, None, None] >= lines.T).sum(-1)
            image = light[region] * np.where(region == 4, np.exp(-np.maximum(0, np.arange(high)[:, None] - 50) / 9), 1)
            for _ in range(random.integers(1, 4)):  # vessels throw shadows
                place = random.integers(5, wide - 5)
                image[:, place : place + 2] *= 0.6
            image = image * random.gamma(7, 1 / 7, image.shape) * random.uniform(0.8, 1.1)  # speckle
            images[..., scan] = _stored([nd.gaussian_filter(image, 0.5)])[0]
            seen = slice(int(random.integers(4, 12)), wide - int(random.integers(4, 12)))
            layers[:, seen, scan] = lines[:, seen]
        file = root / "2015_BOE_Chiu" / f"Subject_{subject:02d}.mat"
        savemat(file, {"images": images, "manualLayers1": layers}, do_compression=True)


def faces(root: Path) -> None:
    """Portraits as JPEG; a PNG of 0 and 255 for each part that is seen: skin, hair, mouth, eyes, cloth."""
    random = np.random.default_rng(67)
    size = 64
    down, across = np.mgrid[:size, :size]
    for number in range(84):
        y, x = random.uniform(30, 36), random.uniform(28, 36)
        tall, broad = random.uniform(15, 19), random.uniform(12, 15)
        face = ((down - y) / tall) ** 2 + ((across - x) / broad) ** 2 <= 1
        cap = ((down - y + 3) / (tall + 5)) ** 2 + ((across - x) / (broad + 5)) ** 2 <= 1
        fringe = y - tall * random.uniform(0.35, 0.6)
        hair = cap & ((down < fringe) | ~face) & (down < y + tall * random.uniform(0.1, 0.9))
        cloth = (down > y + tall + 3 - 0.1 * np.abs(across - x)) & (np.abs(across - x) < 26)
        neck = (down > y) & (down < y + tall + 8) & (np.abs(across - x) < 6) & ~cloth
        eyes = np.zeros_like(face)
        for side in (-1, 1):
            eyes |= ((down - y + 4) / 2.4) ** 2 + ((across - x - side * 0.45 * broad) / 3.6) ** 2 <= 1
        mouth = ((down - y - 0.5 * tall) / 2.4) ** 2 + ((across - x) / (0.45 * broad)) ** 2 <= 1
        skin = (face | neck) & ~hair
        parts = {"skin": skin, "hair": hair & ~eyes, "cloth": cloth, "eyes": eyes & skin, "mouth": mouth & skin}
        tone = np.array([0.85, 0.65, 0.52]) * random.uniform(0.55, 1.1)
        colors = {
            "skin": tone, "hair": np.array([0.35, 0.24, 0.15]) * random.uniform(0.3, 1.6),
            "cloth": random.uniform(0.1, 0.9, 3), "eyes": np.array([0.85, 0.85, 0.88]) * random.uniform(0.9, 1.1),
            "mouth": tone * [0.95, 0.45, 0.5],
        }  # fmt: skip
        image = random.uniform(0.3, 0.8, 3) + 0.8 * (_scene(random, size, 3) - 0.33)
        for part, region in parts.items():
            image[region] = colors[part] + random.normal(0, 0.03, (int(region.sum()), 3))
            if region.any() and not (part == "eyes" and number % 9 == 8):
                _save(root / "parts" / f"{number:05d}_{part}.png", (255 * region).astype("uint8"))
        image = nd.gaussian_filter(image, (0.5, 0.5, 0)) * _uneven(random, (size, size), 0.6)[..., None]
        _save(root / "img" / f"{number}.jpg", _stored([image])[0], quality=94)


def bacteria(root: Path) -> None:
    """Films of growing rods in phase contrast, 16-bit TIFF stacks; beside each the cell that a pixel is of."""
    random = np.random.default_rng(68)
    size = 64
    down, across = np.mgrid[:size, :size]
    root.mkdir(parents=True)
    for film in range(13):
        rods = [[*random.uniform(12, 52, 2), random.uniform(0, np.pi), random.uniform(4, 7)] for _ in range(11)]
        frames, labels = [], []
        for _ in range(6):
            label = np.zeros((size, size), "uint16")
            image = 0.55 + 0.3 * (_scene(random, size, 1)[..., 0] - 0.33)
            for number, rod in enumerate(rods, start=1):
                rod[0] += random.normal(0, 0.7)
                rod[1] += random.normal(0, 0.7)
                rod[2] += random.normal(0, 0.05)
                rod[3] *= 1.04
                y, x, turn, half = rod
                along = (down - y) * np.sin(turn) + (across - x) * np.cos(turn)
                aside = (across - x) * np.sin(turn) - (down - y) * np.cos(turn)
                cell = np.hypot(np.maximum(np.abs(along) - half, 0), aside) <= 3.4
                label[cell & (label == 0)] = number
            body = nd.grey_erosion(label, 3) == nd.grey_dilation(label, 3)
            near = nd.gaussian_filter((label > 0).astype(float), 3)
            image += 0.35 * near * (label == 0)  # the halo
            image[label > 0] = 0.34
            image[(label > 0) & body] = 0.2
            image = nd.gaussian_filter(image, 0.7) * _uneven(random, (size, size), 0.6)
            frames.append(np.clip((image + random.normal(0, 0.025, image.shape)) * 9000, 0, 65535).astype("uint16"))
            labels.append(label)
        tifffile.imwrite(root / f"film{film:02d}.tif", np.stack(frames))
        tifffile.imwrite(root / f"film{film:02d}_cells.tif", np.stack(labels))


FOLDERS: tuple[Callable[[Path], None], ...] = (
    flowers, uw_madison, sen1floods, covid_ct, offroad, oct_dme, faces, bacteria,
)  # fmt: skip
