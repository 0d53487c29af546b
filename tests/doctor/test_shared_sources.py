"""What training and validation hold in common is told by what their objects hold, and nothing is drawn for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch.utils.data import DataLoader, Subset, random_split

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import held_sources, repeated_images, shared_sources
from segnosis.doctor.evidence.shared_sources import SharedSources

pytestmark = pytest.mark.one_backend

NAMES = [f"{number}.png" for number in range(20)]
IMAGES = np.zeros((30, 4, 4, 1))
SLICES = tf.data.Dataset.from_tensor_slices(NAMES)


class Rows(keras.utils.PyDataset):
    def __init__(self, images: np.ndarray, rows: Sequence[int] | None = None, augment: bool = False) -> None:
        super().__init__()
        self.images, self.augment = images, augment
        self.rows = np.arange(len(images)) if rows is None else np.asarray(rows)


class Files(keras.utils.PyDataset):
    def __init__(self, files: list[str], folder: str = "images", augment: bool = False) -> None:
        super().__init__()
        self.files, self.folder, self.augment = files, folder, augment
        self.classes, self.order = ["soil", "crop", "weed", "road"], np.arange(len(files))


class Table(torch.utils.data.Dataset):
    def __init__(self, names: list[str]) -> None:
        self.names = names

    def __len__(self) -> int:
        return len(self.names)


class Pictures(torch.utils.data.Dataset):
    def __init__(self, train: bool, count: int = 20) -> None:
        self.names, self.train, self.count = NAMES, train, count

    def __len__(self) -> int:
        return self.count


def drawing(names: list[str], augment: bool = False) -> Iterator[Any]:
    while True:
        yield names


def measure(given: dict[str, Any], variables: dict[str, Any] | None = None) -> SharedSources:
    return shared_sources.measure(given, held_sources.measure(given), variables)


def shared(train: Any, validation: Any) -> SharedSources:
    return measure({"x": train, "validation_data": validation})


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (lambda: SLICES.skip(5).batch(2), lambda: SLICES.take(5).batch(2)),
        (lambda: SLICES.skip(5).shuffle(9).batch(2), lambda: SLICES.take(5).batch(2)),
        (lambda: Rows(IMAGES[:20], augment=True), lambda: Rows(IMAGES[20:])),
        (lambda: Rows(IMAGES, range(20)), lambda: Rows(IMAGES, range(20, 30))),
        (lambda: Rows(IMAGES[:20].copy()), lambda: Rows(IMAGES[20:].copy())),
        (lambda: Files(NAMES[:15], augment=True), lambda: Files(NAMES[15:])),
        (lambda: Files(NAMES, "train"), lambda: Files(NAMES, "val")),
        (lambda: Files(NAMES, "train"), lambda: Files(NAMES[:7], "val")),
        (lambda: drawing(NAMES[:15]), lambda: drawing(NAMES[15:])),
        (lambda: Files(NAMES[:15]), lambda: (IMAGES, IMAGES)),
    ],
)
def test_samples_that_are_apart_are_not_shared(train: Any, validation: Any) -> None:
    assert shared(train(), validation()).how is None


@pytest.mark.parametrize(
    ("train", "validation", "how", "count"),
    [
        (lambda: SLICES.skip(5).batch(2), lambda: SLICES.take(7).batch(2), "list", 2),
        (lambda: Rows(IMAGES[:25], augment=True), lambda: Rows(IMAGES[20:]), "array", 5),
        (lambda: Rows(IMAGES, augment=True), lambda: Rows(IMAGES), "array", 30),
        (lambda: Rows(IMAGES, range(22)), lambda: Rows(IMAGES, range(20, 30)), "list", 2),
        (lambda: Files(NAMES[:15], augment=True), lambda: Files(NAMES[10:]), "list", 5),
        (lambda: Files(NAMES, augment=True), lambda: Files(NAMES), "list", 20),
        (lambda: drawing(NAMES, augment=True), lambda: drawing(NAMES), "list", 20),
        (lambda: DataLoader(Table(NAMES[:16]), 2), lambda: DataLoader(Table(NAMES[10:]), 2), "list", 6),
        (lambda: DataLoader(Pictures(True), 2, shuffle=True), lambda: DataLoader(Pictures(False), 2), "list", 20),
    ],
)
def test_samples_in_both_are_found(train: Any, validation: Any, how: str, count: int) -> None:
    seen = shared(train(), validation())
    assert (seen.how, seen.shared) == (how, count)


def test_a_flag_may_choose_a_part_of_what_both_list() -> None:
    assert shared(DataLoader(Pictures(True, 15), 2), DataLoader(Pictures(False, 5), 2)).how is None


def test_parts_of_one_table() -> None:
    table = Table(NAMES)
    one, other = random_split(table, [15, 5])
    assert shared(DataLoader(one, 2), DataLoader(other, 2)).how is None
    seen = shared(DataLoader(Subset(table, range(15)), 2), DataLoader(Subset(table, range(10, 20)), 2))
    assert (seen.how, seen.shared, seen.held_out) == ("list", 5, 10)


def test_what_is_shuffled_anew_is_cut_elsewhere_in_each_pass() -> None:
    anew, kept = SLICES.shuffle(20), SLICES.shuffle(20, reshuffle_each_iteration=False)
    assert shared(anew.skip(5).batch(2), anew.take(5).batch(2)).how == "shuffle"
    assert shared(kept.skip(5).batch(2), kept.take(5).batch(2)).how is None
    assert shared(anew.take(9).batch(2), SLICES.skip(20).shuffle(9).take(3).batch(2)).how is None


def test_one_object_for_both() -> None:
    data = Rows(IMAGES)
    assert shared(data, data).how == "object"


PICTURES = list(np.random.default_rng(0).normal(size=(12, 8, 8)))


@pytest.mark.parametrize(
    ("variables", "how", "common"),
    [
        ({"x_train": np.stack(PICTURES[:8]), "x_test": np.stack(PICTURES[6:])}, "pictures", 2),
        ({"x_train": np.stack(PICTURES[:8]), "x_test": np.stack(PICTURES[8:])}, None, 0),
        ({"train_cases": [(p, 0) for p in PICTURES], "val_cases": [(p, 0) for p in PICTURES[:3]]}, "pictures", 3),
        ({"train_cases": [(p, 0) for p in PICTURES[3:]], "val_cases": [(p, 0) for p in PICTURES[:3]]}, None, 0),
        ({"names": NAMES, "train_names": NAMES[4:], "self.val_names": NAMES[:8]}, "list", 4),
        ({"names": NAMES, "train_names": NAMES[8:], "self.val_names": NAMES[:8]}, None, 0),
        ({"train_names": NAMES, "test_names": NAMES[:8]}, None, 0),  # of two folders, perhaps
        ({"train_classes": NAMES[:4], "val_classes": NAMES[:4], "names": NAMES}, None, 0),
        ({"x_train": np.stack(PICTURES), "x_tr": np.stack(PICTURES[4:]), "x_val": np.stack(PICTURES[:4])}, None, 0),
    ],
)
def test_variables_around_a_loop_tell_by_their_names(variables: dict[str, Any], how: str | None, common: int) -> None:
    found = measure({}, variables)
    assert (found.how, found.shared, found.by_name) == (how, common, True)


SLICES_OF = {case: [f"scans/case{case:02d}/slice_{k}.png" for k in range(6)] for case in range(8)}
BY_CASE = [name for names in SLICES_OF.values() for name in names]


@pytest.mark.parametrize(
    ("train", "held_out", "groups"),
    [
        (BY_CASE[::2], BY_CASE[1::2], 8),
        (BY_CASE[:36], BY_CASE[36:], 0),
        (
            [name.replace("case", "tile") for name in BY_CASE[::2]],
            [name.replace("case", "tile") for name in BY_CASE[1::2]],
            0,
        ),
        (NAMES[::2], NAMES[1::2], 0),
        (BY_CASE[:38], BY_CASE[38:], 0),  # one case is cut
    ],
)
def test_names_of_files_may_tell_of_cases_in_both(train: list[str], held_out: list[str], groups: int) -> None:
    held = {"train_files": train, "val_files": held_out}
    for found in (
        shared(Files(train, augment=True), Files(held_out)),
        measure({}, held),
        measure({"x": IMAGES, "validation_data": (IMAGES, IMAGES)}, held),
        measure({}, {name: [(one, one) for one in names] for name, names in held.items()}),
        measure({}, {name: [{"fold": 1, "image": one} for one in names] for name, names in held.items()}),
    ):
        assert (found.how, found.shared) == (("groups", groups) if groups else (None, 0))


@pytest.mark.parametrize(("held", "times"), [([PICTURES[0]] * 9, 9), (PICTURES[:9], 0), ([np.zeros((8, 8))] * 9, 0)])
def test_one_picture_held_again_and_again_is_told(held: list[np.ndarray], times: int) -> None:
    batch = Batch(np.stack(PICTURES[:4])[..., None], np.zeros((4, 8, 8, 1)))
    found = repeated_images.measure([batch], None, held_sources.measure({"x": Rows(np.zeros(1)), "y": None}))
    assert not found.times
    data = Rows(np.zeros(1))
    data.faces = [(picture, 0) for picture in held]
    found = repeated_images.measure([batch], None, held_sources.measure({"x": data}))
    assert (found.held, found.times) == ("faces" if times else "", times)


class Visits(keras.utils.PyDataset):
    def __init__(self, patients: Sequence[int], first: int = 0) -> None:
        super().__init__()
        self.rows = [{"file": f"{first + k}.png", "patient": f"P{p}", "weather": "dry"} for k, p in enumerate(patients)]


@pytest.mark.parametrize(
    ("validation", "found"),
    [
        (Visits([1, 2, 3, 4], 90), SharedSources("groups", "rows['patient']", 4, 4, "P1", by_name=True)),
        (Visits([7, 7, 8, 9], 90), SharedSources()),
    ],
)
def test_a_column_of_groups_says_what_is_in_both(validation: Visits, found: SharedSources) -> None:
    train = Visits([1, 1, 2, 2, 3, 3, 4, 4])
    given = {"x": train, "validation_data": validation}
    assert shared_sources.measure(given, held_sources.measure(given)) == found
