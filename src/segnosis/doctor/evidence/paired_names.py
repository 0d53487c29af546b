"""Which mask the pipeline's lists of files put beside which image, by their names, whatever augmentation does later."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence.held_sources import HeldSources
from segnosis.doctor.evidence.pair_files import stem
from segnosis.doctor.held_variables import lists_of
from segnosis.doctor.sources import Sources, sources_of

PRICE = "data"

_OF_MASKS = re.compile(
    r"mask|label|annot|truth|contour|matte|(?<![a-z])(?:gt|seg|segs|segmentations?|targets?|lbl)(?![a-z])"
)
_NAMED_ALIKE = 0.9
"""Share of the images that a mask must be named after before a list is that of their masks."""


@dataclass(frozen=True)
class PairedNames:
    """Two lists of the same samples.

    Attributes:
        images, masks: Attributes that hold them.
        pairs: Entries of each.
        wrong: Places at which the mask is named after another image.
        image, mask: Files at the first of those.
        by_variables: Whether they are variables of the program, of which nobody knows what became of them.
    """

    images: str
    masks: str
    pairs: int
    wrong: int
    image: str = ""
    mask: str = ""
    by_variables: bool = False


def measure(held_sources: HeldSources, variables: Mapping[str, Any] | None = None) -> PairedNames:
    """The first two lists, of what `fit` was given or else of the program's variables, that are of one set of samples.

    Example:
        >>> pipeline = SimpleNamespace(images=["x/1.jpg", "x/2.jpg", "x/3.jpg", "x/4.jpg"],
        ...                            masks=["masks/1.png", "masks/3.png", "masks/2.png", "masks/4.png"])
        >>> measure(HeldSources(sources_of(pipeline), sources_of(None))).wrong
        2
    """
    if (found := _of(held_sources.train)) is not None:
        return found
    if (found := _of(sources_of(SimpleNamespace(**lists_of(variables or {}, of_pairs=True))))) is not None:
        return replace(found, by_variables=True)
    raise Unavailable("nothing holds a list of images and a list of their masks")


def _of(held: Sources) -> PairedNames | None:
    lists = {name: row for name, row in held.lists.items() if isinstance(row[0], str)}
    for images, masks in _beside(lists):
        ours, theirs = ([stem(Path(entry)) for entry in lists[name]] for name in (images, masks))
        unique = len(set(ours)) == len(ours) and len(set(theirs)) == len(theirs)
        if not unique or len(set(ours) & set(theirs)) < _NAMED_ALIKE * len(ours):
            continue
        wrong = [k for k, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other]
        first = (lists[images][wrong[0]], lists[masks][wrong[0]]) if wrong else ("", "")
        return PairedNames(images, masks, len(ours), len(wrong), *first)
    return None


def _beside(lists: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Names of a list of images and one of masks, as long as each other."""
    of_masks = {name: all(_OF_MASKS.search(_told(entry)) for entry in row[:8]) for name, row in lists.items()}
    for images, row in lists.items():
        for masks, others in lists.items():
            if not of_masks[images] and of_masks[masks] and len(row) == len(others):
                yield images, masks


def _told(entry: str) -> str:
    """Folder and name of a file."""
    return "/".join(Path(entry).parts[-2:]).lower()
