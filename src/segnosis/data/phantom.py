"""A heart that needs no download: short-axis cardiac MR of made-up subjects, with masks, as NIfTI volumes.

The picture is built from what makes the real task hard: the cavity is as bright as the right ventricle and the
chest wall; papillary muscles darken the cavity; the wall is thin and grey like the liver; a coil's bias field, Rician
noise and a partial-volume blur lie over everything; three quarters of a slice are background, and the slices above
the base and below the apex hold no heart at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segnosis.core.run_folder import write_bytes, write_json

CLASS_NAMES = ("background", "right ventricle", "myocardium", "left ventricle")
BACKGROUND, RIGHT_VENTRICLE, MYOCARDIUM, LEFT_VENTRICLE = range(4)


@dataclass(frozen=True)
class Subject:
    """One made-up subject.

    Attributes:
        image: `(height, width, slices)` float32 intensities, scanner units.
        mask: `(height, width, slices)` uint8 class ids as in `CLASS_NAMES`.
        spacing: Millimetres `(row, column, slice)`.
    """

    image: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float, float]


def heart(seed: int, *, size: int = 128, slices: int = 8) -> Subject:
    """Make one subject; the same seed makes the same heart.

    Args:
        seed: Any non-negative integer.
        size: Height and width of a slice, pixels.
        slices: Slices from above the base to below the apex.

    Example:
        >>> subject = heart(0)
        >>> subject.image.shape, sorted(set(subject.mask.ravel().tolist()))
        ((128, 128, 8), [0, 1, 2, 3])
    """
    rng = np.random.default_rng((seed, 0x4EA27))
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    unit = size / 128.0
    centre = size * (0.5 + rng.uniform(-0.08, 0.08, 2))
    angle, radius = rng.uniform(-0.6, 0.6), unit * rng.uniform(15.0, 21.0)
    wall, squash = unit * rng.uniform(5.0, 8.5), rng.uniform(0.88, 1.12)
    right_reach, right_size = rng.uniform(1.15, 1.35), rng.uniform(0.85, 1.08)
    tissue = _tissue(rng)
    torso = _torso(rng, size)
    image, mask = np.zeros((size, size, slices), np.float32), np.zeros((size, size, slices), np.uint8)
    for z in range(slices):
        depth = (z - 0.6) / max(slices - 2.2, 1.0)  # 0 at the base, 1 at the apex
        drift = centre + unit * depth * rng.uniform(-2.0, 2.0, 2)
        y, x = rows - drift[0], columns - drift[1]
        along = np.cos(angle) * x + np.sin(angle) * y
        across = (np.cos(angle) * y - np.sin(angle) * x) * squash
        wobble = _smooth_noise(rng, size, 10 * unit) * 1.2 * unit
        shrink = np.sqrt(max(1.0 - max(depth, 0.0) ** 2 * 0.9, 0.0)) if -0.05 <= depth <= 1.03 else 0.0
        ids = np.zeros((size, size), np.uint8)
        if shrink > 0:
            distance = np.hypot(along, across) + wobble
            inner, outer = radius * shrink, radius * shrink + wall
            reach = outer * right_reach
            right = np.hypot((along + reach * 0.75) / 1.05, across / 1.25) + wobble < outer * right_size * (
                1.05 - 0.45 * depth
            )
            ids[right & (distance >= outer) & (along < -0.15 * outer)] = RIGHT_VENTRICLE
            ids[distance < outer] = MYOCARDIUM
            ids[distance < inner] = LEFT_VENTRICLE
        picture = torso(z)
        for class_id, value in tissue.items():
            picture[ids == class_id] = value
        if shrink > 0:
            # Papillary muscles are dark and belong to the cavity by convention.
            for _ in range(rng.integers(2, 4)):
                turn, out = rng.uniform(0, 2 * np.pi), inner * rng.uniform(0.45, 0.7)
                at = np.hypot(along - out * np.cos(turn), across - out * np.sin(turn))
                picture[(at < unit * rng.uniform(1.5, 3.2)) & (ids == LEFT_VENTRICLE)] = tissue[MYOCARDIUM] * 1.15
        picture = cv2.GaussianBlur(picture, (0, 0), 0.8 * unit)
        bias = np.exp(0.35 * _smooth_noise(rng, size, 45 * unit))
        noise = rng.normal(0.0, 0.045, (2, size, size))
        image[..., z] = 1000.0 * np.hypot(picture * bias + noise[0], noise[1])
        mask[..., z] = ids
    in_plane = rng.uniform(1.2, 1.6)
    return Subject(image, mask, (in_plane, in_plane, float(rng.uniform(8.0, 10.0))))


def write(
    folder: str | Path,
    *,
    subjects: int = 24,
    size: int = 128,
    slices: int = 8,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `subjects` hearts as `subject-001.nii.gz` and `subject-001_gt.nii.gz`, and their class names.

    Args:
        folder: Where; made when missing.
        subjects, size, slices, seed: How many, how large, which.
        progress: Called with (done, total).

    Returns:
        The folder.
    """
    import nibabel as nib

    folder = Path(folder)
    for number in range(subjects):
        made = heart(seed * 10_000 + number, size=size, slices=slices)
        affine = np.diag([*made.spacing, 1.0])
        for array, suffix in ((made.image.round().astype(np.int16), ""), (made.mask, "_gt")):
            volume = nib.Nifti1Image(array, affine)
            write_bytes(folder / f"subject-{number + 1:03d}{suffix}.nii.gz", _gzip(volume.to_bytes()))
        if progress is not None:
            progress(number + 1, subjects)
    write_json(folder / "dataset.json", {"labels": {name: index for index, name in enumerate(CLASS_NAMES)}})
    return folder


def _gzip(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, compresslevel=4, mtime=0)


def _tissue(rng: np.random.Generator) -> dict[int, float]:
    blood = rng.uniform(0.62, 0.85)
    return {
        RIGHT_VENTRICLE: blood * rng.uniform(0.88, 1.02),
        MYOCARDIUM: rng.uniform(0.24, 0.36),
        LEFT_VENTRICLE: blood,
    }


def _torso(rng: np.random.Generator, size: int) -> Callable[[int], np.ndarray]:
    """Chest wall, liver, lungs, vessels: what is around the heart, and as bright as parts of it."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    body = np.hypot(rows / rng.uniform(0.42, 0.48), columns / rng.uniform(0.45, 0.52)) < 1.0
    wall = body & (np.hypot(rows / 0.40, columns / 0.44) > 0.97)
    liver = body & (rows + 0.35 * columns > rng.uniform(0.2, 0.28))
    bright, dark, grey = rng.uniform(0.6, 0.9), rng.uniform(0.08, 0.16), rng.uniform(0.26, 0.4)
    vessels = [(rng.uniform(-0.38, 0.38, 2), rng.uniform(0.015, 0.05), rng.uniform(0.4, 0.85)) for _ in range(9)]
    texture = _smooth_noise(rng, size, size / 22)

    def picture(z: int) -> np.ndarray:
        out = np.where(body, dark * 1.5, 0.02).astype(np.float32)
        out[liver] = grey
        out[wall] = bright
        for at, radius, value in vessels:
            place = at + 0.006 * z
            out[(np.hypot(rows - place[0], columns - place[1]) < radius) & body] = value
        return out * (1.0 + 0.12 * texture)

    return picture


def _smooth_noise(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """Gaussian random field of unit deviation and correlation length `scale` pixels."""
    field = cv2.GaussianBlur(
        rng.normal(size=(size, size)).astype(np.float32), (0, 0), scale, borderType=cv2.BORDER_REFLECT
    )
    return (field - field.mean()) / max(float(field.std()), 1e-9)
