"""What every reader must do, by discovery: a new file in `data/readers/` is tested by being there."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segnosis as sg
from segnosis.core import discovery
from segnosis.core.errors import DataError
from segnosis.data.readers.base import Folder

pytestmark = pytest.mark.one_backend
READERS: dict[str, Any] = dict(discovery.units("segnosis.data.readers"))


def _needs(reader: Any) -> pytest.MarkDecorator:
    package = getattr(reader, "NEEDS", ("numpy",))[0]
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


every_reader = pytest.mark.parametrize("name", [pytest.param(name, marks=_needs(r)) for name, r in READERS.items()])


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, tuple[Any, ...]]]:
    made = {}
    for name, reader in READERS.items():
        if _needs(reader).args[0]:
            continue
        root = tmp_path_factory.mktemp(name)
        made[name] = (root, reader.example(root))
    return made


@every_reader
def test_example_is_opened_by_its_reader(name: str, examples: dict[str, Any]) -> None:
    root, truths = examples[name]
    data = sg.data.open(root)
    assert data.spec.reader == name
    assert data.ids == [truth.id for truth in truths]
    assert data.groups == [truth.group for truth in truths]
    assert {id: split for split, ids in data.splits.items() for id in ids} == {t.id: t.split for t in truths if t.split}
    assert data.spec.saw.startswith(data.saw)


@every_reader
def test_arrays_are_the_truth(name: str, examples: dict[str, Any]) -> None:
    root, truths = examples[name]
    data = sg.data.open(root, reader=name)
    for sample, truth in zip(data, truths, strict=True):
        assert sample.image.dtype.name == data.spec.dtype
        assert np.array_equal(sample.image, truth.image), sample.id
        assert np.array_equal(sample.mask, truth.mask), sample.id
        assert sample.mask.dtype == np.uint8


@every_reader
def test_pairs_are_sized_and_read_again_and_again(name: str, examples: dict[str, Any]) -> None:
    root, truths = examples[name]
    pairs = sg.data.open(root).pairs()
    assert len(pairs) == len(truths)
    for _ in range(2):
        seen = list(pairs)
        assert [pair.id for pair in seen] == [truth.id for truth in truths]
        assert all(pair.error is None and pair.image_file.exists() for pair in seen)


@every_reader
def test_shortest_description_names_the_layout(name: str) -> None:
    reader = READERS[name]
    assert reader.LOOKS_FOR
    assert reader.__doc__
    assert sum(other.PRIORITY == reader.PRIORITY for other in READERS.values()) == 1


@every_reader
def test_nothing_is_recognised_in_a_folder_of_something_else(name: str, tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "table.csv").write_text("a,b\n")
    assert READERS[name].recognise(Folder.look(tmp_path)) is None


@every_reader
def test_damaged_files_are_told_not_raised(name: str, examples: dict[str, Any], tmp_path: Path) -> None:
    """Each file of the example in turn is emptied, cut and overwritten in places; only `DataError` may come of it."""
    root, _ = examples[name]
    files = sorted(path for path in root.rglob("*") if path.is_file())
    rng = np.random.default_rng(0)
    told = 0
    for number, file in enumerate(files[:4]):
        whole = file.read_bytes()
        for damaged in _damaged(whole, rng):
            copy = tmp_path / f"{number}"
            shutil.copytree(root, copy)
            (copy / file.relative_to(root)).write_bytes(damaged)
            try:
                data = sg.data.open(copy)
                told += any(pair.error for pair in data.pairs())
                for i in range(len(data)):
                    try:
                        assert data[i].mask.dtype == np.uint8
                    except DataError:
                        told += 1
            except DataError as error:
                assert error.file.is_relative_to(copy)
                told += 1
            shutil.rmtree(copy)
    assert told >= len(files[:4])


@every_reader
def test_links_that_lead_out_are_not_followed(name: str, examples: dict[str, Any], tmp_path: Path) -> None:
    root, _ = examples[name]
    copy, outside = tmp_path / "data", tmp_path / "outside"
    shutil.copytree(root, copy)
    outside.mkdir()
    for i, file in enumerate(sorted(path for path in copy.rglob("*") if path.is_file())):
        moved = outside / str(i)
        file.rename(moved)
        file.symlink_to(moved)
    with pytest.raises(DataError, match="lead out"):
        sg.data.open(copy)


@every_reader
def test_predictions_go_back_as_volumes(name: str, examples: dict[str, Any], tmp_path: Path) -> None:
    root, _ = examples[name]
    data = sg.data.open(root)
    place = data.volume_of(0)
    if place is None:
        pytest.skip("a file of this layout is one sample")
    upside_down = [data[i].mask[::-1] for i in range(place.planes)]  # not the truth
    masks = [np.where(mask == 255, 0, mask) for mask in upside_down]
    assert [data.volume_of(i).plane for i in range(place.planes)] == list(range(place.planes))
    entry, _ = data.source.locate(0)
    if entry.mask_file == entry.image_file:  # image and mask in one file: the prediction is a file of its own
        written = data.write_volume(tmp_path / Path(entry.mask_file).name, masks, place.file)
        stored = READERS[name].read_mask(tmp_path, entry._replace(mask=written.name))
        assert np.array_equal(stored, np.stack(masks))
        return
    new = tmp_path / "new"
    shutil.copytree(root, new)
    data.write_volume(new / entry.mask_file, masks, place.file)
    back = sg.data.open(new)
    assert np.array_equal(back[0].mask, masks[0])
    assert np.array_equal(back.volume_of(0).affine, place.affine)
    assert back[0].spacing == data[0].spacing


def _damaged(whole: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    yield b""
    yield whole[: len(whole) // 2]
    for _ in range(3):
        body = bytearray(whole)
        for at in rng.integers(0, len(body), max(1, len(body) // 50)):
            body[at] = int(rng.integers(0, 256))
        yield bytes(body)
