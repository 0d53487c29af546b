"""Every error a user can meet: what is expected and why, what was received, and the cure."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable, Mapping
from pathlib import Path


class SegnosisError(Exception):
    """An error in three sentences: the expectation, `Received: name=value`, the cure.

    Args:
        expected: What was expected and why, one sentence ending in a full stop.
        received: The offending values by name; `{}` when the expectation says it all.
        cure: What the user does next, as concrete as a command or a corrected value.

    Example:
        >>> print(SegnosisError("`depth` is at least 1.", received={"depth": 0}, cure="Pass depth=4."))
        `depth` is at least 1. Received: depth=0. Pass depth=4.
    """

    def __init__(self, expected: str, *, received: Mapping[str, object] | None = None, cure: str = "") -> None:
        self.expected, self.received, self.cure = expected, dict(received or {}), cure
        seen = ", ".join(f"{name}={_show(value)}" for name, value in self.received.items())
        super().__init__(" ".join(part for part in (expected, f"Received: {seen}." if seen else "", cure) if part))

    def __reduce__(self) -> tuple[object, ...]:
        """An error crosses from a worker's process to ours with all it knows."""
        return _again, (type(self), self.args, dict(self.__dict__))


class ArgumentError(SegnosisError, ValueError):
    """An argument of a function, a command or a plan has a value that cannot work."""


class DataError(SegnosisError, ValueError):
    """A file or folder of the user's is missing, unreadable or not what it should be; `file` says which."""

    def __init__(
        self, expected: str, *, file: str | Path, received: Mapping[str, object] | None = None, cure: str = ""
    ) -> None:
        self.file = Path(file)
        super().__init__(expected, received={"file": str(file), **(received or {})}, cure=cure)

    @property
    def brief(self) -> str:
        """Expectation and problem alone, for where file and cure are told anyway.

        Example:
            >>> DataError("An image is whole.", file="a.png", received={"problem": "cut off"}, cure="Copy it.").brief
            'An image is whole. problem=cut off'
        """
        told = ", ".join(f"{name}={value}" for name, value in self.received.items() if name != "file")
        return f"{self.expected} {told}".strip()


class RunError(SegnosisError):
    """A run folder cannot be written, continued or read."""


class StoppedError(RunError):
    """Work was stopped from outside, and can go on; `exit_code` is what a shell expects of a program so ended."""

    def __init__(
        self, expected: str, *, received: Mapping[str, object] | None = None, cure: str = "", exit_code: int = 130
    ) -> None:
        self.exit_code = exit_code
        super().__init__(expected, received=received, cure=cure)


class MissingPackageError(SegnosisError, ImportError):
    """An optional package is needed for what was asked.

    Example:
        >>> print(MissingPackageError("nibabel", purpose="reading NIfTI volumes", extra="nifti"))
        Reading NIfTI volumes needs the package `nibabel`. Install it with `pip install "segnosis[nifti]"`.
    """

    def __init__(self, package: str, *, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose[:1].upper()}{purpose[1:]} needs the package `{package}`.",
            cure=f'Install it with `pip install "segnosis[{extra}]"`.',
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt `name`, or the list of what is known.

    Example:
        >>> did_you_mean("unett", ["unet", "deeplab_v3_plus"])
        'Did you mean `unet`?'
        >>> did_you_mean("zzz", ["unet", "deeplab_v3_plus"])
        'Known: `deeplab_v3_plus`, `unet`.'
    """
    known = sorted(known)
    close = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean `{close[0]}`?"
    return "Known: " + ", ".join(f"`{item}`" for item in known) + "."


def _again(kind: type[SegnosisError], args: tuple[object, ...], state: dict[str, object]) -> SegnosisError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def is_number(value: object) -> bool:
    """Whether `value` is a real number, numpy's among them, and neither a truth value nor NaN.

    Example:
        >>> [is_number(value) for value in (1, 0.5, True, "1", None, float("nan"))]
        [True, True, False, False, False, False]
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and value == value


def is_whole(value: object) -> bool:
    """Whether `value` is a whole number, 3.0 too.

    Example:
        >>> [is_whole(value) for value in (3, 3.0, 2.5, True, "3", None, float("inf"))]
        [True, True, False, False, False, False, False]
    """
    return is_number(value) and float(value).is_integer()  # type: ignore[arg-type]


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
