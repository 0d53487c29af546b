"""TFRecord shards of `tf.train.Example` with an encoded image and mask each, read without TensorFlow.

Features may be named `image` and `mask`, `image/encoded` and `image/segmentation/class/encoded` (DeepLab's), and in the
field's other ways; raw bytes need `height` and `width` beside them. The checksums of every record are verified as it is
read.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers import images, protobuf, tables
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_image, example_mask, ordered
from segnosis.data.readers.crc32c import masked, masked_of_length

PRIORITY = 46
LOOKS_FOR = "TFRecord shards `*.tfrecord` of `tf.train.Example` with the features `image` and `mask` or `label`"
_SUFFIXES = (".tfrecord", ".tfrecords", ".tfrec")
_LARGEST = 1 << 30
_IMAGES = ("image/encoded", "image/raw", "image_encoded", *tables.IMAGES)
_MASKS = ("image/segmentation/class/encoded", "segmentation/encoded", "mask/encoded", "label/encoded",
          "image/segmentation/encoded", "mask/raw", "label/raw", "mask_encoded", *tables.MASKS)  # fmt: skip
_SIZES = (("image/height", "image/width"), ("height", "width"), ("h", "w"), ("rows", "cols"))
_DEEP = ("image/channels", "channels", "depth", "c")


def recognise(folder: Folder) -> str | None:
    """The first record that can be read has an image and a mask by name."""
    files = _files(folder)
    names = _names(folder, files) if files else None
    return f"{len(files)} TFRecord shards, `{names[0]}` as the image and `{names[1]}` as the mask" if names else None


def index(folder: Folder) -> Index:
    """One entry per record; of a damaged shard those before the damage."""
    files = _files(folder)
    names = _names(folder, files)
    assert names is not None, "index() is called on what recognise() has recognised"
    rows: list[Entry] = []
    damaged: list[str] = []
    for path in files:
        stem, split = path.rsplit("/", 1)[-1], tables.split_of(path)
        places, problem = _places(folder.root / path)
        damaged += [f"`{path}` ({problem})"] if problem else []
        for number, (start, length) in enumerate(places):
            id = f"{stem}_{number:05d}" if len(files) > 1 else f"{number:05d}"
            rows.append(Entry(path, path, id, id, split, key=f"{start}:{length}:{names[0]}:{names[1]}"))
    saw = f"{recognise(folder)}; {len(rows)} records"
    if damaged:
        saw += f"; damaged, and read as far as whole: {', '.join(damaged[:3])}"
    return Index(ordered(rows), saw)


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """The picture of a record."""
    return _array(root / entry.image_file, entry, 0, like)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """The mask of a record, as stored."""
    return _array(root / entry.image_file, entry, 1, None)


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype of the picture."""
    path = root / entry.image_file
    data = _features(path, entry).get(entry.key.split(":")[2])
    if isinstance(data, list) and data and _is_encoded(data[0]):
        return images.kind(path, data=data[0])
    return images.kind_of(_array(path, entry, 0, None))


def example(root: Path) -> tuple[Truth, ...]:
    """Two shards: one of encoded pictures, one of raw bytes with their sizes."""
    truths = []
    for split in ("train", "val"):
        records = []
        for i in range(3):
            image, mask = example_image(i + 10 * (split == "val")), example_mask(i, 3)
            features: dict[str, protobuf.Value] = {"image/height": np.array([24]), "image/width": np.array([32])}
            stored = [array.tobytes() if split == "val" else tables.png(array) for array in (image, mask)]
            features |= {"image/encoded": [stored[0]], "image/segmentation/class/encoded": [stored[1]]}
            records.append(protobuf.encode(features))
            id = f"{split}-00000-of-00001.tfrecord_{i:05d}"
            truths.append(Truth(id, id, image, mask, split))
        (root / f"{split}-00000-of-00001.tfrecord").write_bytes(b"".join(map(framed, records)))
    return tuple(truths)


def framed(record: bytes) -> bytes:
    """A record as it lies in a shard: its length, a checksum of that, the record, a checksum of it."""
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", masked(length)) + record + struct.pack("<I", masked(record))


def _files(folder: Folder) -> list[str]:
    found = []
    for path in folder.paths_by(lambda suffix: suffix not in images.SUFFIXES):  # of which there may be a million
        name = path.rsplit("/", 1)[-1].lower()
        if name.endswith(_SUFFIXES) or ".tfrecord-" in name:
            found.append(path)
    return sorted(found)


def _names(folder: Folder, files: list[str]) -> tuple[str, str] | None:
    """The features that are image and mask in the first record that can be read."""
    if "tfrecord" not in folder.memo:
        folder.memo["tfrecord"] = None
        for path in files[:8]:
            places, _ = _places(folder.root / path, most=1)
            try:
                features = _record(folder.root / path, *places[0]) if places else {}
            except DataError:
                continue
            names = [name for name in features if ":" not in name]
            mask = tables.pick(names, _MASKS)
            image = tables.pick([name for name in names if name != mask], _IMAGES)
            if image and mask:
                folder.memo["tfrecord"] = image, mask
                break
    return folder.memo["tfrecord"]  # type: ignore[return-value]


def _places(path: Path, most: float = math.inf) -> tuple[list[tuple[int, int]], str | None]:
    """Start and length of each record, from the lengths alone, and why the list ends early."""
    found: list[tuple[int, int]] = []
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            at = 0
            while at < size and len(found) < most:
                file.seek(at)
                head = file.read(12)
                if head[:2] == b"\x1f\x8b":
                    return found, "it is compressed as a whole: unpack it with gunzip"
                length = int.from_bytes(head[:8], "little")
                if len(head) < 12 or at + 16 + length > size:
                    return found, f"it is cut off, or damaged at byte {at}"
                if int.from_bytes(head[8:], "little") != masked_of_length(head[:8]):
                    return found, f"the length at byte {at} is damaged"
                found.append((at + 12, length))
                at += 16 + length
    except OSError as error:
        return found, error.strerror or str(error)
    return found, None


def _record(path: Path, start: int, length: int) -> dict[str, protobuf.Value]:
    try:
        if length > _LARGEST:
            raise ValueError(f"a record of {length} bytes")
        with path.open("rb") as file:
            file.seek(start)
            record, told = file.read(length), file.read(4)
        if len(record) < length or int.from_bytes(told, "little") != masked(record):
            raise ValueError("its checksum is wrong")
        return protobuf.example(record)
    except (OSError, ValueError) as error:
        raise _broken(path, start, error) from error


def _features(path: Path, entry: Entry) -> dict[str, protobuf.Value]:
    start, length, *_ = entry.key.split(":")
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise _broken(path, int(start), error) from error
    return _last_records(path, changed, int(start), int(length))


@lru_cache(maxsize=8)
def _last_records(path: Path, changed: int, start: int, length: int) -> dict[str, protobuf.Value]:
    """Image, mask and header of a sample are asked for one after the other."""
    return _record(path, start, length)


def _array(path: Path, entry: Entry, role: int, like: tuple[int, int] | None) -> np.ndarray:
    features = _features(path, entry)
    name = entry.key.split(":")[2 + role]
    start = int(entry.key.split(":")[0])
    value = features.get(name)
    if value is None or len(value) == 0:
        raise _broken(path, start, ValueError(f"it has no `{name}`"))
    if isinstance(value, list) and len(value) == 1 and _is_encoded(value[0]):
        return tables.image_of(path, value[0], like) if role == 0 else tables.mask_of(path, value[0])
    try:
        return _raw(features, np.frombuffer(b"".join(value), np.uint8) if isinstance(value, list) else value, role)
    except ValueError as error:
        raise _broken(path, start, error) from error


def _raw(features: dict[str, Any], values: np.ndarray, role: int) -> np.ndarray:
    """Pixels written one after the other, by the size that the record tells."""
    sizes = [pair for pair in _SIZES if all(len(features.get(name, ())) == 1 for name in pair)]
    if not sizes:
        raise ValueError("pixels that are neither an encoded picture nor have `height` and `width` beside them")
    height, width = (int(features[name][0]) for name in sizes[0])
    channels = next((int(features[name][0]) for name in _DEEP if len(features.get(name, ())) == 1), 0)
    if min(height, width) < 1 or height * width > 1 << 40:
        raise ValueError(f"a size of {height} × {width}")
    found, rest = divmod(values.nbytes if values.dtype == np.uint8 else values.size, height * width)
    if rest or not found:
        raise ValueError(f"{values.size} values for {height} × {width} pixels")
    if role == 0 and channels and values.dtype == np.uint8 and found != channels and found % channels == 0:
        wide = {2: "<u2", 4: "<f4"}.get(found // channels)
        if wide:
            return np.frombuffer(values.tobytes(), wide).reshape(height, width, channels)
    if values.dtype == np.int64:
        values = values.astype(np.int32)
    if role == 1 and values.dtype == np.uint8 and found in (4, 8):
        return np.frombuffer(values.tobytes(), f"<i{found}").reshape(height, width).astype(np.int32)
    return values.reshape(height, width) if found == 1 else values.reshape(height, width, found)


def _is_encoded(data: bytes) -> bool:
    return data[:8].startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF"))


def _broken(path: Path, start: int, error: Exception) -> DataError:
    return DataError(
        "A record of a TFRecord shard is a whole `tf.train.Example` with an image and a mask.",
        file=path,
        received={"byte": start, "problem": str(error) or type(error).__name__},
        cure="Copy the shard again from its source, or write it again.",
    )
