"""Images that occur in two splits: the same pixels, nearly the same picture, or the same patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.digest import digest
from segnosis.doctor.evidence._mask_planes import as_plane, regions_of
from segnosis.doctor.evidence._places import MOST_NAMED, place

PRICE = "data"
_CLOSE_BITS = 3
_CLOSE_IOU = 0.95
_MOST_COMPARED = 20_000
_CHUNK = 512


@dataclass(frozen=True)
class Shared:
    """Something found in two splits: where in the one, and where in the other."""

    first: str
    second: str
    splits: tuple[str, str]


@dataclass(frozen=True)
class Duplicates:
    """What splits share.

    Attributes:
        splits: Split → pairs looked at; empty when no splits are known.
        exact: Pairs of identical decoded images across splits, the first by name.
        exact_count: How many there are.
        near: Pairs whose images look alike (at most 3 of 64 bits differ) and whose masks overlap above 0.95.
        near_count: How many there are.
        groups: Groups with samples in more than one split.
        group_count: How many there are.
        num_groups: Groups in all; 0 when every sample is its own.
        repeated: Identical images within a split, or anywhere when no splits are known.
        repeated_count: How many there are.
    """

    splits: Mapping[str, int]
    exact: tuple[Shared, ...]
    exact_count: int
    near: tuple[Shared, ...]
    near_count: int
    groups: tuple[tuple[str, str, str], ...]
    group_count: int
    num_groups: int
    repeated: tuple[Shared, ...]
    repeated_count: int


class Scan:
    """Keeps a hash, a 64-bit picture and a 32 × 32 bit mask of every pair: some 300 bytes each."""

    def __init__(self, splits: Mapping[str, Sequence[str]] | None = None) -> None:
        self._split_of = {name: split for split, ids in (splits or {}).items() for name in ids}
        self._first: dict[bytes, dict[str, str]] = {}
        self._looks: dict[str, list[tuple[int, bytes, str]]] = {}
        self._groups: dict[str, dict[str, str]] = {}
        self._counts: dict[str, int] = {}
        self._exact: list[Shared] = []
        self._repeated: list[Shared] = []
        self._exact_count = self._repeated_count = 0
        self._grouped = False

    def add(self, pair: Pair) -> None:
        """Look at one pair; blank images are alike without meaning anything, and are passed over."""
        split = self._split_of.get(pair.id, pair.split) or ""
        if split:
            self._counts[split] = self._counts.get(split, 0) + 1
        self._grouped |= pair.group != pair.id
        self._groups.setdefault(pair.group, {}).setdefault(split, place(pair, "image"))
        if pair.image is None or pair.image.size == 0:
            return
        bits = _picture_bits(pair.image)
        if bits is None:
            return
        where = place(pair, "image")
        known = self._first.setdefault(digest(pair.image), {})
        for other, first in known.items():
            shared = Shared(first, where, (other, split))
            if other != split:
                self._exact_count += 1
                self._exact += [shared] if len(self._exact) < MOST_NAMED else []
            else:
                self._repeated_count += 1
                self._repeated += [shared] if len(self._repeated) < MOST_NAMED else []
        known.setdefault(split, where)
        looks = self._looks.setdefault(split, [])
        mask = _mask_bits(pair.mask)
        if mask is not None and len(looks) < _MOST_COMPARED:
            looks.append((bits, mask, where))

    def result(self) -> Duplicates:
        """Compare the splits."""
        near = list(self._near())
        exact = {(shared.first, shared.second) for shared in self._exact}
        near = [shared for shared in near if (shared.first, shared.second) not in exact]
        crossing = [(group, *places.values()) for group, places in self._groups.items() if len(set(places) - {""}) > 1]
        return Duplicates(
            splits=self._counts,
            exact=tuple(self._exact),
            exact_count=self._exact_count,
            near=tuple(near[:MOST_NAMED]),
            near_count=len(near),
            groups=tuple((group, places[0], places[1]) for group, *places in crossing[:MOST_NAMED]),
            group_count=len(crossing) if self._grouped else 0,
            num_groups=len(self._groups) if self._grouped else 0,
            repeated=tuple(self._repeated),
            repeated_count=self._repeated_count,
        )

    def _near(self) -> Iterator[Shared]:
        names = [name for name in self._looks if name]
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                yield from _alike(self._looks[first], self._looks[second], (first, second))


def _alike(
    first: list[tuple[int, bytes, str]], second: list[tuple[int, bytes, str]], splits: tuple[str, str]
) -> Iterator[Shared]:
    if not first or not second:
        return
    bits = np.array([look[0] for look in second], np.uint64)
    masks = np.frombuffer(b"".join(look[1] for look in second), np.uint8).reshape(len(second), -1)
    for start in range(0, len(first), _CHUNK):
        part = first[start : start + _CHUNK]
        differ = np.bitwise_count(np.array([look[0] for look in part], np.uint64)[:, None] ^ bits[None])
        for row, column in np.argwhere(differ <= _CLOSE_BITS):
            mine = np.frombuffer(part[row][1], np.uint8)
            both = np.bitwise_count(mine & masks[column]).sum()
            either = np.bitwise_count(mine | masks[column]).sum()
            if both > _CLOSE_IOU * either:
                yield Shared(part[row][2], second[column][2], splits)


def _picture_bits(image: np.ndarray) -> int | None:
    """Perceptual hash: whether each of 8 × 8 places is brighter than its right neighbour; `None` for a blank image."""
    colours = image if image.ndim == 2 else image[..., : min(3, image.shape[-1])]
    colours = colours if colours.dtype == np.uint8 else colours.astype(np.float32)
    if colours.dtype.kind == "f" and not np.isfinite(colours).all():
        return None
    small = cv2.resize(np.ascontiguousarray(colours), (9, 8), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = small if small.ndim == 2 else small.mean(-1)
    if small.max() - small.min() <= 1e-3 * max(1e-6, float(np.abs(small).max())):
        return None
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def _mask_bits(mask: np.ndarray | None) -> bytes | None:
    """32 × 32 bits of what is not the commonest value; `None` when there is nothing else."""
    if mask is None or mask.size == 0:
        return None
    plane, _ = as_plane(mask)
    plane = plane if plane.ndim == 2 else regions_of(plane)
    rows, columns = (np.linspace(0, size - 1, 32).round().astype(int) for size in plane.shape[:2])
    small = plane[np.ix_(rows, columns)]
    values, counts = np.unique(small, return_counts=True)
    if len(values) < 2:
        return None
    return np.packbits(small != values[counts.argmax()]).tobytes()
