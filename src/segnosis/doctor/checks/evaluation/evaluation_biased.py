"""The validation score may not be that of whole, unseen images.

## What it looks for
Validation samples that are training samples, value for value; and validation images smaller than half the stored
ones, which are crops. This is a list to look through.

## Why the model does not learn
It may learn well and be measured wrongly: crops around objects hide false positives elsewhere, known samples hide
overfitting. The score then differs from what whole new images give.

## What to do
Validate on whole, unaugmented images of other patients or scenes: `validation_data=(x_val, y_val)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import keras
import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch, Case, pairs_from_arrays
from segnosis.doctor.digest import digest
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, Verdict

CODE, SEVERITY = "EVA002", "note"


def check(
    batches: Sequence[Batch],
    validation_batches: Sequence[Batch],
    *,
    max_known: float = 0.5,
    min_area: float = 0.5,
    pairs: Iterable[Pair] | None = None,
) -> Verdict:
    known = {name for batch in batches for name in _names(batch)}
    names = [name for batch in validation_batches for name in _names(batch)]
    share = sum(name in known for name in names) / max(1, len(names))
    area = float(np.prod(np.shape(keras.tree.flatten(validation_batches[0].x)[0])[1:3]))
    images = [pair.image for pair in islice(pairs or (), 16) if pair.image is not None]
    stored = [image.shape[0] * image.shape[1] for image in images]
    relative = area / float(np.median(stored)) if stored else None
    measured: dict[str, float | str | None] = {
        "validation_samples": len(names),
        "share_that_is_trained_on": share,
        "area_against_stored_images": relative,
    }
    if share > max_known:
        return Finding(
            says=f"{share:.0%} of {len(names)} validation samples are among the training samples, value for value.",
            measured=measured,
            fix="`validation_data=` of samples that are not trained on.",
            level="suspected",
        )
    if relative is not None and relative < min_area:
        return Finding(
            says=f"Validation images have {relative:.0%} of the stored ones' area: crops, or a lower resolution.",
            measured=measured,
            fix="Predict whole images for validation, in tiles where they are too large.",
            level="suspected",
        )
    return Healthy(measured)


def _names(batch: Batch) -> list[bytes]:
    return [digest(x) for x in np.asarray(keras.tree.flatten(batch.x)[0])]


def _case(same: bool) -> Case:
    batches = squares("ids", count=2)
    pairs = pairs_from_arrays(batches[0].x, batches[0].y)
    chosen = batches[:1] if same else batches[1:]
    return Case(
        model=segmenter(3, "softmax"),
        loss="sparse_categorical_crossentropy",
        batches=batches[:1],
        validation_batches=chosen,
        pairs=pairs,
    )


def sick() -> Case:
    return _case(same=True)


def healthy() -> Case:
    return _case(same=False)
