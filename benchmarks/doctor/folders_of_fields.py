"""Folders of eight fields of work, each laid out as is the custom there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from benchmarks.doctor.pictures import VOID, aerial, fields, membranes, street
from PIL import Image
from scipy import ndimage as nd


def _save(file: Path, pixels: np.ndarray, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)


def crop_rows(root: Path) -> None:
    """Photographs from above a field and colour masks: black soil, green beet, red weed. Numbers without zeros."""
    random = np.random.default_rng(31)
    size, colors = 64, np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], "uint8")
    down, across = np.mgrid[:size, :size]
    for number in range(72):
        rough = nd.gaussian_filter(random.normal(size=(size, size)), 1.5)[..., None] * 0.15
        image = np.array([0.42, 0.32, 0.24]) * random.uniform(0.8, 1.2) + rough
        mask = np.zeros((size, size), "uint8")
        row = random.uniform(0.35, 0.65) * size
        beets = [(1, random.uniform(8, 14) + 22 * step, row + random.normal(0, 3)) for step in range(3)]
        weeds = [(2, *random.uniform(4, size - 4, 2)) for _ in range(random.integers(2, 7))]
        for class_id, top, left in weeds + beets:
            angle = np.arctan2(down - top, across - left)
            leaves, reach = (4, random.uniform(7, 10)) if class_id == 1 else (7, random.uniform(3.5, 5.5))
            leaf = reach * (0.7 + 0.3 * np.cos(leaves * angle + random.uniform(0, 6)))
            plant = np.hypot(down - top, across - left) <= leaf
            green = np.array([0.2, 0.55, 0.25]) if class_id == 1 else np.array([0.4, 0.6, 0.15])
            image[plant] = green * random.uniform(0.85, 1.15)
            mask[plant] = class_id
        image += random.normal(0, 0.03, image.shape)
        _save(root / "images" / f"plot_{number}.png", (255 * np.clip(image, 0, 1)).astype("uint8"))
        _save(root / "annotations" / f"plot_{number}_color.png", colors[mask])


def isbi_em(root: Path) -> None:
    """Two stacks of pages: electron microscopy, and labels that are 255 in cells and 0 on membranes."""
    made = membranes(32, 24, 128)
    root.mkdir(parents=True)
    labels = np.where(made.masks == 1, 0, 255).astype("uint8")
    for name, pages in (("train-volume.tif", made.images[..., 0]), ("train-labels.tif", labels)):
        first, *others = (Image.fromarray(page) for page in pages)
        first.save(root / name, save_all=True, append_images=others)


def deepglobe(root: Path) -> None:
    """Satellite JPEG and mask PNG side by side, told apart by suffix; the mask is a colour file of 0 and 255."""
    made = aerial(33, 80, 64)
    numbers = np.random.default_rng(33).permutation(900)[: len(made.images)] + 100
    for number, image, mask in zip(numbers, made.images, made.masks, strict=True):
        _save(root / f"{number}_sat.jpg", image, quality=95)
        _save(root / f"{number}_mask.png", np.repeat(255 * (mask == 1).astype("uint8")[..., None], 3, -1))


def chest(root: Path) -> None:
    """Chest radiographs as raw big-endian 12 bit, one mask file for each of three organs, two lists of names."""
    random = np.random.default_rng(34)
    size, names = 80, [f"JPCLN{number:03d}" for number in range(1, 71)]
    down, across = np.mgrid[:size, :size]
    (root / "img").mkdir(parents=True)
    for name in names:
        top, middle = random.uniform(36, 44), random.uniform(37, 43)
        high, wide = random.uniform(22, 27), random.uniform(9, 12)
        lungs = np.zeros((size, size), bool)
        for side in (-1, 1):
            lungs |= ((down - top) / high) ** 2 + ((across - middle - side * 17) / wide) ** 2 <= 1
        heart = ((down - top - 12) / 11) ** 2 + ((across - middle - 5) / random.uniform(10, 13)) ** 2 <= 1
        rise = random.uniform(0.1, 0.25) * np.abs(across - middle)
        clavicles = (np.abs(down - top + high - 3 + rise) <= 1.8) & (np.abs(np.abs(across - middle) - 17) <= 12)
        image = (
            0.62
            - 0.35 * lungs
            + 0.25 * heart
            + 0.17 * clavicles
            + 0.06 * nd.gaussian_filter(random.normal(size=(size, size)), 5) * 5
        )
        image += 0.04 * np.sin(down * 0.9 + 0.1 * np.abs(across - middle)) + random.normal(0, 0.02, image.shape)
        (4095 * np.clip(image, 0, 1)).astype(">u2").tofile(root / "img" / f"{name}.IMG")
        for organ, mask in (("lungs", lungs), ("heart", heart), ("clavicles", clavicles)):
            _save(root / "masks" / organ / f"{name}.png", 255 * mask.astype("uint8"))
    (root / "fold1.txt").write_text("\n".join(names[1::2]) + "\n")
    (root / "fold2.txt").write_text("\n".join(names[0::2]) + "\n")


def liver_ct(root: Path) -> None:
    """Numbered NIfTI volumes in Hounsfield units; the liver is in about half of the slices."""
    random = np.random.default_rng(35)
    size, slices = 64, 14
    root.mkdir(parents=True)
    down, across = np.mgrid[:size, :size]
    for patient in range(10):
        volume = np.full((size, size, slices), -1000.0)
        liver = np.zeros(volume.shape, "uint8")
        top, left = random.uniform(26, 34), random.uniform(20, 28)
        for z in range(slices):
            body = ((down - 32) / 26) ** 2 + ((across - 32) / 29) ** 2 <= 1
            volume[body, z] = -90 if z % 5 else -80
            inside = ((down - 32) / 22) ** 2 + ((across - 32) / 25) ** 2 <= 1
            volume[inside, z] = 45
            spine = np.hypot(down - 48, across - 32) <= 4
            volume[spine, z] = 500
            spleen = np.hypot(down - 30, across - 48) <= 5
            volume[spleen, z] = 115
            reach = 1 - ((z - 8) / 5) ** 2
            if reach > 0:
                shape = ((down - top) / 13) ** 2 + ((across - left) / 11) ** 2 <= reach
                shape &= inside
                volume[shape, z] = 115
                liver[shape, z] = 1
        volume += random.normal(0, 22, volume.shape)
        volume = nd.gaussian_filter(volume, (0.6, 0.6, 0))
        space = np.diag([0.8, 0.8, 2.5, 1.0])
        nib.save(nib.Nifti1Image(volume.astype("int16"), space), root / f"volume-{patient}.nii")
        nib.save(nib.Nifti1Image(liver, space), root / f"segmentation-{patient}.nii")


def worldcover(root: Path) -> None:
    """Tiles of four bands, channels first, reflectance times 10,000; map codes 10 to 50, 0 under clouds; a JSON."""
    made = fields(36, 72, 64)
    random = np.random.default_rng(36)
    root.mkdir(parents=True)
    names = [f"T{31 + number // 24}_{number:04d}" for number in range(len(made.images))]
    for name, image, mask in zip(names, made.images, made.masks, strict=True):
        near = 0.5 * image[..., 1:2] + 0.4 * image[..., 2:3] + 60.0 * (mask == 0)[..., None]
        bands = 14.0 * np.concatenate([image, near], -1)
        cloud = nd.gaussian_filter(random.normal(size=mask.shape), 6) * 12 > 1.1
        bands[cloud] = 7500 + random.normal(0, 200, (int(cloud.sum()), 1))
        codes = np.where(cloud, 0, 10 * (mask + 1)).astype("uint8")
        np.savez(root / f"{name}.npz", bands=np.moveaxis(bands, -1, 0).astype("uint16"), lc=codes)
    order = random.permutation(names).tolist()
    (root / "split.json").write_text(json.dumps({"train": order[:54], "valid": order[54:]}))


def city(root: Path) -> None:
    """Street scenes by town, images and label ids in two trees; ids of the original list, 0 where there is none."""
    made = street(37, 80, 64)
    ids = np.zeros(256, "uint8")
    ids[:6] = 7, 26, 21, 23, 20, 24
    ids[VOID] = 0
    frames = np.random.default_rng(37).permutation(4 * len(made.images))
    towns = ("zurich", "aachen", "ulm", "bochum")
    for number, (image, mask) in enumerate(zip(made.images, made.masks, strict=True)):
        split, town = ("val", "lindau") if number >= 64 else ("train", towns[number % 4])
        stem = f"{frames[number]:06d}_000019"
        _save(root / "leftImg8bit" / split / town / f"{town}_{stem}_leftImg8bit.png", image)
        _save(root / "gtFine" / split / town / f"{town}_{stem}_gtFine_labelIds.png", ids[mask])


def solar_cells(root: Path) -> None:
    """Luminescence photographs of solar cells; defects of three kinds as COCO annotations, run lengths down columns."""
    random = np.random.default_rng(38)
    size = 64
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    down, across = np.mgrid[:size, :size]
    for number in range(88):
        name = f"cell_{(number * 48271) % 65521:05x}.jpg"
        image = 0.5 + 0.05 * np.sin(across * 0.35 + random.uniform(0, 6)) + random.normal(0, 0.03, (size, size))
        free = np.ones((size, size), bool)
        images.append({"id": 1000 + number, "file_name": name, "height": size, "width": size})
        for kind in random.permutation([1, 2, 3])[: random.integers(1, 4)]:
            defect = np.zeros((size, size), bool)
            for _ in range(random.integers(1, 3) + 2 * (kind == 1)):
                top, left = random.uniform(4, size - 4, 2)
                if kind == 1:  # dark spots
                    defect |= np.hypot(down - top, across - left) <= random.uniform(2.5, 4)
                elif kind == 2:  # fingers that shine, nearly upright
                    defect |= (np.abs(across - left - 0.15 * (down - top)) <= 1.5) & (np.abs(down - top) <= 18)
                else:  # areas that are cut off
                    defect |= (np.abs(down - top) <= random.uniform(5, 8)) & (np.abs(across - left) <= 10)
            defect &= free
            free &= ~defect
            image[defect] += {1: -0.3, 2: 0.3, 3: -0.15}[int(kind)] * random.uniform(0.8, 1.1)
            column = defect.T.ravel()
            edges = [0, *(np.flatnonzero(np.diff(column.astype("int8"))) + 1).tolist(), column.size]
            counts = [0] * int(column[0]) + np.diff(edges).tolist()  # the first run is of zeros
            segmentation = {"size": [size, size], "counts": counts}
            annotations.append({"image_id": 1000 + number, "category_id": int(kind), "segmentation": segmentation})
        _save(root / "images" / name, (255 * np.clip(image, 0, 1)).astype("uint8"), quality=95)
    table = {"images": images, "annotations": [annotations[i] for i in random.permutation(len(annotations))]}
    (root / "instances.json").write_text(json.dumps(table))


FOLDERS: tuple[Callable[[Path], None], ...] = (
    crop_rows, isbi_em, deepglobe, chest, liver_ct, worldcover, city, solar_cells,
)  # fmt: skip
