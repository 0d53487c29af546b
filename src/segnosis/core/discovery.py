"""One module = one unit: a folder is its own registry, so adding a file is all it takes to add a unit."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from segnosis.core.errors import ArgumentError, MissingPackageError, SegnosisError, did_you_mean

_BACKENDS = {"tensorflow": "tensorflow-cpu", "jax": "jax", "torch": "torch"}
"""Backend of Keras → the extra of ours that brings it."""


def names(package: str) -> list[str]:
    """Dotted names of the units below `package`, sorted, without importing one of them.

    A sub-package is a family: its modules are units too, named `family.unit`. Modules that start with an underscore,
    and those a package lists in `NOT_UNITS` (its shared base, say), are left out.
    """
    module = importlib.import_module(package)
    return list(_walk(list(module.__path__), "", frozenset(getattr(module, "NOT_UNITS", ()))))


def load(package: str, name: str, *, what: str = "") -> ModuleType:
    """Import the unit `name` of `package`; an unknown name raises `ArgumentError` with a suggestion."""
    check(package, name, what=what)
    return imported(f"{package}.{name}")


def check(package: str, name: str, *, what: str = "") -> None:
    """Raise `ArgumentError` with a suggestion where `package` has no unit `name`; nothing is imported but the package.

    Args:
        package: Dotted name.
        name: What a user wrote.
        what: What one of its units is called; the package's last name without its s when left out.
    """
    what, known = what or package.rsplit(".", 1)[-1].removesuffix("s"), names(package)
    if name not in known:
        raise ArgumentError(f"There is no {what} of this name.", received={what: name}, cure=did_you_mean(name, known))


def imported(name: str) -> ModuleType:
    """Import a module; where Keras cannot load its backend, one error says so.

    Raises:
        MissingPackageError: The backend that Keras is set to is not installed.
        ArgumentError: Keras is set to a backend that there is none of.
    """
    try:
        return importlib.import_module(name)
    except (ModuleNotFoundError, ValueError) as error:
        if (told := no_backend(error)) is None:
            raise
        raise told from error


def no_backend(error: BaseException) -> SegnosisError | None:
    """What is told when Keras lacks its backend; nothing of another error."""
    if isinstance(error, ModuleNotFoundError) and error.name in _BACKENDS:
        return MissingPackageError(
            error.name, purpose=f"Keras, set to its backend {error.name},", extra=_BACKENDS[error.name]
        )
    if isinstance(error, ValueError) and "backend" in str(error) and not isinstance(error, SegnosisError):
        return ArgumentError(
            "Keras computes with one of its backends.",
            received={"KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "as in keras.json")},
            cure=f"Set it to {', '.join(_BACKENDS)}, or leave it out.",
        )
    return None


def member(package: str, name: str) -> Any:
    """The class `name` of `package`, imported when it is first asked for.

    The class `TopKCrossEntropy` lives in the unit `top_k_cross_entropy`: a unit's file name is its class name, spelt
    with underscores. An unknown name raises `AttributeError` with a suggestion, as a module's `__getattr__` must.
    """
    for unit in names(package):
        if unit.replace("_", "") == name.lower():
            return getattr(imported(f"{package}.{unit}"), name)
    known = members(package) if not name.startswith("_") else []
    raise AttributeError(f"module {package!r} has no attribute {name!r}. {did_you_mean(name, known)}", name=name)


def check_member(package: str, name: str, *, what: str = "") -> None:
    """`check` for the classes of `package`: raise `ArgumentError` with a suggestion where none is called `name`."""
    if name not in (known := members(package)):
        what = what or package.rsplit(".", 1)[-1].removesuffix("es")
        raise ArgumentError(f"There is no {what} of this name.", received={what: name}, cure=did_you_mean(name, known))


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
    return {name: imported(f"{package}.{name}") for name in names(package)}


def _walk(path: list[str], prefix: str, left_out: frozenset[str]) -> Iterator[str]:
    for info in sorted(pkgutil.iter_modules(path), key=lambda item: item.name):
        if info.name.startswith("_") or info.name in left_out:
            continue
        if info.ispkg:
            yield from _walk([f"{folder}/{info.name}" for folder in path], f"{prefix}{info.name}.", left_out)
        else:
            yield f"{prefix}{info.name}"
