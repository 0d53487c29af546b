"""What a pipeline draws from, as its object holds it: lists of files and of ids, arrays, and the choice made of them.

Nothing is drawn and nothing is called: attributes of data sets and loaders, variables of generators that wait, and the
chain of a `tf.data` pipeline are read.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.doctor.digest import digest

_DEPTH = 3
_FEWEST = 4
_MOST = 1_000_000
_MOST_PICTURES, _GRID, _FEWEST_VALUES = 512, 64, 9


@dataclass(frozen=True)
class Sources:
    """What one pipeline holds.

    Attributes:
        lists: Attribute → its different texts, paths or whole numbers, at least four of them.
        repeated: Attribute → texts or whole numbers of which several are the same, as of a patient for each sample.
        arrays: Attribute → an array of pictures, or a view of a part of one.
        contents: Attribute → hashes of the pictures in it, of an array's rows or of a list of arrays.
        pictures: Attribute → how many of its pictures were hashed.
        settings: Attribute → a text, number or truth value.
        objects: Attribute → identity of any other object or function.
        kind: Type of the object, or name of the generator function.
        drawn_anew: Identity of what a part is taken from although it is shuffled anew in each pass, or `None`.
        samples: How many samples an index gives, `None` where that is not said.
    """

    lists: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    repeated: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    contents: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    pictures: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)
    kind: str = ""
    drawn_anew: int | None = None
    samples: int | None = None

    def takes_all_of(self, name: str) -> bool:
        """Whether it has as many samples as the list called `name` has entries."""
        return self.samples is not None and self.samples == len(self.lists.get(name, ()))


def sources_of(data: Any) -> Sources:
    """Read `data`, anything that `fit` takes for `x` or `validation_data`; empty where it tells nothing."""
    if hasattr(data, "element_spec") and hasattr(data, "_variant_tensor"):
        return _of_chain(data)
    lists: dict[str, tuple[Any, ...]] = {}
    repeated: dict[str, tuple[Any, ...]] = {}
    arrays: dict[str, np.ndarray] = {}
    contents: dict[str, list[bytes]] = {}
    settings: dict[str, Any] = {}
    objects: dict[str, int] = {}
    for name, value in _leaves(data, _DEPTH, set()):
        if isinstance(value, str | Path | bool | int | float | np.number):
            settings.setdefault(name, value)
        elif isinstance(value, np.ndarray) and value.ndim >= 3:
            arrays.setdefault(name, value)
            contents.setdefault(name, _pictures(value))
        elif pictures := _pictures(value):
            contents.setdefault(name, pictures)
        elif (found := _different(value)) is not None:
            lists.setdefault(name, found)
            if (second := _different(_seconds(value))) is not None:
                lists.setdefault(f"{name}[1]", second)
        elif (parts := _parts(value)) is not None:
            repeated.setdefault(name, parts)
        elif not isinstance(value, list | tuple | np.ndarray | range):
            objects.setdefault(name, id(value))
    kind = getattr(data, "gi_code", None) or type(data)
    return Sources(
        lists=lists,
        repeated=repeated,
        arrays=arrays,
        contents={name: frozenset(found) for name, found in contents.items()},
        pictures={name: len(found) for name, found in contents.items()},
        settings=settings,
        objects=objects,
        kind=getattr(kind, "co_qualname", str(kind)),
        samples=_samples(data),
    )


def _samples(data: Any) -> int | None:
    """Of a loader over a data set with a length, when it leaves none out."""
    try:
        drawn, whole = len(data.sampler), len(data.dataset)
    except (AttributeError, TypeError):
        return None
    return whole if drawn == whole else None


def _leaves(owner: Any, depth: int, met: set[int]) -> Iterator[tuple[str, Any]]:
    """Attribute names and values; those of objects inside under the inner name alone."""
    if id(owner) in met or depth == 0:
        return
    met.add(id(owner))
    if isinstance(owner, types.GeneratorType):
        held = dict(owner.gi_frame.f_locals) if owner.gi_frame is not None else {}
    elif isinstance(owner, Mapping):
        held = {str(key): value for key, value in owner.items()} if len(owner) < 64 else {}
    else:
        held = dict(getattr(owner, "__dict__", {}))
    for name, value in held.items():
        name = name.lstrip("_")
        if hasattr(value, "columns") and hasattr(value, "to_dict"):  # a table: its columns
            for column in value.columns:
                yield f"{name}[{column!r}]", value[column].tolist()
        elif columns := _records(value):
            yield from ((f"{name}[{column!r}]", column_of) for column, column_of in columns.items())
        elif isinstance(value, list | tuple | np.ndarray | str | Path | bool | int | float | np.number | range):
            yield name, value
            if isinstance(value, tuple | list) and len(value) < _FEWEST:
                for position, part in enumerate(value):
                    yield from [(f"{name}[{position}]", part)] if isinstance(part, np.ndarray | list) else []
                    yield from _leaves(part, depth - 1, met)
        elif value is not None and not isinstance(value, type | types.ModuleType):
            yield name, value
            yield from _leaves(value, depth - 1, met)


def _records(value: Any) -> dict[str, list[Any]]:
    """Columns of a list of mappings or dataclasses that hold texts, paths or whole numbers."""
    if not isinstance(value, list | tuple) or not _FEWEST <= len(value) <= _MOST:
        return {}
    rows = [vars(row) if is_dataclass(row) and hasattr(row, "__dict__") else row for row in value]
    if not all(isinstance(row, Mapping) and row for row in rows):
        return {}
    names = [name for name, part in rows[0].items() if isinstance(part, str | Path | int)]
    return {name: [row[name] for row in rows] for name in names if all(name in row for row in rows)}


def _pictures(value: Any) -> list[bytes]:
    """Hashes of pictures of more than a few values, of a coarse grid each; masks and blank ones repeat by chance."""
    if not isinstance(value, list | tuple | np.ndarray) or len(value) < _FEWEST:
        return []
    found = []
    for row in value[:_MOST_PICTURES]:
        picture = row[0] if isinstance(row, list | tuple) and len(row) else row
        if not isinstance(picture, np.ndarray) or picture.ndim < 2 or picture.dtype.kind not in "uif":
            return []
        step = tuple(slice(None, None, max(1, size // _GRID)) for size in picture.shape[:2])
        coarse = picture[step]
        if len(np.unique(coarse.ravel()[:4096])) >= _FEWEST_VALUES:
            found.append(digest(coarse))
    return found


def _different(value: Any) -> tuple[Any, ...] | None:
    """Texts, paths or whole numbers that differ from each other, enough of them to be samples."""
    parts = _parts(value)
    return parts if parts is not None and len(set(parts)) == len(parts) else None


def _parts(value: Any) -> tuple[Any, ...] | None:
    """Texts, paths or whole numbers, enough of them to be samples."""
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or value.dtype.kind not in "iuUSO" or value.size > _MOST:
            return None
        value = value.tolist()
    if not isinstance(value, list | tuple | range) or not _FEWEST <= len(value) <= _MOST:
        return None
    parts = tuple(_rows(part) for part in value)
    return None if any(part is None for part in parts) else parts


def _seconds(value: Any) -> list[Any]:
    """The second of each pair of paths; empty where there are no pairs."""
    is_paired = all(isinstance(part, tuple | list) and len(part) > 1 for part in value)
    return [part[1] for part in value] if is_paired else []


def _rows(part: Any) -> Any:
    """A text or a whole number; of a pair of paths, the first."""
    if isinstance(part, tuple | list) and part and all(isinstance(one, str | Path) for one in part):
        part = part[0]
    if isinstance(part, bytes):
        return part.decode(errors="replace")
    if isinstance(part, str | Path):
        return str(part)
    return int(part) if isinstance(part, int | np.integer) and not isinstance(part, bool) else None


def _of_chain(data: Any) -> Sources:
    """A `tf.data` pipeline, followed from the slices it begins with; empty from the first step that cannot be."""
    steps = []
    while data is not None:
        steps.append(data)
        data = getattr(data, "_input_dataset", None)
    first, *rest = reversed(steps)
    rows = [_slices(tensor) for tensor in getattr(first, "_tensors", None) or ()]
    in_order, in_batches = True, False
    shuffled: int | None = None
    drawn_anew: int | None = None
    for step in rest:
        name = type(step).__name__.lstrip("_")
        if name.startswith("Shuffle"):
            in_order, shuffled = False, id(step) if getattr(step, "_reshuffle_each_iteration", False) else None
        elif name.startswith("Cache"):
            shuffled = None  # what was shuffled before keeps its order
        elif name.startswith(("Take", "Skip")):
            drawn_anew = drawn_anew or shuffled
            count = int(step._count)
            known = in_order and not in_batches and count >= 0
            part = slice(count) if name.startswith("Take") else slice(count, None)
            rows = [row[part] if row is not None and known else None for row in rows]
        elif "Batch" in name:
            in_batches = True
        elif not name.startswith(("Prefetch", "Repeat", "Options")) and "Map" not in name:
            rows = []  # a filter, an interleaving: who passes is not known
    lists = {f"slices[{position}]": row for position, row in enumerate(rows) if row}
    return Sources(lists, kind="tf.data", drawn_anew=drawn_anew)


def _slices(tensor: Any) -> tuple[Any, ...] | None:
    if len(tensor.shape) != 1 or tensor.dtype.name not in ("string", "int32", "int64"):
        return None
    return _different(np.asarray(tensor))
