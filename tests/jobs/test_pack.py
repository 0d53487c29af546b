"""Packing: what comes out is what went in, also after a stop at any instant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segnosis import data
from segnosis.core.errors import DataError, RunError
from segnosis.data.dataset import Dataset
from segnosis.data.readers import nifti, voc
from segnosis.jobs import pack as module
from segnosis.jobs.pack import pack
from segnosis.training.listener import Listener


class StoppedError(Exception):
    """As sudden as a kill: nothing of ours catches it."""


class Stopping(Listener):
    def __init__(self, after: int) -> None:
        self.left = after

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoppedError


def assert_same(first: Dataset, second: Dataset) -> None:
    assert first.spec.class_names == second.spec.class_names
    assert (first.spec.ignore_class, first.spec.dtype) == (second.spec.ignore_class, second.spec.dtype)
    assert (first.ids, first.groups, first.splits) == (second.ids, second.groups, second.splits)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.mask, b.mask)
        assert a.spacing == b.spacing


@pytest.fixture
def volumes(tmp_path: Path) -> Dataset:
    (tmp_path / "in").mkdir()
    nifti.example(tmp_path / "in")
    return data.open(tmp_path / "in")


def test_what_comes_out_is_what_went_in(volumes: Dataset, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    voc.example(tmp_path / "photos")
    for dataset in (volumes, data.open(tmp_path / "photos")):
        packed = data.open(pack(dataset.root, tmp_path / f"out {dataset.name}"))
        assert packed.spec.reader == "packed"
        assert_same(packed, dataset)
        assert_same(packed[3:5], dataset[3:5])


@pytest.mark.parametrize("stop", [0, 1, 9, 17, 26])
def test_a_stopped_pack_is_refused_and_goes_on(
    stop: int, volumes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "out", []
    plain = module._write_shard

    def small(*words: object) -> dict[str, object]:
        written.append(words[1])
        return plain(*words[:5], 5000, *words[6:])  # type: ignore[arg-type]  # some shards of a few samples

    monkeypatch.setattr(module, "_write_shard", small)
    with pytest.raises(StoppedError):
        pack(volumes.root, out, listener=Stopping(stop))
    with pytest.raises(DataError, match="goes on where it stopped"):
        data.open(out)
    before = set(written)
    pack(volumes.root, out)
    assert len(before) < 2 or written.count(min(before)) == 1  # the shards that were whole are kept
    assert_same(data.open(out), volumes)
    told = json.loads((out / "pack.json").read_text())
    names = {f"{shard['name']}{end}" for shard in told["shards"] for end in (".bin", ".jsonl")}
    assert {path.name for path in out.iterdir()} == {"pack.json", *names}
    assert len(names) > 4


def test_a_pack_goes_on_with_the_same_data_alone(volumes: Dataset, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        pack(volumes.root, tmp_path / "out", listener=Stopping(4))
    with pytest.raises(RunError, match="same data set and settings"):
        pack(volumes.root, tmp_path / "out", class_names=["a", "b", "c", "d"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="new folder"):
        pack(volumes.root, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_an_unreadable_sample_stops_it_or_is_listed(tmp_path: Path) -> None:
    voc.example(tmp_path)
    (tmp_path / "JPEGImages" / "2007_000001.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="2007_000001"):
        pack(tmp_path, tmp_path.parent / "stopped")
    out = pack(tmp_path, tmp_path.parent / "skipped", skip_unreadable=True)
    assert [line["id"] for line in json.loads((out / "pack.json").read_text())["skipped"]] == ["2007_000001"]
    assert data.open(out).ids == ["2007_000000", "2007_000002", "2007_000003", "2007_000004"]


def test_a_changed_pixel_is_found(volumes: Dataset, tmp_path: Path) -> None:
    out = pack(volumes.root, tmp_path / "out")
    body = bytearray((out / "shard-00000.bin").read_bytes())
    body[100] ^= 1
    (out / "shard-00000.bin").write_bytes(body)
    packed = data.open(out)
    with pytest.raises(DataError, match="checksum"):
        packed[0]
    assert packed[1].mask is not None


@pytest.mark.parametrize("one", [-1, 200, "x", float("inf")])
def test_a_damaged_table_of_classes_is_told(volumes: Dataset, tmp_path: Path, one: object) -> None:
    out = pack(volumes.root, tmp_path / "out")
    told = json.loads((out / "pack.json").read_text())
    told["spec"]["values"] = {"0": 0, "1": one}
    (out / "pack.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"pack\.json"):
        data.open(out)[0]
