"""Folders of files as people keep them, for the scripts in `people`.

A file `folders_*.py` beside this one adds its own `FOLDERS`, functions that write into a folder of their name.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
from benchmarks.doctor.pictures import (
    VOID,
    Pictures,
    aerial,
    cells,
    fields,
    lesions,
    membranes,
    organs,
    street,
    vessels,
)
from PIL import Image
from scipy import ndimage as nd


def _save(file: Path, pixels: np.ndarray, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(file, **options)


def stage1_train(root: Path) -> None:
    """One folder an image, in it one PNG for every nucleus: Data Science Bowl 2018."""
    made = cells(11, 70, 72)
    for number, (image, mask) in enumerate(zip(made.images, made.masks, strict=True)):
        name = f"{number * 7919:08x}"
        _save(root / name / "images" / f"{name}.png", image)
        parts, count = nd.label(mask)
        for part in range(1, count + 1):
            _save(root / name / "masks" / f"{name}_{part}.png", (255 * (parts == part)).astype("uint8"))


def pets(root: Path) -> None:
    """JPEG photographs of two sizes; trimaps of 1 (animal), 2 (ground) and 3 (border)."""
    made = lesions(12, 90, 96)
    for number, (image, mask) in enumerate(zip(made.images, made.masks, strict=True)):
        animal = nd.binary_dilation(mask == 1, iterations=8)
        if not animal.any():
            animal[30:60, 30:70] = True
        photo = np.repeat(image, 3, -1).astype(float)
        photo[animal] = photo[animal] * 0.5 + np.array([120, 80, 40]) * (0.7 + 0.3 * np.sin(number))
        trimap = np.where(animal, 1, 2).astype("uint8")
        trimap[nd.binary_dilation(animal, iterations=2) ^ nd.binary_erosion(animal, iterations=1)] = 3
        cut = np.s_[:, :80] if number % 3 else np.s_[:84]
        _save(root / "images" / f"pet_{number}.jpg", np.clip(photo, 0, 255).astype("uint8")[cut], quality=95)
        _save(root / "annotations" / "trimaps" / f"pet_{number}.png", trimap[cut])


def voc(root: Path) -> None:
    """PASCAL VOC: photographs, raw masks with 255 on every border, and lists of names."""
    made = street(13, 72, 110)
    names = [f"2007_{number:06d}" for number in range(len(made.images))]
    for name, image, mask in zip(names, made.images, made.masks, strict=True):
        _save(root / "JPEGImages" / f"{name}.jpg", image, quality=95)
        _save(root / "SegmentationClassRaw" / f"{name}.png", mask)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, part in (("train", names[16:]), ("val", names[:16])):
        (lists / f"{split}.txt").write_text("\n".join(part) + "\n")


def lgg(root: Path) -> None:
    """Brain slices as colour PNGs beside masks of 0 and 255, one folder each, for directory iterators."""
    made = lesions(14, 70, 64)
    for number, (image, mask) in enumerate(zip(made.images, made.masks, strict=True)):
        split = "train" if number < 56 else "val"
        _save(root / split / "image" / f"slice_{number:03d}.png", np.repeat(image, 3, -1))
        _save(root / split / "mask" / f"slice_{number:03d}.png", 255 * mask)


def carvana(root: Path) -> None:
    """JPEG photographs with one large object; masks as GIF."""
    made = street(15, 80, 88)
    for number, (image, mask) in enumerate(zip(made.images, made.masks, strict=True)):
        _save(root / "train" / f"car{number:03d}.jpg", image, quality=95)
        car = nd.binary_closing(mask > 0, iterations=2)
        _save(root / "train_masks" / f"car{number:03d}_mask.gif", (255 * car).astype("uint8"))


def camvid(root: Path) -> None:
    """PNG images and PNG class ids of the same name, in four folders."""
    made = aerial(16, 80, 64)
    for number, (image, mask) in enumerate(zip(made.images, made.masks, strict=True)):
        split = "train" if number < 64 else "val"
        _save(root / split / f"{number:05d}.png", image)
        _save(root / f"{split}annot" / f"{number:05d}.png", mask)


def heart(root: Path) -> None:
    """One HDF5 volume a patient, slices first, intensities as the scanner gave them."""
    root.mkdir(parents=True)
    for patient in range(10):
        made = organs(100 + patient, 8, 64)
        with h5py.File(root / f"patient{patient:03d}.h5", "w") as file:
            file["image"] = made.images[..., 0].astype("float32") * (3 + patient % 4) + 20
            file["label"] = made.masks


def satellite(root: Path) -> None:
    """One scene of four bands, reflectance times 10,000, and its land cover."""
    made = fields(17, 25, 80)
    near = 0.6 * made.images[..., 1:2] + 0.3 * made.images[..., 2:3]
    bands = 20.0 * np.concatenate([made.images, near], -1)
    scene, labels = (
        np.concatenate([np.concatenate(part[5 * row : 5 * row + 5], 1) for row in range(5)])
        for part in (bands, made.masks)
    )
    root.mkdir(parents=True)
    np.save(root / "scene.npy", scene.astype("uint16"))
    np.save(root / "labels.npy", labels)


def retina(root: Path) -> None:
    """Twenty photographs of vessels and their manual masks of 0 and 255."""
    made = vessels(18, 20, 128)
    _write(root, made, "images/{:02d}_training.png", "1st_manual/{:02d}_manual1.png")


def membrane(root: Path) -> None:
    """Grey images and masks of 0 and 255, numbered from 0."""
    _write(root / "train", membranes(19, 60, 64), "image/{}.png", "label/{}.png")


def isic(root: Path) -> None:
    """JPEG photographs of skin and `_segmentation` masks of 0 and 255."""
    made = cells(20, 70, 96)
    for mask in made.masks:
        parts, _ = nd.label(mask)
        mask[parts != np.bincount(parts[parts > 0]).argmax()] = 0
    image = made.images.astype(float)
    made.images[:] = np.clip(
        np.where(made.masks[..., None] > 0, image - 40, image.mean() + (image - image.mean()) * 0.2), 0, 255
    )
    _write(root, made, "images/ISIC_{:07d}.jpg", "masks/ISIC_{:07d}_segmentation.png")


def _write(root: Path, made: Pictures, image_name: str, mask_name: str) -> None:
    for number, (image, mask) in enumerate(zip(made.images, made.masks, strict=True)):
        _save(root / image_name.format(number), image)
        _save(root / mask_name.format(number), np.where(mask == VOID, 0, 255 * mask).astype("uint8"))


FOLDERS: tuple[Callable[[Path], None], ...] = (
    stage1_train, pets, voc, lgg, carvana, camvid, heart, satellite, retina, membrane, isic,
)  # fmt: skip


def write_all(root: Path) -> None:
    """Write every folder under `root`, by its name."""
    more = (f"benchmarks.doctor.{file.stem}" for file in sorted(Path(__file__).parent.glob("folders_*.py")))
    for write in (*FOLDERS, *(one for name in more for one in import_module(name).FOLDERS)):
        write(root / write.__name__)
