"""What augmentation leaves of the objects: stored pairs before and after it, or training beside validation batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence._mask_planes import ids_of
from segnosis.doctor.evidence.drawn_again import DrawnAgain
from segnosis.doctor.evidence.image_statistics import is_constant
from segnosis.doctor.evidence.label_space import LabelSpace
from segnosis.doctor.random_state import random_state_kept

PRICE = "data"

_PAIRS = 48
_FEWEST = 12
_BURNT = 0.1
_TWO_ENDS = 0.15


@dataclass(frozen=True)
class AugmentedTargets:
    """Pairs with foreground, before and after.

    Attributes:
        count: Pairs with foreground that were augmented.
        lost: Share of them without any foreground afterwards.
        area: Foreground share afterwards over the share before, mean over the pairs.
        clipped: Share of pixels at the ends of the image's range afterwards, beyond what there was before.
        two_ends: Of two splits the smaller of the shares at the lower and at the upper end, beyond that of validation
            images: light moves pixels to one end, noise out of scale to both.
        covered: Share of a training image that is of its commonest colour, beyond that of a validation image.
        burnt: Share of training images of a single colour, beyond that of validation images.
        compared: `"pairs"`, the same before and after; or `"splits"`, training beside validation samples.
        augmented: Whether samples were seen to come out changed; of pairs they do.
    """

    count: int
    lost: float
    area: float
    clipped: float
    two_ends: float = 0.0
    covered: float = 0.0
    burnt: float = 0.0
    compared: Literal["pairs", "splits"] = "pairs"
    augmented: bool = True


def measure(
    augment: Callable[..., Any] | None = None,
    pairs: Iterable[Pair] | None = None,
    batches: Sequence[Batch] | None = None,
    validation_batches: Sequence[Batch] | None = None,
    drawn_again: DrawnAgain | None = None,
    label_space: LabelSpace | None = None,
) -> AugmentedTargets:
    """On up to 48 pairs, once each; without the augmentation itself, on what both pipelines give."""
    if augment is not None and pairs is not None:
        return _of_pairs(augment, pairs)
    if batches is None or validation_batches is None:
        raise Unavailable("neither an augmentation with stored pairs nor validation batches were given")
    augmented = drawn_again is not None and drawn_again.unchanged is False
    seen = _of_splits(batches, validation_batches, label_space, augmented)
    if drawn_again is None or drawn_again.unchanged:
        if seen.burnt < _BURNT and seen.two_ends < _TWO_ENDS:
            raise Unavailable("no augmentation is at work: training samples come as they are stored")
        return replace(seen, lost=0.0)  # masks without foreground are no crop's doing
    return seen


def _of_pairs(augment: Callable[..., Any], pairs: Iterable[Pair]) -> AugmentedTargets:
    lost, areas, clipped = [], [], []
    with random_state_kept():
        np.random.seed(0)
        for pair in islice(pairs, _PAIRS):
            if pair.image is None or pair.mask is None or not (pair.mask > 0).any():
                continue
            try:
                image, mask = augment(np.array(pair.image), np.array(pair.mask))
            except Exception as error:  # anything that a user's augmentation can raise
                raise Unavailable(f"the augmentation raises {type(error).__name__}: {error}") from error
            mask = np.asarray(mask)
            lost.append(not (mask > 0).any())
            areas.append(float((mask > 0).mean() / (pair.mask > 0).mean()))
            clipped.append(max(0.0, _at_ends(np.asarray(image), pair.image) - _at_ends(pair.image, pair.image)))
    if not areas:
        raise Unavailable("no stored mask has any foreground")
    return AugmentedTargets(len(areas), float(np.mean(lost)), float(np.mean(areas)), float(np.mean(clipped)))


def _of_splits(
    batches: Sequence[Batch], validation_batches: Sequence[Batch], space: LabelSpace | None, augmented: bool
) -> AugmentedTargets:
    ignore = list((space.ignore if space else frozenset()) | {-1.0, 255.0 if space and space.channels != 1 else -1.0})
    shares, at_ends, covered, burnt, ends, sizes = [], [], [], [], None, set()
    for drawn in (batches, validation_batches):
        kept = [pair for pair in pairs_of(drawn) if pair.image is not None and pair.mask is not None]
        images = [np.asarray(pair.image) for pair in kept]
        planes = [_foreground(np.asarray(pair.mask), ignore) for pair in kept]
        if len(kept) < _FEWEST:
            raise Unavailable(f"{len(kept)} samples of a split are too few to compare them")
        if ends is None:  # of each channel: what makes it standard moves each to a place of its own
            channels = [image.reshape(-1, image.shape[-1]) for image in images]
            ends = np.min([one.min(axis=0) for one in channels], 0), np.max([one.max(axis=0) for one in channels], 0)
        sizes.add(images[0].shape[:2])
        shares.append(np.array([float(plane.mean()) for plane in planes]))
        clipped = np.array([[np.mean(image == end) for end in ends] for image in images])
        covered.append(float(np.mean([_covered(image) for image in images])))
        burnt.append(np.mean([is_constant(image) for image in images]))
        at_ends.append(clipped.mean(axis=0))
    if len(sizes) > 1:
        raise Unavailable("training and validation images differ in size")
    here, there = ((share > 0).mean() for share in shares)
    if not there:
        raise Unavailable("no validation mask has any foreground")
    return AugmentedTargets(
        len(shares[0]),
        lost=max(0.0, 1 - float(here / there)),
        area=float(shares[0].mean() / shares[1].mean()),
        clipped=max(0.0, float((at_ends[0] - at_ends[1]).sum())),
        two_ends=max(0.0, float((at_ends[0] - at_ends[1]).min())),
        covered=max(0.0, covered[0] - covered[1]),
        burnt=max(0.0, float(burnt[0] - burnt[1])),
        compared="splits",
        augmented=augmented,
    )


def _foreground(mask: np.ndarray, ignore: list[float]) -> np.ndarray:
    """Pixels of a class that is not the background; of planes that overlap, those of any."""
    if mask.ndim == 3 and mask.shape[-1] > 1 and (np.count_nonzero(mask, axis=-1) > 1).any():
        return np.asarray(mask.any(-1))
    plane = ids_of(mask)
    return np.asarray((plane > 0) & ~np.isin(plane, ignore))


def _covered(image: np.ndarray) -> float:
    """Share of the pixels that are of the commonest colour."""
    colours = image[::2, ::2].reshape(-1, image.shape[-1])
    ordered = colours[np.lexsort(colours.T)]  # a quarter of the time of `np.unique` over rows
    changes = np.flatnonzero(np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1), True])
    return float(np.diff(changes).max() / len(ordered))


def _at_ends(image: np.ndarray, original: np.ndarray) -> float:
    top = 255.0 if np.asarray(original).max() > 1.5 else 1.0
    return float(np.mean((image <= 0) | (image >= top)))
