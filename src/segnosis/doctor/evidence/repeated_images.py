"""Images that come with several masks that contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segnosis.doctor.case import Batch
from segnosis.doctor.digest import digest
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence._places import place
from segnosis.doctor.evidence.held_sources import HeldSources
from segnosis.doctor.evidence.image_statistics import is_constant
from segnosis.doctor.sources import Sources

PRICE = "data"

_CONTRADICTS = 0.5  # of the pixels that either mask calls foreground


@dataclass(frozen=True)
class RepeatedImages:
    """Of training or of validation, whichever has the larger share: augmentation hides a repeat.

    Attributes:
        split: `"training"` or `"validation"`.
        samples: Samples with an image of more than one value.
        contradicted: Of them, those whose image also comes with a mask that disagrees on half of the foreground.
        first, second: Two samples with one image.
        pictures: How many different images the samples have.
        masks: How many different pairs of image and mask.
        held: Attribute of the training data that holds one picture again and again, whatever augmentation makes of it.
        times: How often.
    """

    split: str
    samples: int
    contradicted: int
    first: str = ""
    second: str = ""
    pictures: int = 0
    masks: int = 0
    held: str = ""
    times: int = 0


def measure(
    batches: Sequence[Batch],
    validation_batches: Sequence[Batch] | None = None,
    held_sources: HeldSources | None = None,
) -> RepeatedImages:
    """Compare the images of each split with each other, exactly, and the pictures that the training data holds."""
    found = [_of("training", batches)]
    if validation_batches:
        found.append(_of("validation", validation_batches))
    most = max(found, key=lambda seen: (seen.contradicted / max(1, seen.samples), seen.masks / max(1, seen.pictures)))
    sources = held_sources.train if held_sources is not None else Sources()
    alike = {name: sources.pictures[name] for name, content in sources.contents.items() if len(content) == 1}
    held = max(alike, key=lambda name: alike[name], default="")
    return replace(most, held=held, times=alike.get(held, 0))


def _of(split: str, batches: Sequence[Batch]) -> RepeatedImages:
    same: dict[bytes, list[tuple[np.ndarray, str]]] = {}
    samples = 0
    for pair in pairs_of(batches):
        if pair.image is None or pair.mask is None or is_constant(pair.image):
            continue
        samples += 1
        same.setdefault(digest(pair.image), []).append((pair.mask, place(pair)))
    contradicted, examples = 0, ("", "")
    for group in same.values():
        for k, (mask, where) in enumerate(group):
            other = next((there for j, (two, there) in enumerate(group) if j != k and _disagree(mask, two)), None)
            if other is not None:
                contradicted += 1
                examples = examples if examples[0] else (where, other)
    masks = sum(len({digest(mask) for mask, _ in group}) for group in same.values())
    return RepeatedImages(split, samples, contradicted, *examples, pictures=len(same), masks=masks)


def _disagree(one: np.ndarray, two: np.ndarray) -> bool:
    if one.shape != two.shape:
        return False
    either = (one != 0) | (two != 0)
    return bool((one != two).sum() > _CONTRADICTS * max(1, either.sum()))
