"""One module = one unit: a folder is its own registry, so adding a file is all it takes to add a unit."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from segnosis.core.errors import ArgumentError, did_you_mean


def names(package: str) -> list[str]:
    """Dotted names of the units below `package`, sorted, without importing one of them.

    A sub-package is a family: its modules are units too, named `family.unit`. Modules that start with an underscore,
    and those a package lists in `NOT_UNITS` (its shared base, say), are left out.
    """
    module = importlib.import_module(package)
    return list(_walk(list(module.__path__), "", frozenset(getattr(module, "NOT_UNITS", ()))))


def load(package: str, name: str) -> ModuleType:
    """Import the unit `name` of `package`; an unknown name raises `ArgumentError` with a suggestion."""
    known = names(package)
    if name not in known:
        what = package.rsplit(".", 1)[-1]
        raise ArgumentError(
            f"`{package}` has one module per unit and none of this name.",
            received={what: name},
            cure=did_you_mean(name, known),
        )
    return importlib.import_module(f"{package}.{name}")


def member(package: str, name: str) -> Any:
    """The class `name` of `package`, imported when it is first asked for.

    The class `TopKCrossEntropy` lives in the unit `top_k_cross_entropy`: a unit's file name is its class name, spelt
    with underscores. An unknown name raises `AttributeError` with a suggestion, as a module's `__getattr__` must.
    """
    for unit in names(package):
        if unit.replace("_", "") == name.lower():
            return getattr(importlib.import_module(f"{package}.{unit}"), name)
    known = members(package) if not name.startswith("_") else []
    raise AttributeError(f"module {package!r} has no attribute {name!r}. {did_you_mean(name, known)}", name=name)


def members(package: str) -> list[str]:
    """Names of the classes that `member` finds, sorted; imports every unit of `package`."""
    return sorted(
        attribute
        for unit, module in units(package).items()
        for attribute in vars(module)
        if attribute.lower() == unit.replace("_", "")
    )


def units(package: str) -> dict[str, ModuleType]:
    """All units of `package`, imported, by name."""
    return {name: importlib.import_module(f"{package}.{name}") for name in names(package)}


def _walk(path: list[str], prefix: str, left_out: frozenset[str]) -> Iterator[str]:
    for info in sorted(pkgutil.iter_modules(path), key=lambda item: item.name):
        if info.name.startswith("_") or info.name in left_out:
            continue
        if info.ispkg:
            yield from _walk([f"{folder}/{info.name}" for folder in path], f"{prefix}{info.name}.", left_out)
        else:
            yield f"{prefix}{info.name}"
