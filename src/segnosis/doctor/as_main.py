"""Running a file as `python file ARGS` would, and showing places and tracebacks as Python would."""

from __future__ import annotations

import os
import sys
import traceback
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_main(path: Path, args: Sequence[str]) -> Iterator[types.ModuleType]:
    """`sys` as `python path args` sets it up; put back afterwards. No plot opens a window unless MPLBACKEND says so."""
    file = str(path.resolve())
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=file, __builtins__=__builtins__, __spec__=None)
    kept = sys.argv, list(sys.path), sys.modules["__main__"], Path.cwd()
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.argv, sys.path[:0], sys.modules["__main__"] = [str(path), *args], [str(Path(file).parent)], module
    try:
        yield module
    finally:
        sys.argv, sys.path[:], sys.modules["__main__"] = kept[0], kept[1], kept[2]
        os.chdir(kept[3])


def own_traceback(error: BaseException, ours: Sequence[str]) -> str:
    """The traceback as Python prints it for the script alone, without the frames of the files `ours`."""
    report = traceback.TracebackException.from_exception(error)
    waiting: list[traceback.TracebackException | None] = [report]
    while waiting:
        part = waiting.pop()
        if part is not None:
            part.stack = traceback.StackSummary.from_list([frame for frame in part.stack if frame.filename not in ours])
            waiting += [part.__cause__, part.__context__]
    return "".join(report.format())


def shown(file: str) -> str:
    """A file relative to the working folder where it lies below it."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file
