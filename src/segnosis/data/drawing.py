"""One sample drawn from a data set into a batch: read or passed over, cut, moved and coloured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from segnosis.core.errors import ArgumentError, DataError, SegnosisError
from segnosis.core.sample import Sample
from segnosis.data.sample_cache import SampleCache
from segnosis.data.transforms.augment import apply
from segnosis.data.transforms.base import Transform
from segnosis.data.transforms.sampling import Fill

_POINTS = 256  # remembered per class and sample for foreground crops


class Drawing:
    """The part of `Batches` that knows one sample at a time."""

    dataset: Any
    samples: SampleCache
    size: tuple[int, int]
    channels: int
    transforms: Sequence[Transform]
    fill: Fill
    seeks_foreground: bool
    on_error: Literal["raise", "skip"]
    skipped: dict[str, str]
    ignore_class: int | None
    present: np.ndarray | None
    _outside: int
    _points: dict[int, tuple[np.ndarray, ...]]

    def _fill(self, x: np.ndarray, y: np.ndarray, index: int, rng: np.random.Generator) -> None:
        index, sample, mask = self._sample(index)
        points = self._foreground(index, mask) if self.seeks_foreground else ()
        image, moved = apply(
            self.transforms, sample.image, mask, rng, fill=self.fill, outside=self._outside, foreground=points
        )
        if image.shape[:2] != self.size:
            raise ArgumentError(
                "A sequence of transforms that sets the size must end with the size of the feed.",
                received={"size": self.size, "after transforms": image.shape[:2]},
                cure=f"End with Crop({self.size}), or leave Crop, Pad and Resize out: `fit` does it.",
            )
        x[...], y[...] = image, moved

    def _sample(self, index: int) -> tuple[int, Sample, np.ndarray]:
        """The sample, or with `on_error="skip"` the next one that can be read."""
        for present in [index, *range(index + 1, len(self.dataset)), *range(index)]:
            self._at(present)
            try:
                sample = self.samples[present]
                return present, sample, self._checked(sample)
            except Exception as error:
                told = error if isinstance(error, SegnosisError) else self._unreadable(present, error)
                if self.on_error == "raise":
                    raise told from error
                self.skipped[name_of(self.dataset, present)] = str(told)
        raise DataError(
            "At least one sample of the data set must be readable.",
            file=getattr(self.dataset, "name", "data set"),
            received={"first problem": next(iter(self.skipped.values()))},
            cure="Run `segnosis check` on the data.",
        )

    def _at(self, index: int | None) -> None:
        """Leave word of the sample at hand, for the case that it is the last thing this process does."""
        if self.present is not None:
            self.present[0] = 0 if index is None else index + 1

    def _checked(self, sample: Sample) -> np.ndarray:
        if sample.mask is None:
            raise DataError(
                "A feed needs the mask of every sample.", file=sample.id, cure="Remove the sample, or add its mask."
            )
        if sample.image.shape != (*sample.mask.shape, self.channels):
            raise DataError(
                f"Image and mask have the same height and width, and images here have {self.channels} channels.",
                file=sample.id,
                received={"image": sample.image.shape, "mask": sample.mask.shape},
                cure="Run `segnosis check` on the data: it lists every such pair.",
            )
        return sample.mask

    def _unreadable(self, index: int, error: Exception) -> DataError:
        return DataError(
            "Every sample of the data set must be readable.",
            file=name_of(self.dataset, index),
            received={"problem": f"{type(error).__name__}: {error}"},
            cure="Run `segnosis check` on the data: it lists every such file.",
        )

    def _foreground(self, index: int, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """For each foreground class in the mask up to 256 of its pixels, evenly spread, as centres `(x, y)`."""
        points = self._points.get(index)
        if points is None:
            flat = mask.ravel()
            wanted = [c for c in np.unique(flat).tolist() if c not in (0, self.ignore_class)]
            found = [np.flatnonzero(flat == class_id) for class_id in wanted]
            rows_columns = [np.divmod(pixels[:: -(-len(pixels) // _POINTS)], mask.shape[1]) for pixels in found]
            points = tuple(np.stack([columns, rows], axis=1) + 0.5 for rows, columns in rows_columns)
            self._points[index] = points
        return points


def name_of(dataset: Any, index: int) -> str:
    """What sample `index` is called."""
    ids = getattr(dataset, "ids", None)
    return f"sample {index}" if ids is None else str(ids[index])
