"""Splits: no group in two parts, every class in every part where it can be, the same seed the same parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segnosis as sg
from segnosis.core.errors import ArgumentError, DataError
from segnosis.data.dataset import Dataset
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
