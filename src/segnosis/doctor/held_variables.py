"""What a program holds at its training call, and which of it the names call training and held-out samples.

A loop of one's own hands its held-out samples to nobody: they lie in variables until they are scored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np

_TRAIN = {"train", "training", "tr", "trn"}
_HELD_OUT = {"val", "valid", "validation", "test", "testing", "eval", "dev", "holdout", "heldout"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")


def variables_of(frames: Sequence[FrameType]) -> dict[str, Any]:
    """Name → value, inner frames first; also what a `self` holds."""
    held: dict[str, Any] = {}
    for scope in (*(frame.f_locals for frame in frames), *(frame.f_globals for frame in frames)):
        for name, value in scope.items():
            if not name.startswith("__"):
                held.setdefault(name, value)
        owner = scope.get("self")
        for name, value in (getattr(owner, "__dict__", None) or {}).items():
            held.setdefault(f"self.{name}", value)
    return held


def sides_of(variables: Mapping[str, Any]) -> tuple[SimpleNamespace, SimpleNamespace]:
    """Lists, arrays and tables of training and of held-out samples, by what their names have besides those words.

    Names that two variables of one side come down to are left out: one may be a part of the other.

    Example:
        >>> train, held_out = sides_of({"train_files": ["a"], "val_files": ["b"], "X_train": [1], "test_x": [2]})
        >>> vars(train), vars(held_out)
        ({'files': ['a'], 'x': [1]}, {'files': ['b'], 'x': [2]})
    """
    sides = []
    for words in (_TRAIN, _HELD_OUT):
        named = [
            (_rest(name, words), value) for name, value in variables.items() if _is_list(value) or _is_table(value)
        ]
        often = Counter(rest for rest, _ in named)
        sides.append(SimpleNamespace(**{rest: value for rest, value in named if rest and often[rest] == 1}))
    return sides[0], sides[1]


def lists_of(variables: Mapping[str, Any], of_pairs: bool = False) -> dict[str, Any]:
    """Lists of names or numbers, and tables; with `of_pairs` lists of pairs of names too."""

    def is_wanted(first: Any) -> bool:
        if of_pairs and isinstance(first, list | tuple) and first:
            first = first[0]
        return not isinstance(first, list | tuple | np.ndarray)

    return {
        name: value
        for name, value in variables.items()
        if _is_table(value) or (_is_list(value) and len(value) and is_wanted(value[0]))
    }


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _is_table(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "to_dict")


def _rest(name: str, words: set[str]) -> str:
    """The name without the one word of `words` that is in it; empty without such a word."""
    parts = [part.lower() for part in _WORD.findall(name.removeprefix("self."))]
    others = [part for part in parts if part not in words]
    return "_".join(others) or "samples" if len(others) == len(parts) - 1 else ""
