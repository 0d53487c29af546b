"""`python -m benchmarks [NAME ...]`: every side-by-side measurement, or those named."""

from __future__ import annotations

import pkgutil
import runpy
import sys
from pathlib import Path


def names() -> list[str]:
    """The benchmarks there are: modules and packages of this folder."""
    found = (info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if not name.startswith("_"))


def main(wanted: list[str]) -> None:
    """Run `wanted`, or all."""
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        sys.exit(f"error: no benchmark is called {', '.join(unknown)}. There are: {', '.join(names())}.")
    for name in wanted or names():
        print(f"== {name}", flush=True)
        sys.argv = [name]
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main(sys.argv[1:])
