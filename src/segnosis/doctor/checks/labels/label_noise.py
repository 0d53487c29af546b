"""A few masks disagree with a model that is right elsewhere.

## What it looks for
Images on which a half-working model (median Dice above 0.6 over at least 8 images with foreground) scores below 0.2,
and images whose mask would fit much better the other way round. This is a list to look through, not a verdict.

## Why the model does not learn
A wrong mask pulls against all right ones. A few of them slow training down and cap the score; many of one kind are
learned.

## What to do
Open the listed samples next to their prediction. Correct the masks, or leave the samples out.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from segnosis.doctor.case import Batch, Case
from segnosis.doctor.patients import squares
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

if TYPE_CHECKING:
    from segnosis.doctor.evidence.predictions import Predictions

CODE, SEVERITY = "LAB009", "note"


def check(
    predictions: Predictions,
    *,
    min_images: int = 8,
    min_median: float = 0.6,
    max_dice: float = 0.2,
    min_inverted: float = 0.5,
    max_share: float = 0.25,
) -> Verdict:
    shown = [image for image in predictions.images if image.dice is not None and image.true > 0]
    scores = [image.dice or 0.0 for image in shown]
    if len(shown) < min_images or median(scores) <= min_median:
        return NotApplicable("masks are doubted only where a model is right on most of at least 8 images")
    low = sorted((image for image in shown if (image.dice or 0.0) < max_dice), key=lambda image: image.dice or 0.0)
    inverted = [image.name for image in low if (image.inverted or 0.0) > min_inverted]
    measured: dict[str, float | str | None] = {
        "images": len(shown),
        "median_dice": median(scores),
        "lowest_dice": min(scores),
        "images_below": len(low),
        "of_them_better_inverted": len(inverted),
    }
    if not low or len(low) > max_share * len(shown):
        return Healthy(measured)
    return Finding(
        says=f"{len(low)} of {len(shown)} images score a Dice below {max_dice:g}, the median is {median(scores):.2f}"
        + (f"; {len(inverted)} of them fit better with the mask inverted." if inverted else "."),
        measured=measured,
        fix="Look at these samples: a wrong, missing or inverted mask is corrected or left out.",
        where=tuple(image.name for image in low[:12]),
        level="suspected",
    )


def _case(wrong: bool) -> Case:
    import keras
    import numpy as np

    image = keras.Input((16, 16, 1))
    head = keras.layers.Conv2D(1, 1, activation="sigmoid", name="head")
    model = keras.Model(image, head(image))
    head.set_weights([np.full((1, 1, 1, 1), 40.0), np.full(1, -20.0)])
    batches = list(squares("binary", num_classes=2, count=3))
    if wrong:
        y = batches[0].y.copy()
        y[1] = 1 - y[1]
        batches[0] = Batch(batches[0].x, y)
    return Case(model=model, loss="binary_crossentropy", batches=batches)


def sick() -> Case:
    return _case(wrong=True)


def healthy() -> Case:
    return _case(wrong=False)
