"""Cross-validation: folds of whole groups, the classes spread over them."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from segnosis.core.errors import ArgumentError, DataError
from segnosis.data.dataset import Dataset
from segnosis.data.split import Split, carve, classes_of_groups, own_lists

_CHOOSING = 0.15
"""Share of the samples outside a fold that choose the best epoch: those of the fold itself only test."""


class Fold(Split):
    """The split of one fold: its samples test, the others train and choose."""

    whose = ""


def fold(data: Dataset, number: int, count: int, *, seed: int = 0) -> Fold:
    """The split in which fold `number` of `count` tests.

    Over all numbers every group tests once; a part that the data set itself holds back for testing is in none of them.

    Args:
        data: The data set.
        number: Which fold, from 1.
        count: How many folds.
        seed: Same seed, same folds.

    Returns:
        Train, validation and test; a group is in exactly one of them.

    Raises:
        ArgumentError: There is no such fold.
        DataError: There are fewer groups than folds.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from segnosis.data.open import open
        >>> from segnosis.data.readers import hdf5
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = hdf5.example(Path(folder))
        ...     held_out = [fold(open(folder), number, 3).test.groups for number in (1, 2, 3)]
        >>> sorted({group for groups in held_out for group in groups}) == sorted(g for s in held_out for g in set(s))
        True
    """
    if count < 2 or not 1 <= number <= count:
        raise ArgumentError(
            "Cross-validation has at least two folds, numbered from 1.",
            received={"fold": number, "folds": count},
            cure="Pass `--folds 5`.",
        )
    members = _members(data)
    dealt = deal(data, count, seed=seed)
    test = dealt[number - 1]
    rest = [group for position, groups in enumerate(dealt) if position != number - 1 for group in groups]
    train, choosing = rest, test
    if len(rest) > 1:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(count, number)))
        train, choosing = carve(data, rest, members, _CHOOSING, rng)
    return Fold(
        *(data.subset(sorted(row for group in part for row in members[group])) for part in (train, choosing, test))
    )


def deal(data: Dataset, count: int, *, seed: int = 0) -> list[list[str]]:
    """The groups of each fold: every group in one, folds of about the same size, rare classes spread over them.

    Groups with the rarest classes are dealt first, in random order; each goes where its rarest class is rarest still,
    and among such folds to the smallest.
    """
    members = _members(data)
    held_back = set(own_lists(data, members).get("test", ()))
    pool = [group for group in members if group not in held_back]
    if len(pool) < count:
        unit = data.source.index.group_by or "sample"
        raise DataError(
            f"Every fold needs a group of its own, here a {unit}: what trains is never what tests.",
            file=data.root,
            received={"folds": count, "groups": len(pool)},
            cure=f"Pass `--folds {len(pool)}` or fewer."
            if len(pool) > 1
            else "Add images of another patient or slide.",
        )
    classes = classes_of_groups(data, pool, members, least=2)
    groups_with = Counter(name for group in pool for name in classes[group])
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(count,)))
    order = [pool[place] for place in rng.permutation(len(pool))]
    rarest = {group: min(classes[group], key=lambda name: (groups_with[name], name), default=-1) for group in order}
    # Among groups alike the large ones go first: the small ones then even out what they left.
    order.sort(key=lambda group: (groups_with.get(rarest[group], len(pool) + 1), -len(members[group])))
    folds: list[list[str]] = [[] for _ in range(count)]
    size, have = [0] * count, [Counter[int]() for _ in range(count)]
    for group in order:
        place = min(range(count), key=lambda at: (have[at][rarest[group]], size[at], at))
        folds[place].append(group)
        size[place] += len(members[group])
        have[place].update(classes[group])
    return folds


def _members(data: Dataset) -> dict[str, list[int]]:
    """Group → the numbers of its samples."""
    members: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(data.groups):
        members[group].append(row)
    return members
