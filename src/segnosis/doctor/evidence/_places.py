"""How a pair is named to a person: by the file to open, and by the sample inside it when the file holds many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from segnosis.core.sample import Pair

MOST_NAMED = 20
"""No finding lists more places than a person would open."""


def place(pair: Pair, part: Literal["image", "mask"] = "mask") -> str:
    """The file of `part`, followed by the sample's id where the file name does not say it; the id for arrays.

    Example:
        >>> from pathlib import Path
        >>> place(Pair(None, None, id="7", group="7", mask_file=Path("masks/7.png")))
        'masks/7.png'
        >>> place(Pair(None, None, id="p1[3]", group="p1", mask_file=Path("p1.h5")))
        'p1.h5 (p1[3])'
    """
    file = pair.mask_file if part == "mask" else pair.image_file
    file = file or pair.image_file or pair.mask_file
    if file is None:
        return pair.id
    return str(file) if pair.id in str(file) else f"{file} ({pair.id})"


@dataclass
class Tally:
    """A count of pairs with the first few places: what is left of a pair once it has been looked at."""

    count: int = 0
    where: list[str] = field(default_factory=list)

    def add(self, where: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.where) < MOST_NAMED:
            self.where.append(where)

    def __bool__(self) -> bool:
        return self.count > 0
