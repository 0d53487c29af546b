"""What a program holds at its training call, and which of it the names call training and held-out samples.

A loop of one's own hands its held-out samples to nobody: they lie in variables until they are scored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import EnumMeta
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np

_TRAIN = {"train", "training", "tr", "trn"}
_HELD_OUT = {"val", "valid", "validation", "test", "testing", "eval", "dev", "holdout", "heldout"}
_OF_CLASSES = {
    "class",
    "classes",
    "category",
    "categories",
    "label",
    "labels",
    "palette",
    "colors",
    "colours",
    "colormap",
}
_IS_FILE = re.compile(r"[/\\]|\.\w{2,4}$")
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


def held_out_of(variables: Mapping[str, Any], x: Any, y: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Held-out images and targets in variables named as those are that a batch `(x, y)` was taken from.

    Only where the batch holds samples as these variables do: what a loop does to its own, others may miss.

    Example:
        >>> images, masks = np.arange(8.0).reshape(4, 2), np.eye(4)
        >>> named = {"x_train": images, "y_train": masks, "x_test": images[:1], "y_test": masks[:1]}
        >>> [part.shape for part in held_out_of(named, images[2:], masks[2:])]
        [(1, 2), (1, 4)]
    """
    train, held_out = sides_of(variables)
    found = []
    for part in (x, y):
        names = [
            name
            for name, array in vars(train).items()
            if _holds(array, part) and np.shape(getattr(held_out, name, ()))[1:] == array.shape[1:]
        ]
        if len(names) != 1:
            return None
        found.append(np.asarray(getattr(held_out, names[0])))
    return (found[0], found[1]) if len(found[0]) == len(found[1]) else None


def _holds(array: Any, part: Any) -> bool:
    """Whether one of the samples of `array` is the first of `part`, turned or mirrored perhaps."""
    if not (isinstance(array, np.ndarray) and isinstance(part, np.ndarray)) or array.shape[1:] != part.shape[1:]:
        return False
    if array.dtype.kind not in "uifb" or part.dtype.kind not in "uifb" or not part.size:
        return False
    first = np.sort(part[0], axis=None)
    return any(
        row.min() == first[0] and row.max() == first[-1] and np.array_equal(np.sort(row, axis=None), first)
        for row in array
    )


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


def class_lists(variables: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Variables that list a program's classes, by names, colours or ids → a name per class, empty where none is said.

    Example:
        >>> class_lists({"CLASSES": ["sky", "road"], "palette": [(0, 0, 0), (9, 9, 9)], "labels": ["a.png", "b.png"]})
        {'CLASSES': ('sky', 'road'), 'palette': ('', '')}
        >>> class_lists({"classes": {0: "sky", 1: "road"}, "label_ids": {"sky": 0, "road": 1}, "n_classes": 2})
        {'classes': ('sky', 'road'), 'label_ids': ('sky', 'road')}
    """
    found = {}
    for name, value in variables.items():
        if _OF_CLASSES.intersection(part.lower() for part in _WORD.findall(name)):
            if isinstance(value, EnumMeta):
                value = [str(name) for name in value.__members__]
            names = _class_names(value) if isinstance(value, list | tuple | dict) and 2 <= len(value) <= 256 else None
            if names:
                found[name] = names
    return found


def _class_names(value: Sequence[Any] | Mapping[Any, Any]) -> tuple[str, ...] | None:
    if isinstance(value, Mapping):
        for ids, names in ((value.keys(), value.values()), (value.values(), value.keys())):
            plain = all(isinstance(entry, str | int | np.integer) for entry in ids)
            if plain and sorted(map(str, ids)) == sorted(map(str, range(len(value)))):
                by_id = dict(zip(map(str, ids), names, strict=True))
                return tuple(name if isinstance(name := by_id[str(k)], str) else "" for k in range(len(value)))
    entries = list(value)
    named = all(isinstance(entry, str) and not _IS_FILE.search(entry) for entry in entries)
    colours = all(isinstance(entry, list | tuple) and len(entry) == 3 for entry in entries)
    if not (named or colours) or len(set(map(str, entries))) < len(entries):
        return None
    return tuple(entries) if named else ("",) * len(entries)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _is_table(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "to_dict")


def _rest(name: str, words: set[str]) -> str:
    """The name without the one word of `words` that is in it; empty without such a word."""
    parts = [part.lower() for part in _WORD.findall(name.removeprefix("self."))]
    others = [part for part in parts if part not in words]
    return "_".join(others) or "samples" if len(others) == len(parts) - 1 else ""
