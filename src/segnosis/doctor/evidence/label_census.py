"""Every stored mask's values: which there are, in how many masks and splits, and which masks are odd ones out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.evidence._mask_look import Look, look
from segnosis.doctor.evidence._places import Tally, place

PRICE = "data"
_MOST_VALUES = 4096
_MOST_SETS = 4096
_RIDGE_STEPS = 50
_LOSSY = {".jpg", ".jpeg", ".webp"}


@dataclass
class ValueCount:
    """One value of the masks.

    Attributes:
        pixels: How many pixels hold it.
        masks: In how many masks it occurs.
        solid: How many of its pixels belong to a uniform 3 × 3 block.
        splits: Split → masks with it.
        where: The first masks with it.
    """

    pixels: int = 0
    masks: int = 0
    solid: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    where: Tally = field(default_factory=Tally)


@dataclass(frozen=True)
class LabelCensus:
    """All masks together.

    Attributes:
        masks: Masks looked at.
        pixels: Their pixels.
        missing: Pairs without a readable mask.
        values: Value → count, over masks that hold ids, clean of fuzz and fractions.
        complete: Whether `values` holds every value that occurred.
        colours: 24-bit colour → pixels, over masks that are colour pictures.
        layouts: How many masks were stored as `"ids"`, `"copies"`, `"colour"`, `"stack"`.
        value_sets: Set of values of a mask, where it has at most three → such masks.
        minimum, maximum: Over all masks that hold ids.
        coloured, copied, fractional, nonfinite, fuzzy, lossy, ridged: Masks of that oddity, the first by name.
        fractional_pixels, fuzzy_pixels: Pixels concerned.
        smooth_steps, direct_steps: Ids of two regions at least two apart → steps between them, through an id in between
            or not.
        runs, contacts: As in a mask's `Look`, summed.
        splits: Split → masks; empty when none is known.
    """

    masks: int
    pixels: int
    missing: int
    values: Mapping[float, ValueCount]
    complete: bool
    colours: Mapping[int, int]
    layouts: Mapping[str, int]
    value_sets: Mapping[tuple[float, ...], Tally]
    minimum: float
    maximum: float
    coloured: Tally
    copied: Tally
    fractional: Tally
    nonfinite: Tally
    fuzzy: Tally
    lossy: Tally
    ridged: Tally
    fractional_pixels: int = 0
    fuzzy_pixels: int = 0
    smooth_steps: Mapping[tuple[int, int], int] = field(default_factory=dict)
    direct_steps: Mapping[tuple[int, int], int] = field(default_factory=dict)
    runs: Mapping[tuple[int, ...], int] = field(default_factory=dict)
    contacts: Mapping[tuple[int, ...], int] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)

    @property
    def smooth(self) -> int:
        """Steps through an id in between."""
        return sum(self.smooth_steps.values())

    @property
    def direct(self) -> int:
        """Steps that are not."""
        return sum(self.direct_steps.values())

    def without(self, ignore: frozenset[float] | set[float]) -> dict[float, ValueCount]:
        """`values` without the ignored ones."""
        return {value: count for value, count in self.values.items() if value not in ignore}

    def one_value(self, ignore: frozenset[float] | set[float] = frozenset()) -> dict[float, Tally]:
        """Value → masks that hold nothing else, ignored values apart."""
        out: dict[float, Tally] = {}
        for values, tally in self.value_sets.items():
            left = [value for value in values if value not in ignore]
            if len(left) == 1:
                into = out.setdefault(left[0], Tally())
                into.count += tally.count
                into.where.extend(tally.where[: max(0, 20 - len(into.where))])
        return out


def void_alone(census: LabelCensus) -> bool:
    """Whether masks hold 0 and, on fewer pixels, −1: background and no class, and nothing else."""
    return set(census.values) == {0.0, -1.0} and census.values[-1.0].pixels < census.values[0.0].pixels


class Scan:
    """Counts mask by mask; keeps counts and a few names, never a mask."""

    def __init__(self, splits: Mapping[str, Sequence[str]] | None = None) -> None:
        self._split_of = {name: split for split, ids in (splits or {}).items() for name in ids}
        self._values: dict[float, ValueCount] = {}
        self._colours: Counter[int] = Counter()
        self._layouts: Counter[str] = Counter()
        self._sets: dict[tuple[float, ...], Tally] = {}
        self._splits: Counter[str] = Counter()
        self._odd = {name: Tally() for name in _ODDITIES}
        self._masks = self._pixels = self._missing = 0
        self._fractional = self._fuzz = 0
        self._smooth, self._direct = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
        self._runs, self._contacts = Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()
        self._low, self._high = np.inf, -np.inf
        self._complete = True

    def add(self, pair: Pair) -> None:
        """Count one pair's mask."""
        if pair.mask is None or pair.mask.size == 0:
            self._missing += 1
            return
        self.add_look(look(pair.mask), place(pair), self._split_of.get(pair.id, pair.split), pair.mask.shape)
        suffix = pair.mask_file.suffix.lower() if pair.mask_file else ""
        if suffix in _LOSSY:
            self._odd["lossy"].add(place(pair))

    def add_look(self, seen: Look, where: str, split: str | None, shape: tuple[int, ...]) -> None:
        """Count one mask that was looked at already."""
        self._masks += 1
        self._pixels += int(np.prod(shape[:2]))
        self._layouts[seen.layout] += 1
        if split:
            self._splits[split] += 1
        if seen.layout == "colour":
            self._odd["coloured"].add(where)
            self._add_colours(seen)
            return
        if seen.layout == "stack":
            return
        if seen.layout == "copies":
            self._odd["copied"].add(where)
        if seen.nonfinite:
            self._odd["nonfinite"].add(where)
        self._low, self._high = min(self._low, *seen.counts), max(self._high, *seen.counts)
        if seen.fractional:
            self._odd["fractional"].add(where)
            self._fractional += seen.fractional
        if seen.fuzz:
            self._odd["fuzzy"].add(where)
            self._fuzz += seen.fuzz
            return
        self._smooth.update(seen.smooth)
        self._direct.update(seen.direct)
        self._runs.update(seen.runs)
        self._contacts.update(seen.contacts)
        if seen.smooth.total() >= _RIDGE_STEPS and seen.smooth.total() >= 4 * seen.direct.total():
            self._odd["ridged"].add(where)
        self._add_values(seen, where, split)

    def _add_values(self, seen: Look, where: str, split: str | None) -> None:
        for value, pixels in seen.counts.items():
            if value not in self._values and len(self._values) >= _MOST_VALUES:
                self._complete = False
                continue
            count = self._values.setdefault(value, ValueCount())
            count.pixels += pixels
            count.masks += 1
            count.solid += seen.solid.get(value, 0)
            count.where.add(where)
            if split:
                count.splits[split] += 1
        key = tuple(sorted(seen.counts))
        if len(key) <= 3 and (key in self._sets or len(self._sets) < _MOST_SETS):
            self._sets.setdefault(key, Tally()).add(where)

    def _add_colours(self, seen: Look) -> None:
        for colour, pixels in sorted(seen.counts.items(), key=lambda item: -item[1])[:256]:
            if int(colour) in self._colours or len(self._colours) < _MOST_VALUES:
                self._colours[int(colour)] += pixels

    def result(self) -> LabelCensus:
        """The census of all masks added."""
        return LabelCensus(
            masks=self._masks,
            pixels=self._pixels,
            missing=self._missing,
            values=dict(sorted(self._values.items())),
            complete=self._complete,
            colours=dict(self._colours.most_common()),
            layouts=dict(self._layouts),
            value_sets=dict(self._sets),
            minimum=float(self._low) if self._low < np.inf else 0.0,
            maximum=float(self._high) if self._high > -np.inf else 0.0,
            fractional_pixels=self._fractional,
            fuzzy_pixels=self._fuzz,
            smooth_steps=dict(self._smooth),
            direct_steps=dict(self._direct),
            runs=dict(self._runs),
            contacts=dict(self._contacts),
            splits=dict(self._splits),
            **self._odd,
        )


_ODDITIES = ("coloured", "copied", "fractional", "nonfinite", "fuzzy", "lossy", "ridged")
