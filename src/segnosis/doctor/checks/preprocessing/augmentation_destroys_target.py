"""Augmentation throws the objects out of the picture.

## What it looks for
Stored pairs with foreground, before and after augmentation: masks that lose all of it, pixels clipped to black or
white, and images that are covered by one colour or burnt out to it. Half of the masks lost is a suspicion; where 19 of
20 are lost, there is next to nothing left to learn from. Layers inside the model are watched while they augment the
first batches: images that they clip, burn out or shift by a multiple of their contrast, as layers do whose
`value_range` is that of bytes. Where neither the augmentation nor the stored pairs can be reached, as inside a
pipeline, training samples are held against validation samples of the same size; where training samples come as they are
stored, only for images that are burnt out, or clipped at both ends as by noise out of scale.

## Why the model does not learn
A crop that mostly misses a small lesion turns a data set of lesions into one of background; ranges that clip a third
of the pixels hide what the object looks like.

## What to do
Smaller ranges, and crops drawn around foreground part of the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segnosis.doctor.case import Batch, Case, pairs_from_arrays
from segnosis.doctor.evidence.augmented_targets import AugmentedTargets
from segnosis.doctor.evidence.inner_augmentation import InnerAugmentation
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "PRE006", "warning"
EXPLAINED_BY = ("PRE002",)


def check(
    augmented_targets: AugmentedTargets | None = None,
    inner_augmentation: tuple[InnerAugmentation, ...] | None = None,
    *,
    max_lost: float = 0.5,
    max_clipped: float = 0.3,
    max_burnt: float = 0.25,
    max_covered: float = 0.5,
    min_count: int = 8,
    sure_lost: float = 0.95,
    sure_clipped: float = 0.6,
    sure_two_ends: float = 0.25,
    sure_covered: float = 0.75,
    max_clipped_inside: float = 0.4,
    max_burnt_inside: float = 0.25,
    max_shift: float = 4.0,
) -> Verdict:
    for layer in inner_augmentation or ():
        spoils = max(layer.clipped / max_clipped_inside, layer.burnt / max_burnt_inside, layer.shift / max_shift)
        if layer.images >= min_count and spoils >= 1:
            return _inside(layer)
    if augmented_targets is None:
        inner = [layer.clipped for layer in inner_augmentation or ()]
        if not inner:
            return NotApplicable("no augmentation is known: neither in the model nor before it")
        return Healthy({"layers": len(inner), "pixels_clipped": max(inner)})
    seen = augmented_targets
    if seen.count < min_count:
        return NotApplicable(f"{seen.count} pairs with foreground are too few")
    measured = {
        "pairs": seen.count,
        "masks_without_foreground_after": seen.lost,
        "foreground_area_after_over_before": seen.area,
        "pixels_clipped": seen.clipped,
        "pixels_clipped_at_each_end": seen.two_ends,
        "pixels_covered_by_one_colour": seen.covered,
        "images_burnt_out": seen.burnt,
    }
    is_covered, is_clipped = seen.covered > max_covered, seen.clipped > max_clipped or seen.burnt > max_burnt
    if seen.lost <= max_lost and not is_covered and not is_clipped:
        return Healthy(measured)
    beside = seen.compared == "splits"
    is_noise = seen.two_ends >= sure_two_ends
    sure = seen.lost >= sure_lost or is_noise or seen.covered >= sure_covered
    sure |= beside and seen.clipped >= sure_clipped
    if seen.lost > max_lost:
        says = (
            f"Of {seen.count} training masks {seen.lost:.0%} fewer hold foreground than of the validation masks, "
            "which are not augmented."
            if beside
            else f"After augmentation {seen.lost:.0%} of {seen.count} masks with foreground have none left."
        )
        fix = "Smaller shifts and larger crops, or crops around a foreground pixel half of the time."
    elif is_covered:
        says = (
            f"One colour covers {seen.covered:.0%} more of a training image than of a validation image: what is cut "
            "out or filled hides the picture."
        )
        fix = "Holes and shifts in pixels of the size that is trained on: `hole = image.shape[0] // 8`."
    else:
        says = f"Augmentation clips {seen.clipped:.0%} of the pixels to the ends of their range"
        says += f", and {seen.burnt:.0%} of the images are one single value" if seen.burnt else ""
        says += "; validation images are not clipped." if beside else "."
        fix = "Smaller brightness and contrast ranges: `brightness_range=(0.9, 1.1)`."
        if is_noise:
            fix = "Noise in the units of the images: `rng.normal(0, 0.02, image.shape)` on images of 0 to 1."
    return Finding(
        says=says,
        measured=measured,
        fix=fix,
        where=("augmentation",),
        level="proven" if sure and (seen.augmented or is_noise) else "suspected",
        severity="warning",
    )


def _inside(layer: InnerAugmentation) -> Finding:
    return Finding(
        says=f"In training `{layer.layer}` ({layer.kind}) puts {layer.clipped:.0%} of all pixels to an end of the "
        f"range, makes {layer.burnt:.0%} of {layer.images} images one single value and moves their mean by "
        f"{layer.shift:.1f} of their deviations.",
        measured={"pixels_clipped": layer.clipped, "images_burnt_out": layer.burnt, "shift": layer.shift},
        fix=f"Give `{layer.layer}` the range that the images have, as `value_range=(0, 1)`; Keras' own stands for "
        "bytes, 0 to 255.",
        where=(layer.layer,),
    )


def _case(size: int) -> Case:
    random = np.random.default_rng(0)
    images = random.random((12, 32, 32, 1)).astype("float32")
    masks = np.zeros((12, 32, 32), "uint8")
    for mask in masks:
        top, left = random.integers(0, 28, 2)
        mask[top : top + 4, left : left + 4] = 1

    def crop(image: np.ndarray, mask: np.ndarray) -> tuple[Any, Any]:
        top, left = random.integers(0, 32 - size + 1, 2)
        return image[top : top + size, left : left + size], mask[top : top + size, left : left + size]

    return Case(pairs=pairs_from_arrays(images, masks), augment=crop)


def sick() -> Case:
    return _case(8)


def sick_batches() -> Case:
    return _beside(30.0)


def sick_of_noise() -> Case:
    """Noise for bytes, drawn once into arrays of 0 to 1: half of the pixels are 0 and half are 1."""
    train = squares("binary", num_classes=2, count=4)
    random = np.random.default_rng(0)
    noisy = [Batch(np.clip(batch.x + random.normal(0, 20, batch.x.shape), 0, 1), batch.y) for batch in train]
    return Case(batches=noisy, validation_batches=train, fit_arguments={"x": np.concatenate([b.x for b in noisy])})


def sick_of_holes() -> Case:
    train = squares("binary", num_classes=2, count=4)
    holes = [batch.x.copy() for batch in train]
    for hole in holes:
        hole[:, 1:, :-1] = 0.5
    return Case(batches=[Batch(x, batch.y) for x, batch in zip(holes, train, strict=True)], validation_batches=train)


def sick_inside() -> Case:
    import keras

    layer = keras.layers.RandomBrightness(0.3, seed=1)
    return Case(model=segmenter(3, "softmax", before=[layer]), batches=squares("ids"))


def healthy_inside() -> Case:
    import keras

    layer = keras.layers.RandomBrightness(0.2, value_range=(0, 1), seed=1)
    return Case(model=segmenter(3, "softmax", before=[layer]), batches=squares("ids"))


def healthy() -> Case:
    return _case(28)


def healthy_batches() -> Case:
    return _beside(1.1)


def _beside(light: float) -> Case:
    """Batches made up to `light` times brighter at random, and validation batches as they are."""
    train = squares("binary", num_classes=2, count=4)
    random = np.random.default_rng(0)
    brighter = [Batch(np.clip(batch.x * random.uniform(0.9 * light, light), 0, 1), batch.y) for batch in train]
    return Case(batches=brighter, validation_batches=train)
