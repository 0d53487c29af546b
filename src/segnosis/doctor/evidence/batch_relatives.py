"""Held-out images that are nearly images trained on: neighbouring slices of a volume, frames of a film.

Images are compared by their fine structure, what is left after taking away a blurred copy: unlike brightness and coarse
shape, two patients do not share it by chance. What most images have in common (a frame, a scale, dirt on the lens) is
taken away too. A picture turned upside down or mirrored by augmentation is known again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of

PRICE = "data"

ALIKE = 0.8
"""Correlation from which two images show the same thing."""
_SIDE, _BLUR = 64, 2.0
_MOST, _FEWEST = 512, 8


@dataclass(frozen=True)
class Relatives:
    """Held-out images against training images.

    Attributes:
        train, held_out: Images compared.
        related: Held-out images with a training image that correlates to `ALIKE` or more.
        typical: Correlation of a held-out image with the training image nearest to it, in the median.
        by_chance: Standard deviation of the correlations of all held-out with all training images.
        common: Share of all those pairs that correlate to `ALIKE` or more.
        example: A held-out image and its relative, by their places in the batches.
    """

    train: int
    held_out: int
    related: int
    typical: float
    by_chance: float
    common: float
    example: tuple[str, str]


def measure(batches: Sequence[Batch], validation_batches: Sequence[Batch]) -> Relatives:
    """Compare what was drawn of both; raises `Unavailable` where that is less than 8 images of a side."""
    sides = [_reduced(pairs_of(drawn)) for drawn in (batches, validation_batches)]
    if min(len(names) for names, _ in sides) < _FEWEST:
        raise Unavailable(f"fewer than {_FEWEST} images of a side are too few to look for relatives")
    (train_names, train), (held_names, held_out) = sides
    usual = np.median(np.concatenate([train, held_out]), axis=0)
    known = _unit(train - usual)
    seen = held_out - usual
    turned = (seen, seen[:, :, ::-1], seen[:, ::-1], seen[:, ::-1, ::-1])
    alike = np.max([_unit(images) @ known.T for images in turned], axis=0)
    nearest = alike.max(axis=1)
    best = int(nearest.argmax())
    return Relatives(
        train=len(train),
        held_out=len(held_out),
        related=int((nearest >= ALIKE).sum()),
        typical=float(np.median(nearest)),
        by_chance=float(alike.std()),
        common=float((alike >= ALIKE).mean()),
        example=(held_names[best], train_names[int(alike[best].argmax())]),
    )


def _reduced(pairs: Iterable[Pair]) -> tuple[list[str], np.ndarray]:
    """Names, and `(images, 64, 64)` of fine structure; blank and broken images are passed over."""
    names, rows = [], []
    for pair in pairs:
        row = _fine(pair.image) if pair.image is not None and pair.image.size else None
        if row is not None:
            names.append(pair.id)
            rows.append(row)
        if len(rows) == _MOST:
            break
    return names, np.reshape(rows, (-1, _SIDE, _SIDE)).astype("float32")


def _fine(image: np.ndarray) -> np.ndarray | None:
    grey = image.astype("float32")
    grey = grey if grey.ndim == 2 else grey.mean(axis=-1)
    spread = float(grey.std())
    if not np.isfinite(spread) or spread <= 1e-6 * (1 + float(np.abs(grey).max())):
        return None
    small = cv2.resize(np.ascontiguousarray(grey), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    small = (small - small.mean()) / max(1e-9, float(small.std()))
    return np.asarray(small - cv2.GaussianBlur(small, (0, 0), _BLUR))


def _unit(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
