"""Images that are unreadable, not finite, blank, or always the same one.

## What it looks for
Files that do not decode to their last row; NaN or infinity in images or masks; images of one single value, where more
than one in twenty is (black tiles at a border are normal; where a fifth of them is white in the batches, they are burnt
out, which is PRE006); a loader that returns one and the same image for every sample, or a few with eight masks or more
for each, or holds one where it should hold all; or images that come again with masks that contradict each other.

## Why the model does not learn
One NaN makes the loss NaN, and from then on every weight. Blank or repeated images hold nothing that predicts a
mask.

## What to do
Copy the named files again from their source, or remove them together with their masks. For NaN:
`np.isfinite(image).all()`. Where it marks what was not imaged, `segnosis train DATA --nan 0` reads it as 0, and so does
every prediction of that run.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.evidence.image_statistics import ImageStatistics
from segnosis.doctor.evidence.repeated_images import RepeatedImages
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "DAT004", "error"
EXPLAINED_BY = ("PRE002", "PRE006")


def check(
    image_statistics: ImageStatistics | None = None,
    batch_images: ImageStatistics | None = None,
    repeated_images: RepeatedImages | None = None,
    *,
    most_constant: float = 0.05,
    fewest: int = 4,
    min_burnt: float = 0.2,
    max_contradicted: float = 0.3,
    fewest_contradicted: int = 8,
    most_masks: float = 8.0,
) -> Verdict:
    seen = [(stats, place) for stats, place in ((image_statistics, ""), (batch_images, " in the batches")) if stats]
    if not seen:
        return NotApplicable("no images were given")
    measured: dict[str, int] = {}
    problems, where = [], []
    all_alike = False
    for stats, place in seen:
        before = "batch_" if place else ""
        measured |= {
            f"{before}images": stats.images,
            f"{before}unreadable": stats.unreadable.count,
            f"{before}nonfinite": stats.nonfinite.count,
            f"{before}nonfinite_masks": stats.nonfinite_masks.count,
            f"{before}constant": stats.constant.count,
            f"{before}distinct": stats.distinct,
        }
        for tally, says in (
            (stats.unreadable, "cannot be read"),
            (stats.nonfinite, "hold NaN or infinity"),
            (stats.nonfinite_masks, "have masks with NaN or infinity"),
        ):
            if tally:
                problems.append(f"{tally.count} of {stats.pairs} samples {says}{place}")
                where += tally.where
        burnt = bool(place) and stats.burnt >= max(2, min_burnt * stats.constant.count)
        if stats.constant.count > most_constant * stats.images and stats.constant.count > 1 and not burnt:
            problems.append(f"{stats.constant.count} of {stats.images} images are of a single value{place}")
            where += stats.constant.where
        if stats.images >= fewest and stats.distinct == 1:
            all_alike = True
            problems.append(f"all {stats.images} images{place} are the same one")
            where.append(stats.same_as)
    repeats = repeated_images
    if repeats is not None:
        measured["images_with_contradicting_masks"] = repeats.contradicted
        if repeats.times >= fewest_contradicted and not all_alike:
            problems.append(f"all {repeats.times} pictures in `{repeats.held}` of the training data are one")
            where.append(repeats.held)
        measured["different_images"], measured["different_pairs"] = repeats.pictures, repeats.masks
        if repeats.pictures and repeats.masks >= most_masks * repeats.pictures and not all_alike:
            problems.append(f"{repeats.samples} {repeats.split} samples hold {repeats.pictures} different images")
            where.append(f"{repeats.masks / repeats.pictures:.0f} different masks for each")
        share = repeats.contradicted / max(1, repeats.samples)
        if not problems and repeats.contradicted >= fewest_contradicted and share > max_contradicted:
            return Finding(
                says=f"{repeats.contradicted} of {repeats.samples} {repeats.split} samples have the image of another "
                f"sample and a mask that contradicts its mask: {repeats.first} and {repeats.second} are one image.",
                measured=measured,
                fix="Look at the index by which images are read: masks move on where images do not; "
                "`assert len({image.tobytes() for image in images}) == len(images)`",
                where=(repeats.first, repeats.second),
                level="suspected",  # wrong pairs of images that repeat look the same
            )
    if not problems:
        return Healthy(measured)
    of_files = image_statistics is not None and bool(image_statistics.nonfinite)
    return Finding(
        says="; ".join(problems) + f": {where[0]}" + (f" and {len(where) - 1} more." if len(where) > 1 else "."),
        measured=measured,
        fix="Copy the named files again from their source, or remove them together with their masks; in a pipeline, "
        "find the step "
        "that makes them so: `assert np.isfinite(image).all() and image.std() > 0`"
        + ("; where NaN marks what was not imaged, `segnosis train DATA --nan 0`" if of_files else ""),
        where=tuple(where[:20]),
    )


def sick() -> Case:
    images, masks = pair_patients.scenes(6)
    pairs = pair_patients.pairs(images, masks)
    pairs[4] = replace(pairs[4], image=None, error="image file is truncated (3 bytes not processed)")
    return Case(pairs=pairs, spec=pair_patients.SPEC)


def sick_with_an_index_that_stays() -> Case:
    images, masks = pair_patients.scenes(24)
    return Case(batches=pair_patients.batches(images[np.arange(24) // 6], masks))


def healthy() -> Case:
    images, masks = pair_patients.scenes(48, size=32)
    images[5:7] = 0
    masks[5:7] = 0
    return Case(
        pairs=pair_patients.pairs(images, masks),
        batches=pair_patients.batches(np.roll(images, 3, 0), np.roll(masks, 3, 0)),
    )
