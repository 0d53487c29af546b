"""What training and validation draw from, where both hold it openly: the same files, ids, rows, patients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np

from segnosis.doctor.evidence.held_sources import HeldSources
from segnosis.doctor.held_variables import lists_of, sides_of
from segnosis.doctor.sources import Sources, sources_of

PRICE = "data"

_GROUP = re.compile(
    r"(?:^|[^a-z])((?:patient|pat|case|subject|subj|sub|participant|person|donor|animal|mouse|specimen|slide|wsi"
    r"|video|vid|sequence|seq|clip|volume|vol|scan)[-_ ]?[a-z]?\d+)\D.*\d",
    re.IGNORECASE,
)
_NAMES_GROUPS = re.compile(
    r"(?<![a-z])(?:patient|subject|participant|person|donor|animal|mouse|specimen|slide|video|sequence|clip|volume|scan"
    r"|case|group|structure|building|bridge|site|location|scene|plot|tray|plant|tree|well|plate)",
    re.IGNORECASE,
)
"""Columns that tell of what a picture was taken; not how, as camera or weather do, of which both sides have all."""
_FEWEST_GROUPS = 3
_OF_NO_SAMPLE = re.compile(
    r"batch|seed|epoch|worker|queue|step|verbose|multiprocessing|shuffle|aug|transform|rng|random|lock|jitter"
)


@dataclass(frozen=True)
class SharedSources:
    """What both draw from.

    Attributes:
        how: `"list"` of files or ids, `"array"` of which both hold overlapping parts, `"pictures"` that both hold,
            `"object"` given for both, `"shuffle"`: each takes its part of what is shuffled anew in each pass, or
            `"groups"`: a column or file names tell of patients, slides or videos that are in both.
            `None` when nothing is shared, or when the objects do not tell.
        name: Attribute that holds it.
        shared, held_out: Samples in both, and in validation; of groups, the groups.
        example: One of those in both.
        by_name: Whether only the names of variables say which side is which.
    """

    how: Literal["list", "array", "pictures", "object", "shuffle", "groups"] | None = None
    name: str = ""
    shared: int = 0
    held_out: int = 0
    example: str = ""
    by_name: bool = False


def measure(
    fit_arguments: Mapping[str, Any], held_sources: HeldSources, variables: Mapping[str, Any] | None = None
) -> SharedSources:
    """Read the arguments of the user's `fit`, or the variables around a loop of one's own; nothing is drawn."""
    if "x" not in fit_arguments and variables is not None:
        found = _between_variables(variables)
        return replace(found if found.how is not None else _groups_named(variables), by_name=True)
    train, validation = fit_arguments.get("x"), fit_arguments.get("validation_data")
    if train is None or validation is None:
        return SharedSources()
    found = _between_arguments(train, validation, held_sources)
    if found.how is None:
        found = _groups(held_sources.train, held_sources.validation)
    return found if found.how is not None else _groups_named(variables or {})


def _between_arguments(train: Any, validation: Any, held: HeldSources) -> SharedSources:
    """What the objects given for training and for validation have in common."""
    if isinstance(train, np.ndarray) or isinstance(validation, tuple):
        return SharedSources()
    if train is validation:
        return SharedSources("object")
    ours, theirs = held.train, held.validation
    if ours.drawn_anew is not None and ours.drawn_anew == theirs.drawn_anew:
        return SharedSources("shuffle")
    if ours.kind != theirs.kind:
        return SharedSources()
    for ask in (_pictures, _rows_of_one_array, _lists, _all_alike):
        if (found := ask(ours, theirs)) is not None:
            return found
    return SharedSources()


def _groups(ours: Sources, theirs: Sources) -> SharedSources:
    """Patients, slides or videos that both sides' columns or file names tell of, where each has several samples."""
    for name, held_out in {**theirs.lists, **theirs.repeated}.items():
        groups = set(ours.repeated.get(name, ())), set(held_out)
        common = groups[0] & groups[1]
        if _NAMES_GROUPS.search(name) and len(common) >= _FEWEST_GROUPS and 2 * len(common) >= len(groups[1]):
            return SharedSources("groups", name, len(common), len(groups[1]), min(map(str, common)), by_name=True)
    for name, held_out in theirs.lists.items():
        train = ours.lists.get(name, ())
        sides = [[group for entry in side if (group := _group_of(entry))] for side in (train, held_out)]
        common = set(sides[0]) & set(sides[1])
        is_told = len(sides[0]) == len(train) and len(sides[1]) == len(held_out)
        if is_told and len(common) >= _FEWEST_GROUPS and 2 * len(common) >= len(set(sides[1])):
            return SharedSources("groups", name, len(common), len(set(sides[1])), min(common), by_name=True)
    return SharedSources()


def _groups_named(variables: Mapping[str, Any]) -> SharedSources:
    """The same of variables whose names say which side is which."""
    lists = (lists_of(vars(side), of_pairs=True) for side in sides_of(variables))
    return _groups(*(sources_of(SimpleNamespace(**side)) for side in lists))


def _group_of(entry: Any) -> str:
    """The patient, slide or video that a path names before it numbers the sample; else empty."""
    if not isinstance(entry, str):
        return ""
    path = Path(entry)
    told = _GROUP.search("/".join((*path.parts[-3:-1], path.stem)))
    return told[1] if told else ""


def _between_variables(variables: Mapping[str, Any]) -> SharedSources:
    """What variables named as training and as held-out samples have in common."""
    sides = sides_of(variables)
    for name, held_out in vars(sides[1]).items():
        objects = [_identities(rows) for rows in (getattr(sides[0], name, ()), held_out)]
        if seen := len(objects[0] & objects[1]):
            return SharedSources("pictures", name, seen, len(held_out))
    ours, theirs = map(sources_of, sides)
    for ask in (_pictures, _rows_of_one_array):
        if (found := ask(ours, theirs)) is not None:
            return found
    every = [set(row) for row in sources_of(SimpleNamespace(**lists_of(variables))).lists.values()]
    for name, held_out in theirs.lists.items():
        train = ours.lists.get(name, ())
        both = {*train, *held_out}
        of_one = sum(whole >= both for whole in every) > (both == set(train)) + (both == set(held_out))
        files = isinstance(held_out[0], str) and all(Path(entry).is_file() for entry in held_out[:3])
        common = set(train) & set(held_out)
        if common and (files or (of_one and set(train) != set(held_out))):
            first = next(one for one in held_out if one in common)
            return SharedSources("list", name, len(common), len(held_out), str(first))
    return SharedSources()


def _identities(rows: Any) -> set[int]:
    """Which objects a list holds, where these are samples: arrays, and pairs that begin with one."""
    if not isinstance(rows, list | tuple):
        return set()
    first = [row[0] if isinstance(row, list | tuple) and row else row for row in rows]
    return {id(picture) for picture in first if isinstance(picture, np.ndarray) and picture.ndim >= 2}


def _pictures(ours: Sources, theirs: Sources) -> SharedSources | None:
    """Pictures that both hold, where each has some of its own; none in common settles that nothing is shared."""
    for name, held_out in theirs.contents.items():
        train = ours.contents.get(name)
        if train and held_out and train != held_out:
            common = len(train & held_out)
            return SharedSources("pictures", name, common, len(held_out)) if common else SharedSources()
    return None


def _rows_of_one_array(ours: Sources, theirs: Sources) -> SharedSources | None:
    """Different parts of one array that overlap."""
    for name, held_out in theirs.arrays.items():
        train = ours.arrays.get(name)
        if train is None or not (train.flags.c_contiguous and held_out.flags.c_contiguous):
            continue
        (low, high), (start, stop) = (np.lib.array_utils.byte_bounds(array) for array in (train, held_out))
        if (low, high) == (start, stop):
            return None  # both hold all of it, and what each takes of it is told by its lists
        rows = (min(high, stop) - max(low, start)) * len(held_out) // (stop - start)
        if rows > 0:
            return SharedSources("array", name, int(rows), len(held_out))
    return None


def _all_alike(ours: Sources, theirs: Sources) -> SharedSources | None:
    """Nothing that either holds tells its samples from those of the other."""

    def told(one: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in one.items() if not _OF_NO_SAMPLE.search(key.lower())}

    places = [{key: array.ctypes.data for key, array in side.arrays.items()} for side in (ours, theirs)]
    named = {key: row for key, row in theirs.lists.items() if isinstance(row[0], str)}
    is_same = (
        told(ours.settings) == told(theirs.settings)
        and told(ours.objects) == told(theirs.objects)
        and ours.lists == theirs.lists
        and places[0] == places[1]
    )
    if not is_same or not (named or places[0]):
        return None
    rows: Mapping[str, Any] = named or theirs.arrays
    name = max(rows, key=lambda key: len(rows[key]))
    example = named[name][0] if named else ""
    return SharedSources("list" if named else "array", name, len(rows[name]), len(rows[name]), example)


def _lists(ours: Sources, theirs: Sources) -> SharedSources | None:
    both = {name: (ours.lists[name], theirs.lists[name]) for name in theirs.lists if name in ours.lists}
    common = {name: set(train) & set(held_out) for name, (train, held_out) in both.items()}
    if not both or not all(common.values()):  # samples that are apart in one list are apart
        return None
    for name, (train, held_out) in both.items():
        if set(train) == set(held_out) and not (ours.takes_all_of(name) and theirs.takes_all_of(name)):
            continue  # the labels, say, or all files, of which each takes its own part in its own way
        if not _means_samples(train, ours, theirs):
            continue
        first = next(one for one in held_out if one in common[name])
        return SharedSources("list", name, len(common[name]), len(held_out), str(first))
    return None


def _means_samples(train: tuple[Any, ...], ours: Sources, theirs: Sources) -> bool:
    """Whether an equal entry of both lists is the same sample: a file, or an entry of what both read alike."""
    if isinstance(train[0], str) and all(Path(entry).is_file() for entry in train[:3]):
        return True
    names = {*ours.settings, *theirs.settings}
    settings = {key for key in names if not _OF_NO_SAMPLE.search(key.lower())}
    texts = {key for key in settings if any(isinstance(s.settings.get(key), str | Path) for s in (ours, theirs))}
    relevant = texts if isinstance(train[0], str) else settings
    if any(ours.settings.get(key) != theirs.settings.get(key) for key in relevant):
        return False
    if isinstance(train[0], str):
        return True
    arrays = [key for key in theirs.arrays if key in ours.arrays]  # numbers mean rows of something both hold
    same = [key for key in arrays if ours.arrays[key].ctypes.data == theirs.arrays[key].ctypes.data]
    apart = [key for key in arrays if key not in same]
    objects = any(ours.objects.get(key) == identity for key, identity in theirs.objects.items())
    texts_alike = any(ours.lists.get(key) == row and isinstance(row[0], str) for key, row in theirs.lists.items())
    return not apart and bool(same or objects or texts_alike)
