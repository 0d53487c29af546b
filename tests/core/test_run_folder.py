"""Files are written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from segnosis.core.errors import DataError, RunError
from segnosis.core.run_folder import RunFolder, read_json, write_json, write_text, write_with


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = write_text(tmp_path / "a.txt", "old")

    def full(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match=r"No space left.*Free some space"):
        write_with(file, full)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="writable"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_broken_files_of_a_run_are_told_with_name_and_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.history.write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(DataError, match=r"history\.jsonl.*line=2"):
        list(folder.epochs())
    folder.scores.write_text("{")
    with pytest.raises(DataError, match=r"scores\.json"):
        read_json(folder.scores)
    with pytest.raises(DataError, match="missing"):
        read_json(folder.plan)
