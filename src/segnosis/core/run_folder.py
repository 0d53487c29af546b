"""Files of a run: where each lies, and writing them whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from segnosis.core.errors import DataError, RunError


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder; the names are a contract (see the README's "A run folder")."""

    root: Path

    @property
    def resume(self) -> str:
        """The command that goes on with the run, or the cross-validation, as a message names it.

        Example:
            >>> print(RunFolder(Path("runs/my first")).resume)
            `segnosis train --resume --out 'runs/my first'`
        """
        return f"`segnosis train --resume --out {quote(str(self.root))}`"

    @property
    def plan(self) -> Path:
        return self.root / "plan.yaml"

    @property
    def fingerprint(self) -> Path:
        return self.root / "fingerprint.json"

    @property
    def history(self) -> Path:
        return self.root / "history.jsonl"

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    @property
    def model(self) -> Path:
        return self.root / "model.keras"

    def depth(self, depth: int) -> Path:
        """The network of one depth, less than the deepest, of a run with deep supervision."""
        return self.root / "depths" / f"depth-{depth}.keras"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def scores(self) -> Path:
        return self.root / "scores.json"

    @property
    def diagnosis(self) -> Path:
        return self.root / "diagnosis.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def environment(self) -> Path:
        return self.root / "environment.json"

    def epochs(self) -> Iterator[dict[str, Any]]:
        """Lines of `history.jsonl`, oldest first; none when the run has not finished an epoch."""
        if not self.history.exists():
            return
        with self.history.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    told, problem = json.loads(line), "no object"
                except json.JSONDecodeError as error:
                    told, problem = None, error.msg
                if not isinstance(told, dict):
                    raise DataError(
                        "Every line of a run's history is one JSON object.",
                        file=self.history,
                        received={"line": number, "problem": problem},
                        cure="Remove that line, or train again with `--resume`.",
                    )
                yield told

    def withdraw(self, there: Collection[Path] | None) -> None:
        """Remove what a run wrote that failed before its first epoch was over.

        Args:
            there: What lay in the folder before, and stays; `None` where there was no folder.
        """
        if not self.root.is_dir():
            return
        for file in {self.plan, self.fingerprint, self.environment}.difference(there or ()):
            file.unlink(missing_ok=True)
        for folder in {self.pictures, self.checkpoint}.difference(there or ()):
            shutil.rmtree(folder, ignore_errors=True)
        if there is None and not any(self.root.iterdir()):
            self.root.rmdir()


def write_with(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` make a file, and put it at `path` only when it is whole and on the disk.

    A crash or a full disk leaves the old file, or none, never a half.

    Args:
        path: Where the file goes; folders are made.
        write: Called with a temporary path beside it, of the same suffix.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(
            "The output folder must be writable and have room.",
            received={"path": str(path), "problem": error.strerror or str(error)},
            cure="Free some space, or write it somewhere else.",
        ) from error
    return path


def write_bytes(path: Path, data: bytes) -> Path:
    """Write `data` whole or not at all."""
    return write_with(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: Path, text: str) -> Path:
    """`write_bytes` for UTF-8 text."""
    return write_bytes(path, text.encode("utf-8"))


def is_vacant(folder: Path) -> bool:
    """Whether nothing is there, or an empty folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def write_json(path: Path, data: object) -> Path:
    """`write_bytes` for JSON a person can read. NaN is refused: `None` says "no value"."""
    return write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, *, holds: str = "") -> Any:
    """Read a JSON file of a run, with one clear error when it is missing or broken.

    Args:
        path: The file.
        holds: Name that the object in it must have; any content will do, when left out.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            "A run folder holds this file once its step is done.",
            file=path,
            received={"problem": "missing"},
            cure="Name a folder made by `segnosis train`, or finish the run with `segnosis train --resume`.",
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            "This file of a run is JSON.", file=path, received={"problem": str(error)}, cure="Run the step again."
        ) from error
    if holds and not (isinstance(data, dict) and holds in data):
        raise DataError(
            f"This file of a run holds `{holds}`.",
            file=path,
            received={"content": data},
            cure="Name a folder made by `segnosis train` that nobody changed.",
        )
    return data
