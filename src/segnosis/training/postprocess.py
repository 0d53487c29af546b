"""What is done to a predicted mask, class by class: a threshold, its largest piece alone, its holes filled.

Each is kept only where it raised the class's Dice on validation images; the choice is a file of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from segnosis.core.errors import DataError

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset
    from segnosis.training.predict import Predicts

_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
_GAIN = 0.002
"""Dice that a step must bring on the validation images: less is chance."""


@dataclass(frozen=True)
class Steps:
    """What is done to one class.

    Attributes:
        threshold: Probability at which it wins against the background alone.
        largest: Keep its largest connected piece (of an image, or of a volume) and give the rest to the background.
        fill: Give what it encloses in a plane, where that is background, to it.
    """

    threshold: float = 0.5
    largest: bool = False
    fill: bool = False


@dataclass(frozen=True)
class Postprocessing:
    """The steps of every class, by class id; a class that is not named is left alone.

    Example:
        >>> ring = np.ones((1, 5, 5)) * 0.2
        >>> ring[0, 1:4, 1:4], ring[0, 2, 2] = 0.45, 0.1
        >>> Postprocessing({1: Steps(threshold=0.4, fill=True)}).mask(np.stack([1 - ring, ring], -1))[0].tolist()
        [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """

    steps: Mapping[int, Steps] = field(default_factory=dict)

    def mask(self, probabilities: np.ndarray) -> np.ndarray:
        """Class ids `(planes, height, width)` uint8 of `(planes, height, width, num_classes)` probabilities."""
        return self.shaped(self.decide(probabilities))

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """The class of each pixel by itself, whatever shape `(…, num_classes)` comes in."""
        if self.steps:
            odds = np.ones(probabilities.shape[-1], np.float32)
            for index, steps in self.steps.items():
                odds[index] = (1 - steps.threshold) / steps.threshold
            probabilities = probabilities * odds
        if probabilities.shape[-1] == 2:  # what `argmax` says, which takes several times as long over so few
            return (probabilities[..., 1] > probabilities[..., 0]).astype(np.uint8)
        return probabilities.argmax(axis=-1).astype(np.uint8)

    def shaped(self, mask: np.ndarray) -> np.ndarray:
        """`mask` `(planes, height, width)` with pieces dropped and holes filled; what has no such step comes back."""
        from scipy import ndimage

        mask = mask.copy() if self.shapes else mask
        for index, steps in self.steps.items():
            if steps.largest and (pieces := ndimage.label(mask == index))[1] > 1:
                sizes = np.bincount(pieces[0].ravel())
                mask[(pieces[0] > 0) & (pieces[0] != 1 + sizes[1:].argmax())] = 0
            if steps.fill:
                for plane in mask:
                    plane[ndimage.binary_fill_holes(plane == index) & (plane == 0)] = index
        return mask

    @property
    def shapes(self) -> bool:
        """Whether a step looks at more than one pixel, and so needs the whole mask."""
        return any(steps.largest or steps.fill for steps in self.steps.values())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON form, inverse of `from_json`."""
        return {str(index): asdict(steps) for index, steps in self.steps.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Postprocessing:
        """Rebuild from `to_json`."""
        return cls({int(index): Steps(**steps) for index, steps in data.items()})


def choose(
    held: Sequence[tuple[Predicts, Dataset]], *, progress: Callable[[int, int], None] | None = None
) -> Postprocessing:
    """The steps that raise the Dice of their class on images nothing was trained on, chosen one after the other.

    Args:
        held: What predicts, and validation images with masks, which it has not learned from; the planes of a volume
            that are in them count as one. Several where the folds of a cross-validation judge each by its own.
        progress: Called with (done, total), for each in turn.
    """
    pairs = [pair for predictor, dataset in held for pair in _predicted(predictor, dataset, progress)]
    chosen: dict[int, Steps] = {}
    for index in range(1, held[0][1].spec.num_classes):
        best, score = Steps(), _dice(pairs, index, chosen, Steps())
        options: list[list[dict[str, Any]]] = [
            [{"threshold": value} for value in _THRESHOLDS],
            [{"largest": True}],
            [{"fill": True}],
        ]
        for changes in options:
            tried = [Steps(**{**asdict(best), **change}) for change in changes]
            scores = [_dice(pairs, index, chosen, steps) for steps in tried]
            if max(scores) > score + _GAIN:
                score = max(scores)
                best = tried[scores.index(score)]
        if best != Steps():
            chosen[index] = best
    return Postprocessing(chosen)


_Pair = tuple[np.ndarray, np.ndarray]


def _predicted(predictor: Predicts, dataset: Dataset, progress: Callable[[int, int], None] | None) -> list[_Pair]:
    """Probabilities (half precision) and true mask of each file, its planes stacked."""
    planes: dict[str, list[_Pair]] = {}
    for index in range(len(dataset)):
        try:
            sample = dataset[index]
        except DataError:  # training left it out, too
            continue
        if sample.mask is not None:
            volume = dataset.volume_of(index)
            name = sample.id if volume is None else str(volume.file)
            found = predictor.probabilities(sample.image).astype(np.float16)
            planes.setdefault(name, []).append((found, sample.mask))
        if progress is not None:
            progress(index + 1, len(dataset))
    return [(np.stack([p for p, _ in parts]), np.stack([m for _, m in parts])) for parts in planes.values()]


def _dice(pairs: Sequence[_Pair], index: int, chosen: Mapping[int, Steps], steps: Steps) -> float:
    """Dice of class `index` over all of `pairs`, with its `steps` and those of the classes before it."""
    post = Postprocessing({**chosen, index: steps})
    hit = both = 0
    for probabilities, truth in pairs:
        found = post.mask(probabilities.astype(np.float32)) == index
        hit += int(np.count_nonzero(found & (truth == index)))
        both += int(np.count_nonzero(found)) + int(np.count_nonzero(truth == index))
    return 2 * hit / both if both else 0.0
