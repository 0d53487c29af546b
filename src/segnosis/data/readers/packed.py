"""Shards written by `segnosis pack`: samples ready to use, read one by one or in any order without decoding.

`pack.json` tells what the data set is and lists the shards; beside each `shard-00000.bin` of pixels lies a
`shard-00000.jsonl` with a line a sample. Images lie as they are, masks deflated; every sample has a checksum.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import DataError
from segnosis.data.census import IGNORE
from segnosis.data.readers import json_records
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_image, example_mask

PRIORITY = 2
LOOKS_FOR = "shards written by `segnosis pack`: `pack.json` with `shard-*.bin`"
MARK, UNFINISHED, VERSION = "pack.json", "pack.unfinished.json", 1
_DTYPES = {"uint8": "u1", "float32": "<f4"}


def recognise(folder: Folder) -> str | None:
    """`pack.json` lies in the folder itself."""
    names = folder.files.get("", ())
    if UNFINISHED in names and MARK not in names:
        raise DataError(
            "A packed data set is opened when it is finished.",
            file=folder.root / UNFINISHED,
            received={"problem": "`segnosis pack` was stopped before its end"},
            cure="Run the same `segnosis pack` again: it goes on where it stopped.",
        )
    if MARK not in names:
        return None
    try:
        told = _told(folder.root)
        return f"{told['samples']} samples in {len(told['shards'])} shards, packed from `{told['source']}`"
    except DataError:  # index() tells what is wrong with it
        return "shards of packed samples"


def index(folder: Folder) -> Index:
    """One entry per sample, in the order of the shards; no pixel is read."""
    told, rows = _told(folder.root), []
    for shard in told["shards"]:
        rows += _entries(folder, shard)
    if len(rows) != told["samples"]:
        raise json_records.broken(folder.root / MARK, ValueError(f"{len(rows)} of {told['samples']} samples"))
    spec = stored_spec(folder.root)
    return Index(
        tuple(rows), recognise(folder) or "", spec.class_names, ignore_value=spec.ignore_class, group_by=spec.group_by
    )


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """The sample's image."""
    return _read(root, entry, 0)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """The sample's class ids."""
    return _read(root, entry, 1)


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype from the index."""
    _, _, _, channels, dtype, *_ = entry.key.split(":")
    return int(channels), dtype


def spacing(root: Path, entry: Entry) -> tuple[float, float] | None:
    """Millimetres between rows and between columns, where the packed data set had them."""
    row, column = entry.key.split(":")[7:9]
    return (float(row), float(column)) if row else None


def stored_spec(root: Path) -> DatasetSpec:
    """What the packed data set is."""
    try:
        spec = DatasetSpec.from_json(_told(root)["spec"])
        named = all(isinstance(name, str) for name in spec.class_names) and spec.class_names
        numbers = isinstance(spec.channels, int) and isinstance(spec.ignore_class, int | None)
        classes = {*range(len(spec.class_names)), IGNORE}
        coded = set(spec.values) <= set(range(256)) and set(spec.values.values()) <= classes
        if not named or not numbers or spec.dtype not in _DTYPES or not coded:
            raise ValueError("`spec` is not what a data set can be")
        return spec
    except (TypeError, ValueError, OverflowError, KeyError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise json_records.broken(root / MARK, error) from error


def record(image: np.ndarray, mask: np.ndarray) -> tuple[bytes, str]:
    """What lies in a shard for a sample, and its key but for the place: sizes, type, bytes of the mask, checksum."""
    deflated = zlib.compress(np.ascontiguousarray(mask, np.uint8).tobytes(), 1)
    body = np.ascontiguousarray(image).tobytes() + deflated
    height, width, channels = image.shape
    return body, f"{height}:{width}:{channels}:{image.dtype.name}:{len(deflated)}:{zlib.crc32(body)}"


def example(root: Path) -> tuple[Truth, ...]:
    """Five samples of two splits and three patients in two shards."""
    spec = DatasetSpec("packed", "", ("background", "cell"), 3, 255, {0: 0, 1: 1, 255: 255}, "uint8", "patient")
    truths, shards = [], []
    for number, ids in enumerate((("a", "b", "c"), ("d", "é 2"))):
        body, lines = b"", []
        for id in ids:
            image, mask = example_image(ord(id[0]) % 50), example_mask(ord(id[0]) % 50)
            mask[0] = 255
            group, split = f"patient {ord(id[0]) % 3}", "val" if id == "d" else "train"
            stored, key = record(image, mask)
            lines.append([id, group, split, f"{len(body)}:{key}:1.5:0.5"])
            body += stored
            truths.append(Truth(id, group, image, mask, split))
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        (root / f"shard-{number:05d}.bin").write_bytes(body)
        (root / f"shard-{number:05d}.jsonl").write_bytes(text)
        name = f"shard-{number:05d}"
        shards.append({"name": name, "samples": len(ids), "bytes": len(body), "index_crc32": zlib.crc32(text)})
    told = {"format": "segnosis-pack", "version": VERSION, "source": "cells", "samples": 5}
    (root / MARK).write_text(json.dumps({**told, "spec": spec.to_json(), "shards": shards}))
    return tuple(truths)


def _told(root: Path) -> dict[str, Any]:
    path = root / MARK
    told = json_records.load(path)
    wanted = {"format": str, "version": int, "samples": int, "source": str, "spec": dict, "shards": list}
    if not isinstance(told, dict) or any(not isinstance(told.get(name), kind) for name, kind in wanted.items()):
        raise json_records.broken(path, ValueError(f"it is no object with {', '.join(wanted)}"))
    if told["format"] != "segnosis-pack" or told["version"] != VERSION:
        raise json_records.broken(path, ValueError(f"format {told['format']!r:.40}, version {told['version']}"))
    return told


def _entries(folder: Folder, shard: Any) -> list[Entry]:
    mark = folder.root / MARK
    try:
        name, size = str(shard["name"]), int(shard["bytes"])
        number, told = int(shard["samples"]), int(shard["index_crc32"])
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise json_records.broken(mark, ValueError(f"a shard without {error}")) from error
    body = folder.inside(f"{name}.bin", told_by=MARK)
    lines = folder.inside(f"{name}.jsonl", told_by=MARK)
    path = folder.root / (body or f"{name[:80]}.bin")
    if body is None or lines is None or path.stat().st_size != size:
        raise DataError(
            "Every shard that `pack.json` lists is there, with its index, and whole.",
            file=path if body is None or lines is not None else folder.root / MARK,
            received={"bytes told": size, "bytes": path.stat().st_size if body else None},
            cure="Copy the shards again, or run `segnosis pack` again.",
        )
    path = folder.root / lines
    text = path.read_bytes()
    if zlib.crc32(text) != told:
        raise json_records.broken(path, ValueError("its checksum is wrong"))
    try:
        rows = [_entry(body, *json.loads(line)) for line in text.splitlines()]
    except (ValueError, TypeError, RecursionError) as error:
        raise json_records.broken(path, error) from error
    if len(rows) != number:
        raise json_records.broken(path, ValueError(f"{len(rows)} of {number} lines"))
    return rows


def _entry(body: str, id: str, group: str, split: str | None, key: str) -> Entry:
    if not all(isinstance(value, str) for value in (id, group, split or "", key)):
        raise ValueError("a line that is no id, group, split and place")
    return Entry(body, body, id, id if group == id else group, split, key=key)


def _read(root: Path, entry: Entry, role: int) -> np.ndarray:
    path = root / entry.image_file
    try:
        at, height, width, channels, dtype, deflated, crc, *_ = entry.key.split(":")
        shape, kind = (int(height), int(width), int(channels)), np.dtype(_DTYPES[dtype])
        length = shape[0] * shape[1] * shape[2] * kind.itemsize
        if min(shape) < 1 or int(at) + length + int(deflated) > path.stat().st_size:
            raise ValueError("the shard is shorter than its index tells")
        with path.open("rb") as file:
            file.seek(int(at))
            body = file.read(length + int(deflated))
        if zlib.crc32(body) != int(crc):
            raise ValueError("the checksum of its pixels is wrong")
        if role == 0:
            return np.frombuffer(body, kind, length // kind.itemsize).reshape(shape)
        pixels = zlib.decompressobj().decompress(body[length:], shape[0] * shape[1])
        return np.frombuffer(pixels, np.uint8).reshape(shape[:2])
    except (OSError, ValueError, KeyError, OverflowError, zlib.error) as error:
        raise DataError(
            "A packed sample is read back as it was written.",
            file=path,
            received={"sample": entry.id, "problem": str(error)},
            cure="Copy the shard again, or run `segnosis pack` again.",
        ) from error
