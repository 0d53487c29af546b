"""A data set as shards of ready samples, for fast streaming and for copying as few files."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segnosis import data
from segnosis.core.errors import DataError, RunError
from segnosis.core.run_folder import is_vacant, write_bytes, write_json, write_with
from segnosis.data.readers.packed import MARK, UNFINISHED, VERSION, record
from segnosis.training.listener import Listener


def pack(
    source: str | Path,
    out: str | Path,
    *,
    reader: str | None = None,
    class_names: Sequence[str] | None = None,
    ignore_class: int | None = None,
    nan: float | None = None,
    shard_megabytes: int = 256,
    skip_unreadable: bool = False,
    listener: Listener | None = None,
) -> Path:
    """Write every sample of a data set, decoded and with its classes, into few large files.

    A shard is written under another name, forced to the disk and then renamed; `pack.json` comes last. Stopped at any
    instant, the same call goes on after the last whole shard.

    Args:
        source: The data set.
        out: Folder for the shards, new or of a pack that was stopped.
        reader: Reader to use instead of the one that recognises the folder.
        class_names: Name per class, background first, where the files do not tell them.
        ignore_class: Stored mask value that is no class, where the files do not tell it.
        nan: Number that pixels of NaN or infinity are packed as; when left out, an image with some is unreadable.
        shard_megabytes: Size at which a shard is closed.
        skip_unreadable: Leave out what cannot be read, and list it in `pack.json`, instead of stopping.
        listener: Who is told of the progress.

    Returns:
        The folder; `segnosis.data.open` reads it.
    """
    out, listener = Path(out), listener or Listener()
    dataset = data.open(source, reader=reader, class_names=class_names, ignore_class=ignore_class, nan=nan)
    if (out / MARK).exists():
        raise RunError("A pack is written into a new folder.", received={"out": str(out), "found": MARK},
                       cure="Name another folder, or remove this one.")  # fmt: skip
    stored = (
        range(dataset.spec.num_classes),
        [dataset.spec.ignore_class] if dataset.spec.ignore_class is not None else [],
    )
    spec = replace(dataset.spec, values={value: value for values in stored for value in values})
    asked = [str(shard_megabytes), *([] if nan is None else [str(nan)])]
    known = hashlib.sha256("\n".join([*dataset.ids, json.dumps(spec.to_json()), *asked]).encode())
    begun = {"source": dataset.name, "fingerprint": known.hexdigest()}
    done = _begin(out, begun)
    shards, skipped = [part["shard"] for part in done], [line for part in done for line in part["skipped"]]
    splits = {id: split for split, ids in dataset.splits.items() for id in ids}
    at = done[-1]["next"] if done else 0
    while at < len(dataset):
        listener.step("packing", at, len(dataset))
        part = _write_shard(out, len(shards), dataset, at, splits, shard_megabytes << 20, skip_unreadable, listener)
        write_json(out / f"{part['shard']['name']}.part.json", part)
        shards.append(part["shard"])
        skipped += part["skipped"]
        at = part["next"]
    samples = sum(shard["samples"] for shard in shards)
    if not samples:
        raise DataError("At least one sample of the data set must be readable.", file=Path(source),
                        received={"first problem": skipped[0]["problem"] if skipped else None},
                        cure="Run `segnosis check` on the data.")  # fmt: skip
    told = {"format": "segnosis-pack", "version": VERSION, "source": dataset.name, "samples": samples}
    write_json(out / MARK, {**told, "spec": spec.to_json(), "skipped": skipped, "shards": shards})
    for leftover in (*out.glob("shard-*.part.json"), *out.glob(".part-*"), out / UNFINISHED):
        leftover.unlink(missing_ok=True)
    return out


def _begin(out: Path, begun: dict[str, str]) -> list[dict[str, Any]]:
    """The whole shards of a pack of the same data set that was stopped; none in a new folder."""
    mark = out / UNFINISHED
    if not mark.exists():
        if not is_vacant(out):
            raise RunError("A pack is written into a new folder.", received={"out": str(out)},
                           cure="Name a folder that does not exist, or an empty one.")  # fmt: skip
        write_json(mark, begun)
        return []
    try:
        same = json.loads(mark.read_text(encoding="utf-8")) == begun
    except ValueError:
        same = False
    if not same:
        raise RunError("A pack that was stopped goes on with the same data set and settings.",
                       received={"out": str(out)}, cure="Remove the folder, or name another one.")  # fmt: skip
    done: list[dict[str, Any]] = []
    while (path := out / f"shard-{len(done):05d}.part.json").exists():
        part = json.loads(path.read_text(encoding="utf-8"))
        body, lines = (out / f"shard-{len(done):05d}{suffix}" for suffix in (".bin", ".jsonl"))
        whole = body.exists() and body.stat().st_size == part["shard"]["bytes"] and lines.exists()
        if not whole or zlib.crc32(lines.read_bytes()) != part["shard"]["index_crc32"]:
            break
        done.append(part)
    return done


def _write_shard(
    out: Path,
    number: int,
    dataset: data.Dataset,
    start: int,
    splits: dict[str, str],
    limit: int,
    skip_unreadable: bool,
    listener: Listener,
) -> dict[str, Any]:
    """One shard from sample `start` on: what `pack.json` says of it, what was left out, and where the next begins."""
    name, size, at = f"shard-{number:05d}", 0, start
    lines: list[str] = []
    skipped: list[dict[str, str]] = []

    def write(temporary: Path) -> None:
        nonlocal size, at
        with temporary.open("wb") as file:
            while at < len(dataset) and (size < limit or not lines):
                try:
                    sample = dataset[at]
                    if sample.mask is None:
                        raise DataError(
                            "A packed sample has a mask.", file=sample.id, cure="Remove it, or add its mask."
                        )
                except DataError as error:
                    if not skip_unreadable:
                        raise
                    skipped.append({"id": dataset.ids[at], "problem": str(error)})
                else:
                    stored, key = record(sample.image, sample.mask)
                    spacing = ":".join(map(repr, sample.spacing)) if sample.spacing else ":"
                    lines.append(
                        json.dumps([sample.id, sample.group, splits.get(sample.id), f"{size}:{key}:{spacing}"])
                    )
                    file.write(stored)
                    size += len(stored)
                at += 1
                listener.step("packing", at, len(dataset))

    write_with(out / f"{name}.bin", write)
    text = "".join(line + "\n" for line in lines).encode()
    write_bytes(out / f"{name}.jsonl", text)
    shard = {"name": name, "samples": len(lines), "bytes": size, "index_crc32": zlib.crc32(text)}
    return {"shard": shard, "skipped": skipped, "next": at}
