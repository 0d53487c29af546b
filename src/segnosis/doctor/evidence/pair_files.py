"""Sizes and names of images against those of their masks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from segnosis.core.sample import Pair
from segnosis.doctor.evidence._places import MOST_NAMED, Tally, place

PRICE = "data"
_WORDS = re.compile(
    r"(?<![a-z])(?:images?|img|imgs|masks?|labels?|lbl|gt|seg|segs|segmentation|annotations?|annot|truth|targets?|"
    r"groundtruth|color|colour|labelids|l|x|y)(?![a-z])"
)
_MOST_STEMS = 1_000_000


@dataclass(frozen=True)
class OtherSize:
    """A mask whose size is not its image's: `(height, width)` of both."""

    where: str
    image_where: str
    image: tuple[int, int]
    mask: tuple[int, int]


@dataclass(frozen=True)
class PairFiles:
    """What sizes and names say.

    Attributes:
        pairs: Pairs with image and mask.
        sizes: Different image sizes, counted up to 1000.
        other_size: Masks of another size than their image, the first by name.
        other_size_count: How many there are.
        transposed: Of them, those with height and width exchanged.
        scaled: Of them, those of the image's shape at another scale.
        named: Pairs of two files whose names could be compared.
        wrong_name: Pairs whose mask is named after another image: (mask, its image, the image it is named after).
        wrong_name_count: How many there are.
    """

    pairs: int
    sizes: int
    other_size: tuple[OtherSize, ...]
    other_size_count: int
    transposed: int
    scaled: int
    named: int
    wrong_name: tuple[tuple[str, str, str], ...]
    wrong_name_count: int


def stem(file: Path) -> str:
    """What a file is named after: its name without suffix, words such as "mask", and separators.

    Example:
        >>> stem(Path("masks/case_07_mask.png")) == stem(Path("images/img-case-07.jpg"))
        True
    """
    name = file.name.lower().split(".", 1)[0] if file.name.lower().endswith(".nii.gz") else file.stem.lower()
    name = re.sub(r"[^0-9a-z]+", " ", re.sub(r"_", " ", name))
    return " ".join(_WORDS.sub(" ", name).split())


class Scan:
    """Keeps sizes that differ, and the names."""

    def __init__(self) -> None:
        self._pairs = self._named = self._other = 0
        self._sizes: set[tuple[int, int]] = set()
        self._others: list[OtherSize] = []
        self._transposed, self._scaled = Tally(), Tally()
        self._stems: dict[str, str] = {}
        self._suspects: list[tuple[str, str, str]] = []

    def add(self, pair: Pair) -> None:
        """Compare one pair."""
        if pair.image_file and pair.mask_file and pair.image_file != pair.mask_file:
            self._compare_names(pair, pair.image_file, pair.mask_file)
        if pair.image is None or pair.mask is None:
            return
        self._pairs += 1
        image, mask = pair.image.shape[:2], pair.mask.shape[:2]
        if len(self._sizes) < 1000:
            self._sizes.add(image)
        if image == mask:
            return
        self._other += 1
        if image == mask[::-1]:
            self._transposed.add(place(pair))
        elif 0 not in mask and abs(image[0] / mask[0] - image[1] / mask[1]) < 0.02 * image[0] / mask[0]:
            self._scaled.add(place(pair))
        if len(self._others) < 16 * MOST_NAMED:
            self._others.append(OtherSize(place(pair), place(pair, "image"), image, mask))

    def _compare_names(self, pair: Pair, image_file: Path, mask_file: Path) -> None:
        image, mask = stem(image_file), stem(mask_file)
        if not image or not mask:
            return
        self._named += 1
        if len(self._stems) < _MOST_STEMS:
            self._stems.setdefault(image, place(pair, "image"))
        if image != mask and len(self._suspects) < _MOST_STEMS:
            self._suspects.append((mask, place(pair), place(pair, "image")))

    def result(self) -> PairFiles:
        """Compare the names of all pairs added: a mask is misnamed only if its name is another image's."""
        wrong = [
            (where, image, self._stems[mask])
            for mask, where, image in self._suspects
            if mask in self._stems and self._stems[mask] != image
        ]
        return PairFiles(
            pairs=self._pairs,
            sizes=len(self._sizes),
            other_size=tuple(self._others),
            other_size_count=self._other,
            transposed=self._transposed.count,
            scaled=self._scaled.count,
            named=self._named,
            wrong_name=tuple(wrong[:MOST_NAMED]),
            wrong_name_count=len(wrong),
        )
