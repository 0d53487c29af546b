"""Readers under attack: every file of each reader's example damaged in turn, thousands of times.

A trial changes one file (bytes flipped, cut, doubled, numbers made absurd, names that lead out of the folder), opens
the folder, reads stored pairs and samples, and puts the file back. Only our own errors may come of it; no trial may use
more than 2 s of the processor, open a file outside the folder, or make the process much larger.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._memory import peak

from segnosis.core import discovery
from segnosis.core.errors import SegnosisError
from segnosis.core.run_folder import write_json
from segnosis.data import open as open_dataset

SECONDS, MEBIBYTES = 2.0, 1024
_ABSURD = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_NUMBERS = (b"-1", b"0", b"99999999999", b"1e400", b"NaN", b"null", b'"x"', b"[]", b"{}", b"true", b"1" * 5000)
_NAMES = (b'"../../secret.png"', b'"/etc/passwd"', b'"..\\\\..\\\\secret.png"', b'"C:/secret.png"', b'"\\u0000"', b'""',
          b"17", b"null", b"[[[]]]", b'"' + b"a" * 5000 + b'"')  # fmt: skip


@dataclass
class Outcome:
    """What the trials of one reader came to."""

    trials: int = 0
    whole: int = 0
    told: int = 0
    slowest: float = 0.0
    foreign: Counter[str] = field(default_factory=Counter)
    slow: list[str] = field(default_factory=list)
    outside: set[str] = field(default_factory=set)
    grown_mebibytes: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing but our errors came of it, in time and in place."""
        return not (self.foreign or self.slow or self.outside) and self.grown_mebibytes < MEBIBYTES


def attack(name: str, root: Path, trials: int, *, seed: int = 0) -> Outcome:
    """Damage the example of the reader `name`, written to the empty folder `root`, `trials` times."""
    reader = discovery.load("segnosis.data.readers", name)
    reader.example(root)
    (root.parent / "secret.png").write_bytes(b"secret")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    wholes = [path.read_bytes() for path in files]
    rng, outcome, before = np.random.default_rng(seed), Outcome(), peak()
    for trial in range(trials):
        at = int(rng.integers(len(files)))
        files[at].write_bytes(damaged(wholes[at], rng))
        with _Watched(root) as opened, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            started = time.process_time()
            try:
                read(root, name, files[at].name)
                outcome.whole += 1
            except SegnosisError:
                outcome.told += 1
            except Exception as error:
                last = error.__traceback__
                while last and last.tb_next:
                    last = last.tb_next
                place = f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last else ""
                outcome.foreign[f"{type(error).__name__} at {place} in {files[at].name}: {str(error)[:80]}"] += 1
            taken = time.process_time() - started
        outcome.slowest = max(outcome.slowest, taken)
        if taken > SECONDS:
            outcome.slow.append(f"trial {trial}: {taken:.1f} s, {files[at].name}")
        outcome.outside |= opened.outside
        files[at].write_bytes(wholes[at])
        outcome.trials += 1
    outcome.grown_mebibytes = peak() - before
    return outcome


def read(root: Path, name: str, file: str) -> None:
    """Open the folder; read two pairs as stored and as meant, those of the damaged file if it has any."""
    data = open_dataset(root, reader=name)
    rows = [i for i in range(len(data)) if file in str(data.source.locate(i)[0][:2])] or list(range(len(data)))
    for row in {rows[0], rows[-1]}:
        data.pair(row)
    data[rows[0]]


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """One of several kinds of damage; texts are damaged as texts too."""
    body = bytearray(whole)
    text = whole[:1] in (b"{", b"[")
    kind = int(rng.integers(0, 7 if text else 5))
    near = len(body) if rng.random() < 0.5 else min(len(body), 512)  # headers more often than pixels
    if kind == 0:
        for at in rng.integers(0, max(near, 1), int(rng.integers(1, 9))):
            body[int(at) % max(len(body), 1)] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del body[int(rng.integers(0, max(near, 1))) :]
    elif kind == 2:
        width = int(rng.choice([1, 2, 4, 8]))
        value = _ABSURD[int(rng.integers(len(_ABSURD)))] & ((1 << 8 * width) - 1)
        at = int(rng.integers(0, max(near, 1)))
        body[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.5 else "big")
    elif kind == 3:
        low, high = sorted(rng.integers(0, max(near, 1), 2).tolist())
        body[low:low] = body[low:high] * int(rng.integers(1, 4))
    elif kind == 4:
        low, high = sorted(rng.integers(0, max(near, 1), 2).tolist())
        del body[low:high]
    else:
        pattern = rb"-?\d+(?:\.\d+)?" if kind == 5 else rb'"[^"]*"'
        found = list(re.finditer(pattern, whole))
        if found:
            match, choices = found[int(rng.integers(len(found)))], _NUMBERS if kind == 5 else _NAMES
            body[match.start() : match.end()] = choices[int(rng.integers(len(choices)))]
    return bytes(body)


class _Watched:
    """Remembers files below the root's parent, or of the system's secrets, that were opened outside the root."""

    present: _Watched | None = None

    def __init__(self, root: Path) -> None:
        self.root, self.above = f"{root}/", f"{root.parent}/"
        self.outside: set[str] = set()

    def __enter__(self) -> _Watched:
        _Watched.present = self
        return self

    def __exit__(self, *error: object) -> None:
        _Watched.present = None

    @classmethod
    def audit(cls, event: str, arguments: tuple[Any, ...]) -> None:
        watched = cls.present
        if watched is None or event != "open" or not isinstance(arguments[0], str | bytes):
            return
        path = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode(errors="replace")
        path = str(Path(path).resolve()) if ".." in path else path
        if path.startswith((watched.above, "/etc/passwd")) and not path.startswith(watched.root):
            watched.outside.add(path)


sys.addaudithook(_Watched.audit)


def _wanted(names: list[str]) -> Iterator[str]:
    import importlib.util

    for name in names or discovery.names("segnosis.data.readers"):
        needs = getattr(discovery.load("segnosis.data.readers", name), "NEEDS", ("numpy",))
        if importlib.util.find_spec(needs[0]) is None:
            print(f"{name}: {needs[0]} is not installed")
        else:
            yield name


def main() -> None:
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it tells of every header that it mends
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", help="readers to attack; all when left out")
    parser.add_argument("--trials", type=int, default=1000, help="damaged files a reader (`make fuzz`: 100 000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name in _wanted(arguments.readers):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve() / "data"
            root.mkdir()
            outcome = attack(name, root, arguments.trials, seed=arguments.seed)
        told = {"trials": outcome.trials, "errors told": outcome.told, "slowest": round(outcome.slowest, 3)}
        told |= {"grown MiB": round(outcome.grown_mebibytes), "foreign": dict(outcome.foreign), "slow": outcome.slow}
        results[name] = told | {"outside": sorted(outcome.outside)}
        print(f"{name:18} {'good' if outcome.good else 'BAD '} {results[name]}", flush=True)
    if arguments.json:
        write_json(arguments.json, results)
    sys.exit(any(result["foreign"] or result["slow"] or result["outside"] for result in results.values()))


if __name__ == "__main__":
    main()
