"""Whether augmentation moves image and mask together: a pattern sent through it, and the same samples drawn twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import keras
import numpy as np
from scipy import ndimage as nd

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence.drawn_again import DrawnAgain
from segnosis.doctor.graph import all_layers
from segnosis.doctor.random_state import random_state_kept

PRICE = "data"

_REPEATS = 24
_MOVERS = (
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "RandomCrop",
    "RandomShear",
    "RandomPerspective",
    "RandomElasticTransform",
)
_SMALL = 64


@dataclass(frozen=True)
class AugmentationGeometry:
    """What is known of the augmentation.

    Attributes:
        layers: Geometric random layers inside the model, where no mask passes.
        tried: Times a pattern was sent through the user's augmentation; 0 without one.
        apart: How often image and mask came out moved differently.
        mask_kept: How often the mask came out as it went in although the image moved.
        raised: What the augmentation raised, else `None`.
        met_again: Samples of the pipeline met twice with exactly the same mask.
        moved_again: How many of those had their image moved in between.
        example: How, for the clearest one.
        seen: Caption → the pattern as image and as mask, before and after, of the first time they came apart.
    """

    layers: tuple[str, ...] = ()
    tried: int = 0
    apart: int = 0
    mask_kept: int = 0
    raised: str | None = None
    met_again: int = 0
    moved_again: int = 0
    example: str = ""
    seen: Mapping[str, np.ndarray] = field(default_factory=dict)


def measure(
    augment: Callable[..., Any] | None = None,
    model: keras.Model | None = None,
    batches: Sequence[Batch] | None = None,
    pairs: Any = None,
    drawn_again: DrawnAgain | None = None,
    seed: int | None = None,
) -> AugmentationGeometry:
    """Look at all there is; random states are put back."""
    if augment is None and model is None and batches is None:
        raise Unavailable("no augmentation, model or data was given")
    fields: dict[str, Any] = {"layers": _layers(model)}
    first = next(iter(pairs_of(batches)), None) if batches else None
    stored = next(iter(pairs), None) if pairs is not None else None
    with random_state_kept(augment):
        np.random.seed((seed or 0) + 1)
        random.seed((seed or 0) + 1)
        sample = stored if stored is not None and stored.image is not None and stored.mask is not None else first
        if augment is not None and sample is not None:
            fields |= _through(augment, sample)
        if batches:
            fields |= _again(
                (*pairs_of(batches), *islice(pairs or (), 128), *(drawn_again.pairs if drawn_again else ()))
            )
    return AugmentationGeometry(**fields)


def _layers(model: keras.Model | None) -> tuple[str, ...]:
    if model is None or len(getattr(model, "inputs", None) or [None]) != 1:
        return ()
    return tuple(
        layer.name
        for layer in all_layers(model)
        if type(layer).__name__ in _MOVERS and type(layer).__module__.startswith("keras.")
    )


def pattern(height: int, width: int) -> np.ndarray:
    """Random blobs that look like no turned, mirrored or shifted copy of themselves, 0 to 1, `(height, width)`."""
    noise = np.random.default_rng(7).normal(size=(height, width))
    smooth = nd.gaussian_filter(noise, max(1.5, min(height, width) / 24))
    return ((smooth - smooth.min()) / (smooth.max() - smooth.min())).astype("float32")


def _through(augment: Callable[..., Any], sample: Pair) -> dict[str, Any]:
    image, mask = np.asarray(sample.image), np.asarray(sample.mask)
    blobs = pattern(*image.shape[:2])
    top = 255.0 if image.dtype.kind in "ui" or image.max() > 1.5 else 1.0
    given = (blobs[..., None] * top if image.ndim == 3 else blobs * top) * np.ones(image.shape[2:] or 1)
    given = given.reshape(image.shape).astype(image.dtype)
    drawn = (blobs > np.median(blobs)).astype(mask.dtype)
    bits = np.broadcast_to(drawn[..., None], (*drawn.shape, mask.shape[2])).copy() if mask.ndim == 3 else drawn
    tried = apart = kept = 0
    seen: dict[str, np.ndarray] = {}
    for _ in range(_REPEATS):
        try:
            moved, target = augment(given.copy(), bits.copy())
        except Exception as error:  # anything that a user's augmentation can raise
            return {"raised": f"{type(error).__name__}: {error}"[:160]}
        moved, plane = _grey(np.asarray(moved)), np.asarray(target, "float32")
        plane = plane[..., 0] if plane.ndim == 3 else plane
        tried += 1
        if moved.shape != plane.shape or moved.std() < 0.05 * top:
            continue
        if abs(_likeness(moved, plane)) < 0.5 * _likeness(blobs, drawn.astype("float32")):
            same = plane.shape == drawn.shape and np.array_equal(plane, drawn)
            if not same or abs(_likeness(moved, blobs)) < 0.6:
                apart += 1
                kept += int(same)
                after = (plane > 0).astype("uint8")
                seen = seen or {"image": _grey(given), "mask": drawn > 0, "image after": moved, "mask after": after}
    return {"tried": tried, "apart": apart, "mask_kept": kept, "seen": seen}


def _again(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Samples with exactly the same mask, from one draw, a second draw or the stored pairs."""
    seen: dict[bytes, list[np.ndarray]] = {}
    for pair in pairs:
        if pair.mask is None or pair.image is None:
            continue
        mask = np.asarray(pair.mask)
        if mask.min() == mask.max():
            continue
        seen.setdefault(_key(mask), []).append(np.asarray(pair.image))
    met, moved, example, best = 0, 0, "", 0.0
    for images in seen.values():
        if len(images) < 2 or met >= 24:
            continue
        reference = _small(images[0])
        for other in images[1:3]:
            met += 1
            how, gain = _motion(reference, _small(other))
            moved += int(gain > 0)
            if gain > best:
                example, best = how, gain
    return {"met_again": met, "moved_again": moved, "example": example}


def _key(mask: np.ndarray) -> bytes:
    plane = mask[..., 0] if mask.ndim == 3 and mask.shape[-1] == 1 else mask
    low, high = float(plane.min()), float(plane.max())
    return np.round((plane.astype("float32") - low) / (high - low) * 250).astype("uint8").tobytes()


def _motion(first: np.ndarray, second: np.ndarray) -> tuple[str, float]:
    """How `second` is a moved `first`, and by how much better than standing still; ("", 0) when it is not."""
    if first.shape != second.shape:
        return "", 0.0
    still = _likeness(first, second)
    if still > 0.85 or min(first.std(), second.std()) == 0 or _partly_the_same(first, second):
        return "", 0.0
    best, how = still, ""
    for name, candidate in _moves(first):
        value, shift = _best_shift(candidate, second)
        if value > best + 1e-3:
            best, how = value, f"{name}, shifted by {shift}" if shift != (0, 0) else name
    return (how, best - still) if best > 0.75 and best - still > 0.2 else ("", 0.0)


def _partly_the_same(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether details lie where they were and look as they did: something was cut out, nothing was moved."""
    detail = nd.generic_gradient_magnitude(first, nd.sobel) > 0.1 * np.ptp(first)
    same = np.abs(first - second) < 1e-3 * np.ptp(first)
    return bool((detail & same).sum() >= 0.1 * detail.sum() > 0)


def _moves(image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield "shifted", image
    yield "mirrored left to right", image[:, ::-1]
    yield "mirrored top to bottom", image[::-1]
    for quarter in (1, 2, 3):
        if image.shape[0] == image.shape[1] or quarter == 2:
            yield f"turned by {90 * quarter}°", np.rot90(image, quarter)
    for mirrored in (False, True):
        for zoom in (0.85, 1.0, 1.15):
            for angle in range(-40, 41, 4):
                if angle or zoom != 1.0:
                    name = f"turned by {angle}°" + (f", zoomed {zoom}" if zoom != 1.0 else "")
                    turned = _turned(image[:, ::-1] if mirrored else image, angle, zoom)
                    yield name + (", mirrored" if mirrored else ""), turned


def _turned(image: np.ndarray, angle: float, zoom: float) -> np.ndarray:
    radians = np.deg2rad(angle)
    matrix = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]]) / zoom
    middle = (np.array(image.shape) - 1) / 2
    out: np.ndarray = nd.affine_transform(image, matrix, middle - matrix @ middle, order=1, mode="nearest")
    return out


def _best_shift(first: np.ndarray, second: np.ndarray) -> tuple[float, tuple[int, int]]:
    """Largest likeness over cyclic shifts, and the shift, as far as an eighth of the picture (for more, turn first)."""
    a, b = first - first.mean(), second - second.mean()
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    if norm == 0:
        return 0.0, (0, 0)
    product = np.fft.irfft2(np.fft.rfft2(b) * np.conj(np.fft.rfft2(a)), a.shape)
    row, column = (int(i) for i in np.unravel_index(product.argmax(), product.shape))
    height, width = a.shape
    shift = (row - height if row > height // 2 else row, column - width if column > width // 2 else column)
    return float(product[row, column] / norm), shift


def _likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two pictures, noise smoothed away."""
    a, b = (nd.gaussian_filter(np.asarray(part, "float32"), 1.0) for part in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / norm) if norm else 0.0


def _grey(image: np.ndarray) -> np.ndarray:
    return image.astype("float32").mean(axis=-1) if image.ndim == 3 else image.astype("float32")


def _small(image: np.ndarray) -> np.ndarray:
    grey = _grey(image)
    factor = [max(1.0, size / _SMALL) for size in grey.shape]
    if max(factor) == 1.0:
        return grey
    smooth = nd.gaussian_filter(grey, [part / 2 for part in factor])
    return np.asarray(nd.zoom(smooth, [1 / part for part in factor], order=1), "float32")
