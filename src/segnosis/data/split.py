"""Splits that never cut a group, with the classes spread over the parts."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from segnosis.core.errors import ArgumentError, DataError
from segnosis.data.dataset import Dataset


class Split(NamedTuple):
    """Three parts of a data set; unpacks as `train, val, test = split(data)`."""

    train: Dataset
    val: Dataset
    test: Dataset

    @property
    def note(self) -> str:
        """One sentence: how the parts came about."""
        train, val, test = (len(set(part.groups)) for part in self)
        unit = self.train.source.index.group_by or "sample"
        sizes = (
            f"{train}, {val} and {test} {unit} groups"
            if self.train.source.index.group_by
            else f"{train}, {val} and {test} samples"
        )
        text = f"{sizes} to train on, to choose by and to test on{self.whose}"
        if np.array_equal(self.val.rows, self.test.rows):
            text += (
                "; too few groups for a test part of its own: the same samples choose and test, so the score flatters"
            )
        return text

    @property
    def whose(self) -> str:
        """Whether the data set itself told which sample goes where."""
        own = any(entry.split for entry in self.train.source.index.entries)
        return ", by the data set's own lists" if own else ""


def split(data: Dataset, *, seed: int = 0, fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)) -> Split:
    """Split into train, validation and test.

    The data set's own splits are used where it has them: what it holds out becomes the test part, and a missing part is
    carved out of its training part. With two groups in all, one trains and the other both chooses and tests.

    Args:
        data: The data set.
        seed: Same seed, same parts.
        fractions: Shares of train, validation and test, all above 0.

    Returns:
        The three parts; a group is in exactly one of them.

    Raises:
        DataError: There is only one group, so nothing can be held out.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from segnosis.data.open import open
        >>> from segnosis.data.readers import hdf5
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = hdf5.example(Path(folder))
        ...     train, val, test = split(open(folder), seed=0)
        >>> len(set(train.groups)), len(set(val.groups)), len(set(test.groups))
        (1, 1, 1)
    """
    if len(fractions) != 3 or min(fractions) <= 0 or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise ArgumentError(
            "`fractions` are the shares of train, validation and test: above 0, together 1.",
            received={"fractions": fractions},
            cure="Pass fractions=(0.7, 0.15, 0.15).",
        )
    groups = data.groups
    members: dict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    own = own_lists(data, members)
    train, val, test = own.get("train", []), own.get("val", []), own.get("test", [])
    if not own:
        train = list(members)
    if len(members) < 2 or not train:
        raise DataError(
            "At least two groups are needed: what trains is never what tests.",
            file=data.root,
            received={
                "groups": len(members),
                "samples": len(data),
                "groups are": data.source.index.group_by or "samples",
            },
            cure="Add images of another patient, slide or video.",
        )
    rng = np.random.default_rng(seed)
    if not test and val:
        val, test = [], val
    if not test and not val and len(train) == 2:
        first, second = rng.permutation(2)
        val = test = [train[second]]
        train = [train[first]]
    else:
        if not test:
            train, test = carve(data, train, members, fractions[2], rng)
        if not val:
            if len(train) < 2:
                val = test
            else:
                train, val = carve(data, train, members, fractions[1] / (fractions[0] + fractions[1]), rng)
    return Split(*(data.subset(sorted(i for group in part for i in members[group])) for part in (train, val, test)))


def own_lists(data: Dataset, members: dict[str, list[int]]) -> dict[str, list[str]]:
    """Split → groups, by the layout; a group in two parts is DAT005's to tell, and stays with the first."""
    split_of = {id: name for name, ids in data.splits.items() for id in ids}
    if len(data.splits) < 2 or "train" not in data.splits:
        return {}
    ids = data.ids
    out: dict[str, list[str]] = {}
    for group, rows in members.items():
        names = {split_of[ids[i]] for i in rows if ids[i] in split_of}
        for name in ("train", "val", "test"):
            if name in names:
                out.setdefault(name, []).append(group)
                break
    return out


def carve(
    data: Dataset, pool: list[str], members: dict[str, list[int]], share: float, rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """Take about `share` of the samples of `pool` out, whole groups, classes alike.

    Groups are dealt out in random order, those with the rarest classes first; each goes where the part is most behind.
    """
    classes = classes_of_groups(data, pool, members)
    order = [pool[i] for i in rng.permutation(len(pool))]
    number = {name: sum(name in found for found in classes.values()) for names in classes.values() for name in names}
    rarest = {group: min((number[name] for name in classes[group]), default=len(pool) + 1) for group in order}
    order.sort(key=lambda group: rarest[group])
    size = sum(len(members[group]) for group in pool)
    wanted = max(share * size, 1.0)
    out: list[str] = []
    taken = 0
    dealt: dict[int, list[int]] = defaultdict(lambda: [0, 0])  # rarest class → samples met, samples taken
    for group in order:
        weight, row = len(members[group]), dealt[rarest[group]]
        row[0] += weight
        behind = share * row[0] - row[1] >= weight / 2
        if behind and taken + weight <= wanted + weight / 2 and len(out) < len(pool) - 1:
            out.append(group)
            taken += weight
            row[1] += weight
    if not out:  # small pools: the group nearest to the wanted size
        out = [min(order, key=lambda group: abs(len(members[group]) - wanted))]
    held = set(out)
    return [group for group in pool if group not in held], out


def classes_of_groups(
    data: Dataset, pool: list[str], members: dict[str, list[int]], *, least: int = 3
) -> dict[str, frozenset[int]]:
    """Classes in each group, background apart, where the masks are small enough in number to be asked again.

    Args:
        data: The data set.
        pool: Groups to look at.
        members: Group → its samples.
        least: Number of classes from which on it is worth a look.
    """
    spec = data.spec
    if spec.num_classes < least or len(data) > 20_000:
        return {group: frozenset() for group in pool}
    return {group: frozenset().union(*(data.classes_in(i) for i in members[group])) for group in pool}
