"""Splits: no group in two parts, every class in every part where it can be, the same seed the same parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segnosis as sg
from segnosis.core.errors import ArgumentError, DataError
from segnosis.data.dataset import Dataset
from segnosis.data.folds import fold
from segnosis.data.readers.base import Entry, Index
from segnosis.data.source import Source


class Stub:
    """A reader whose masks are one number in the entry's name: `<group>:<class>`."""

    __name__ = "stub"
    PRIORITY = 0

    @staticmethod
    def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
        mask = np.zeros((4, 4), np.uint8)
        mask[0, 0] = int(entry.image_file.split(":")[1])
        return mask

    @staticmethod
    def read_image(root: Path, entry: Entry, k: int | None = None, like: object = None) -> np.ndarray:
        return np.zeros((4, 4), np.uint8)

    @staticmethod
    def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
        return 1, "uint8"


def made(groups: list[int], *, classes: list[int] | None = None, splits: list[str | None] | None = None) -> Dataset:
    """Samples with the given group each."""
    rows = []
    for i, group in enumerate(groups):
        name = f"{i}:{classes[i] if classes else 1}"
        rows.append(Entry(name, name, str(i), f"g{group}", splits[i] if splits else None))
    source = Source(Path("made"), Stub(), Index(tuple(rows), "made", group_by="patient"))  # type: ignore[arg-type]
    return Dataset(source)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("number", [3, 4, 7, 30, 100])
def test_groups_are_never_cut_and_nothing_is_lost(number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = made([g for g in range(number) for _ in range(int(rng.integers(1, 6)))])
    parts = sg.data.split(data, seed=seed)
    groups = [set(part.groups) for part in parts]
    assert all(groups)
    assert len(groups[0] | groups[1] | groups[2]) == sum(map(len, groups)) == number
    assert sorted(id for part in parts for id in part.ids) == sorted(data.ids)
    assert len(parts.train) >= max(len(parts.val), len(parts.test))
    if number >= 30:
        shares = [len(part) / len(data) for part in parts]
        assert np.allclose(shares, (0.7, 0.15, 0.15), atol=0.06)


def test_same_seed_same_parts_other_seed_other_parts() -> None:
    data = made(list(range(40)))
    first, again, other = (sg.data.split(data, seed=seed) for seed in (3, 3, 4))
    assert [part.ids for part in first] == [part.ids for part in again]
    assert first.test.ids != other.test.ids


@pytest.mark.parametrize("seed", range(4))
def test_rare_classes_reach_every_part(seed: int) -> None:
    classes = [1] * 70 + [2] * 20 + [3] * 8
    parts = sg.data.split(made(list(range(len(classes))), classes=classes), seed=seed)
    for part in parts:
        assert {k for i in range(len(part)) for k in part.classes_in(i)} == {1, 2, 3}


def test_own_splits_are_used_and_the_held_out_part_is_the_test() -> None:
    names: list[str | None] = ["train"] * 20 + ["val"] * 6
    data = made(list(range(26)), splits=names)
    parts = sg.data.split(data)
    assert set(parts.test.ids) == {str(i) for i in range(20, 26)}
    assert set(parts.train.ids) | set(parts.val.ids) == {str(i) for i in range(20)}
    assert "own lists" in parts.note
    names = ["train"] * 20 + ["val"] * 6 + ["test"] * 4
    parts = sg.data.split(made(list(range(30)), splits=names))
    assert [len(part) for part in parts] == [20, 6, 4]


def test_two_groups_train_and_choose() -> None:
    parts = sg.data.split(made([0, 0, 0, 1, 1]))
    assert not set(parts.train.groups) & set(parts.test.groups)
    assert parts.val.ids == parts.test.ids
    assert "flatters" in parts.note


def test_one_group_and_wrong_fractions_are_clear_errors() -> None:
    with pytest.raises(DataError, match="groups=1"):
        sg.data.split(made([0, 0, 0]))
    with pytest.raises(ArgumentError, match="fractions"):
        sg.data.split(made([0, 1, 2]), fractions=(0.5, 0.2, 0.2))


@pytest.mark.parametrize(("number", "count"), [(5, 5), (13, 5), (60, 4), (2, 2)])
def test_every_group_is_held_out_by_one_fold_and_never_cut(number: int, count: int) -> None:
    rng = np.random.default_rng(number)
    data = made([g for g in range(number) for _ in range(int(rng.integers(1, 6)))])
    folds = [fold(data, k, count, seed=3) for k in range(1, count + 1)]
    assert sorted(id for parts in folds for id in parts.test.ids) == sorted(data.ids)
    for parts in folds:
        train, val, test = (set(part.groups) for part in parts)
        assert not train & (val | test)
        assert (val == test) if number == 2 else not val & test
        assert train | val | test == set(data.groups)
    sizes = [len(parts.test) for parts in folds]
    assert max(sizes) - min(sizes) <= (5 if number < 60 else 6)  # groups hold up to five samples
    assert [fold(data, k, count, seed=3).test.ids for k in range(1, count + 1)] == [f.test.ids for f in folds]
    if number > 5:
        assert fold(data, 1, count, seed=4).test.ids != folds[0].test.ids


@pytest.mark.parametrize("seed", range(3))
def test_rare_classes_are_spread_over_the_folds(seed: int) -> None:
    classes = [1] * 70 + [2] * 20 + [3] * 5
    for k in range(1, 6):
        test = fold(made(list(range(95)), classes=classes), k, 5, seed=seed).test
        counts = [sum(c in test.classes_in(i) for i in range(len(test))) for c in (1, 2, 3)]
        assert (len(test), counts) == (19, [14, 4, 1])


def test_what_the_data_set_holds_back_for_testing_is_in_no_fold() -> None:
    data = made(list(range(30)), splits=["train"] * 20 + ["val"] * 6 + ["test"] * 4)
    held_out = [id for k in (1, 2, 3) for id in fold(data, k, 3).test.ids]
    assert sorted(held_out, key=int) == [str(i) for i in range(26)]
    assert "own lists" not in fold(data, 1, 3).note


def test_more_folds_than_groups_and_wrong_numbers_are_clear_errors() -> None:
    with pytest.raises(DataError, match=r"folds=5, groups=3.*--folds 3"):
        fold(made([0, 0, 1, 2]), 1, 5)
    for number, count in ((1, 1), (0, 5), (6, 5)):
        with pytest.raises(ArgumentError, match="at least two folds"):
            fold(made([0, 1, 2]), number, count)
