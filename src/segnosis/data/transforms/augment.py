"""Runs transforms on an image and its mask, and the presets that `feed(augment=...)` knows by name."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from segnosis.core import discovery
from segnosis.core.errors import ArgumentError, did_you_mean
from segnosis.data.transforms.base import Canvas, Geometric, Intensity, Mixing, Photometric, Transform
from segnosis.data.transforms.coordinate_map import CoordinateMap, project
from segnosis.data.transforms.sampling import Fill, sample


def apply(
    transforms: Sequence[Transform],
    image: np.ndarray,
    mask: np.ndarray | None,
    rng: np.random.Generator,
    *,
    fill: Fill = "mean",
    outside: int = 255,
    foreground: tuple[np.ndarray, ...] = (),
) -> tuple[np.ndarray, np.ndarray | None]:
    """Image and mask after `transforms`.

    The geometric ones are composed in their order into one map that is sampled once; then the photometric ones change
    the image in their order.

    Args:
        transforms: What to do.
        image: `(height, width, channels)`, any real dtype.
        mask: `(height, width)` class ids, or `None`.
        rng: Source of every random choice; the same state gives the same result to the bit.
        fill: Image outside the source: a value, `"mean"` or `"reflect"`.
        outside: Class id outside the source.
        foreground: Pixel centres `(n, 2)` as `(x, y)` per foreground class, for crops that seek them.

    Returns:
        Image float32 in its own units, mask uint8 or int32.

    Example:
        >>> from segnosis.data.transforms.flip_horizontal import FlipHorizontal
        >>> picture = np.array([[[0], [1], [2]]], np.uint8)
        >>> image, mask = apply([FlipHorizontal()], picture, picture[..., 0], np.random.default_rng(0))
        >>> image[0, :, 0].tolist(), mask.tolist()
        ([2.0, 1.0, 0.0], [[2, 1, 0]])
    """
    single = [t for t in transforms if not isinstance(t, Mixing)]
    chosen = [t for t in single if t.probability >= 1.0 or rng.random() < t.probability]
    where = compose(chosen, image.shape[:2], rng, foreground)
    image, mask = sample(where, image, mask, fill=fill, outside=outside)
    return _change(image, [t for t in chosen if isinstance(t, Photometric)], rng), mask


def compose(
    transforms: Sequence[Transform],
    size: tuple[int, int],
    rng: np.random.Generator,
    foreground: tuple[np.ndarray, ...] = (),
) -> CoordinateMap:
    """The one map of the geometric transforms among `transforms` for a source of `size` `(height, width)`."""
    where = CoordinateMap((size[0], size[1]))
    for transform in transforms:
        if isinstance(transform, Geometric):
            seen = tuple(project(where.forward, points) for points in foreground)
            where.then(transform.matrix(rng, Canvas(where.size, seen)), transform.new_size(where.size))
            field = transform.field(rng, where.size)
            if field is not None:
                where.displace(field)
    return where


def preset(augment: str | Sequence[Transform] | None) -> tuple[Transform, ...]:
    """The transforms meant by `augment`: a preset's name, a sequence of transforms, or `None` for none.

    `"light"` mirrors left and right. `"default"` also turns by 15°, scales by 0.7–1.4 and changes brightness, contrast
    and gamma: right for photographs and for organs, which have an up and a down. `"isotropic"` is `"default"` for
    pictures without one (microscopy, satellites): all eight orientations. `"strong"` adds shear, perspective, elastic
    deformation, blur, noise, low resolution and a bias field to `"default"`.
    """
    if augment is None:
        return ()
    if not isinstance(augment, str):
        transforms = tuple(augment)
        for transform in transforms:
            if not isinstance(transform, Geometric | Photometric | Mixing):
                raise ArgumentError(
                    "`augment` is a preset's name or a sequence of transforms of segnosis.data.transforms.",
                    received={"transform": transform},
                    cure='Pass augment="default", or for example augment=[transforms.Rotate(15.0)].',
                )
        return transforms
    if augment not in _PRESETS:
        raise ArgumentError(
            "`augment` is a preset's name or a sequence of transforms.",
            received={"augment": augment},
            cure=did_you_mean(augment, _PRESETS),
        )
    return tuple(_make(name, **settings) for name, settings in _PRESETS[augment])


def _make(name: str, **settings: float) -> Transform:
    package = __package__ or ""
    from segnosis.data.transforms import class_name

    return getattr(discovery.load(package, name), class_name(name))(**settings)


_LIGHT: list[tuple[str, dict[str, float]]] = [("flip_horizontal", {"probability": 0.5})]
_DEFAULT = [
    *_LIGHT,
    ("rotate", {"degrees": 15.0, "probability": 0.7}),
    ("scale", {"low": 0.7, "high": 1.4, "probability": 0.7}),
    ("brightness_contrast", {"probability": 0.5}),
    ("gamma", {"probability": 0.3}),
]
_PRESETS: dict[str, list[tuple[str, dict[str, float]]]] = {
    "light": _LIGHT,
    "default": _DEFAULT,
    "isotropic": [("flip_vertical", {"probability": 0.5}), ("rot90", {}), *_DEFAULT],
    "strong": [
        *_DEFAULT,
        ("shear", {"probability": 0.2}),
        ("perspective", {"probability": 0.2}),
        ("elastic", {"probability": 0.3}),
        ("bias_field", {"probability": 0.2}),
        ("blur", {"probability": 0.2}),
        ("low_resolution", {"probability": 0.2}),
        ("gaussian_noise", {"probability": 0.2}),
    ],
}


def _change(image: np.ndarray, transforms: Sequence[Photometric], rng: np.random.Generator) -> np.ndarray:
    """Image in float32 after the photometric `transforms`; what was uint8 stays within 0–255."""
    if not transforms:
        return image.astype(np.float32)
    is_uint8 = image.dtype == np.uint8
    intensity = _intensity(image)
    waiting = list(transforms)
    if is_uint8:
        table = np.arange(256, dtype=np.float32)[:, None, None]
        while waiting and waiting[0].pointwise:
            table = waiting.pop(0).pixels(rng, table, intensity)
        image = cv2.LUT(image, table[:, 0, 0].clip(0, 255).astype(np.float32)).reshape(image.shape)
    for transform in waiting:
        image = transform.pixels(rng, image, intensity)
    image = image.astype(np.float32, copy=False)
    return image.clip(0, 255) if is_uint8 and waiting else image


def _intensity(image: np.ndarray) -> Intensity:
    flat = np.ascontiguousarray(image).reshape(image.shape[0], -1)
    low, high, _, _ = cv2.minMaxLoc(flat)
    return Intensity(low, high, cv2.mean(flat)[0])
