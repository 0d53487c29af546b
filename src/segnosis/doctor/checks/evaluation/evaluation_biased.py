"""The validation score may not be that of whole, unseen images.

## What it looks for
Validation samples that are training samples, value for value; validation images that a second look at the same samples
shows differently, as augmentation does; and validation images smaller than half the stored ones, which are crops. This
is a list to look through.

## Why the model does not learn
It may learn well and be measured wrongly: crops around objects hide false positives elsewhere, known samples hide
overfitting, and augmented ones are other samples in every epoch, harder than the real ones. The score then differs from
what whole new images give.

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
from segnosis.doctor.evidence.validation_redrawn import Redrawn
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy, Verdict

CODE, SEVERITY = "EVA002", "note"


def check(
    batches: Sequence[Batch],
    validation_batches: Sequence[Batch],
    *,
    max_known: float = 0.5,
    min_area: float = 0.5,
    min_met: float = 0.75,
    pairs: Iterable[Pair] | None = None,
    validation_redrawn: Redrawn | None = None,
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
        "drawn_again": validation_redrawn.samples if validation_redrawn else None,
        "came_again": validation_redrawn.met if validation_redrawn else None,
    }
    if share > max_known:
        return Finding(
            says=f"{share:.0%} of {len(names)} validation samples are among the training samples, value for value.",
            measured=measured,
            fix="`validation_data=` of samples that are not trained on.",
            level="suspected",
        )
    if validation_redrawn is not None and validation_redrawn.met < min_met * validation_redrawn.samples:
        return Finding(
            says=f"Validation images change from draw to draw: drawn again, {validation_redrawn.met} of "
            f"{validation_redrawn.samples} came as they were before. Each epoch is scored on other, augmented images.",
            measured=measured,
            fix="Augment the training samples alone: `val_ds = make_dataset(val_files, augment=False)`.",
            where=("the validation pipeline",),
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


class _Drawn(keras.utils.PyDataset):
    """Squares by number, with noise of their own in each draw where asked."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self._batches, self._noise = squares("ids", count=3), noise
        self._random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = np.asarray(self._batches[index].x), np.asarray(self._batches[index].y)
        return x + self._noise * self._random.normal(size=x.shape).astype("float32"), y


def _drawn(noise: float) -> Case:
    dataset = _Drawn(noise)
    return Case(
        model=segmenter(3, "softmax"),
        loss="sparse_categorical_crossentropy",
        batches=squares("ids", count=4)[3:],
        validation_batches=[Batch(*dataset[index]) for index in range(len(dataset))],
        fit_arguments={"validation_data": dataset},
    )


def sick_of_augmentation() -> Case:
    return _drawn(noise=0.1)


def healthy_drawn_again() -> Case:
    return _drawn(noise=0.0)
