"""Seconds and memory to open a data set of up to a million pairs of files, by layout.

    python -m benchmarks.index [--pairs 1000 1000000] [--layouts parallel beside patients] [--json index.json]

The files are links to a few real images, so that a million pairs need inodes and no room: opening a folder lists and
pairs names and decodes nothing. Each folder is opened in a process of its own, whose peak of memory is compared with
what it held before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from benchmarks._memory import peak

from segnosis.core.run_folder import write_json

_LINKS = 50_000
"""Links that one file gets: file systems allow some 65,000."""


def parallel(k: int) -> tuple[str, str]:
    """`images/` and `masks/`, one name for both."""
    return f"images/{k:07d}.png", f"masks/{k:07d}.png"


def beside(k: int) -> tuple[str, str]:
    """The mask beside its image, a thousand pairs in each folder."""
    return f"batch{k // 1000:04d}/{k:07d}.png", f"batch{k // 1000:04d}/{k:07d}_mask.png"


def patients(k: int) -> tuple[str, str]:
    """Slices named by patient, to be grouped by it."""
    name = f"patient{k // 40:05d}_slice{k % 40:02d}.png"
    return f"train/images/{name}", f"train/masks/{name}"


LAYOUTS: dict[str, Callable[[int], tuple[str, str]]] = {f.__name__: f for f in (parallel, beside, patients)}


def main() -> None:
    """Make the folders, open each, print and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        print(json.dumps(measure(options.open)))
        return
    figures = []
    for layout in options.layouts:
        for pairs in options.pairs:
            with tempfile.TemporaryDirectory(prefix="segnosis-index-") as folder:
                for last in _write(Path(folder), LAYOUTS[layout], pairs):
                    _show(f"{layout}: {last + 1:,} of {pairs:,} pairs written")
                words = [sys.executable, "-m", "benchmarks.index", "--open", folder]
                found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            figures.append({"layout": layout, **found})
            print(
                f"\r{layout:10} {pairs:>9,} pairs: {found['seconds']:6.2f} s, {found['processor_seconds']:6.2f} s of a "
                f"processor, {found['mib']:6.0f} MiB more than before",
                flush=True,
            )
            if options.json:
                write_json(options.json, {"opened": figures})


def measure(folder: Path) -> dict[str, float]:
    """Open `folder` and ask for its length and groups: seconds, MiB above those before, and the pairs found."""
    from segnosis.data import open as open_dataset

    before, began, busy = peak(), time.perf_counter(), time.process_time()
    data = open_dataset(folder)
    groups = len(set(data.groups))
    return {
        "pairs": len(data),
        "groups": groups,
        "seconds": round(time.perf_counter() - began, 2),
        "processor_seconds": round(time.process_time() - busy, 2),
        "mib": round(peak() - before, 1),
    }


def _write(root: Path, layout: Callable[[int], tuple[str, str]], pairs: int) -> Iterator[int]:
    """Write the pairs and yield how far it is, now and then."""
    random, made = np.random.default_rng(0), set()
    for first in range(0, pairs, _LINKS):
        part = range(first, min(pairs, first + _LINKS))
        sources = [root / f".source_{first}_{role}.png" for role in ("image", "mask")]
        cv2.imwrite(str(sources[0]), random.integers(0, 256, (16, 16, 3), np.uint8))
        cv2.imwrite(str(sources[1]), 255 * random.integers(0, 2, (16, 16), np.uint8))
        for k in part:
            for source, name in zip(sources, layout(k), strict=True):
                file = root / name
                if file.parent not in made:
                    file.parent.mkdir(parents=True)
                    made.add(file.parent)
                os.link(source, file)
        yield part[-1]


def _show(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
