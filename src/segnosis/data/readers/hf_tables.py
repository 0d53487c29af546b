"""Tables of the Hugging Face `datasets` library from local files: `*.parquet` or `*.arrow` with an image and a mask.

A cell is the encoded picture itself or `{"bytes": …, "path": …}`; a path is read where it lies in the folder. Splits
are told by file names (`train-00000-of-00002.parquet`) and folders. Arrow files are mapped and read row by row; of
parquet the row groups last used are kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.errors import DataError, MissingPackageError
from segnosis.data.readers import images, tables
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_image, example_mask, ordered, path_id

PRIORITY = 44
LOOKS_FOR = "tables of Hugging Face `datasets`: `*.parquet` or `*.arrow` with the columns `image` and `mask` or `label`"
NEEDS = ("pyarrow", "huggingface")
_SUFFIXES = (".parquet", ".arrow")
_TEXT_OR_BYTES = ("binary", "large_binary", "string", "large_string")


def recognise(folder: Folder) -> str | None:
    """The first table that can be read has a column of images and one of masks."""
    files = sorted(folder.paths(_SUFFIXES))
    if not files:
        return None
    for path in files[:8]:
        try:
            with _opened(folder.root / path) as table:
                image, mask, _ = _columns(table.schema)
        except DataError:
            continue
        if image and mask:
            return f"{len(files)} tables of Hugging Face datasets, `{image}` as the image and `{mask}` as the mask"
    return None


def index(folder: Folder) -> Index:
    """One entry per row."""
    rows: list[Entry] = []
    names: tuple[str, ...] = ()
    left_out: list[str] = []
    grouped: str | None = None
    for path in sorted(folder.paths(_SUFFIXES)):
        try:
            with _opened(folder.root / path) as table:
                image, mask, group = _columns(table.schema)
                number = table.num_rows
                groups = [str(value) for value in table.column(group)] if image and mask and group else []
                names = names or _class_names(table.schema, mask or "")
        except DataError as error:
            if not recognise(folder):
                raise
            left_out.append(f"`{path}` ({error.brief})")
            continue
        if not image or not mask:
            left_out.append(f"`{path}`")
            continue
        split = tables.split_of(path)
        stem = path_id(path).rsplit("/", 1)[-1]
        grouped = grouped or (group if groups else None)
        for row in range(number):
            id = f"{stem}_{row:05d}"
            rows.append(Entry(path, path, id, groups[row] if groups else id, split, key=f"{row}:{image}:{mask}"))
    saw = f"{recognise(folder)}; {len(rows)} rows"
    if left_out:
        saw += f"; without both columns and left out: {', '.join(left_out[:3])}"
    if not rows:
        raise DataError(
            "A table holds at least one row of an image and a mask.", file=folder.root, received={"rows": 0},
            cure="Save the data set again with `save_to_disk` or `to_parquet`.",
        )  # fmt: skip
    return Index(ordered(rows, grouped=grouped is not None), saw, class_names=names, group_by=grouped)


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """The picture of a row."""
    return tables.image_of(root / entry.image_file, _cell(root, entry, 0), like)


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """The mask of a row, as stored."""
    return tables.mask_of(root / entry.image_file, _cell(root, entry, 1))


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels and dtype from the picture's header."""
    return images.kind(root / entry.image_file, data=_cell(root, entry, 0))


def example(root: Path) -> tuple[Truth, ...]:
    """A split in parquet with encoded pictures, another in Arrow whose pictures lie beside it."""
    import pyarrow as pa
    import pyarrow.parquet

    cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    feature = {"_type": "Image"}
    told = {"info": {"features": {"image": feature, "label": feature, "name": {"_type": "Value"}}}}
    schema = pa.schema([("image", cell), ("label", cell), ("name", pa.string())], {"huggingface": json.dumps(told)})
    truths = []
    for split in ("train", "test"):
        rows: dict[str, list[Any]] = {"image": [], "label": [], "name": []}
        for i in range(3):
            image, mask = example_image(i + 10 * (split == "test")), example_mask(i, 3)
            stored = [tables.png(array) for array in (image, mask)]
            if split == "test":
                (root / "pictures").mkdir(exist_ok=True, parents=True)
                (root / "pictures" / f"{i}.png").write_bytes(stored[0])
            rows["image"].append({"bytes": stored[0] if split == "train" else None, "path": f"pictures/{i}.png"})
            rows["label"].append({"bytes": stored[1], "path": None})
            rows["name"].append(f"sample {i}")
            id = f"{split}-00000-of-00001_{i:05d}"
            truths.append(Truth(id, id, image, mask, split))
        table = pa.table(rows, schema=schema)
        if split == "train":
            pyarrow.parquet.write_table(table, root / "train-00000-of-00001.parquet", row_group_size=2)
        else:
            with pa.OSFile(str(root / "test-00000-of-00001.arrow"), "wb") as out, pa.ipc.new_stream(out, schema) as to:
                to.write_table(table)
    return tuple(sorted(truths, key=lambda truth: truth.id))


class _Table:
    """One file, opened: its schema, its number of rows, and cells."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet

        self.path = path
        self._parquet: Any = None
        self._batches: list[Any] = []
        if path.suffix.lower() == ".parquet":
            self._parquet = pyarrow.parquet.ParquetFile(path)
            self.schema = self._parquet.schema_arrow
            self.num_rows = int(self._parquet.metadata.num_rows)
            counts = [self._parquet.metadata.row_group(g).num_rows for g in range(self._parquet.num_row_groups)]
        else:
            source = pa.memory_map(str(path))
            try:
                reader = pa.ipc.open_stream(source)
                self._batches = list(reader)
            except pa.ArrowInvalid:
                source.seek(0)
                reader = pa.ipc.open_file(source)
                self._batches = [reader.get_batch(k) for k in range(reader.num_record_batches)]
            for batch in self._batches:
                batch.validate(full=True)
            self.schema = reader.schema
            counts = [batch.num_rows for batch in self._batches]
            self.num_rows = sum(counts)
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def column(self, name: str) -> list[Any]:
        """All values of a small column."""
        if self._parquet is not None:
            return self._parquet.read(columns=[name]).column(name).to_pylist()
        return [value for batch in self._batches for value in batch.column(name).to_pylist()]

    def cell(self, row: int, name: str) -> Any:
        """The value in a row."""
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        if not 0 <= row < self.num_rows:
            raise ValueError(f"row {row} of {self.num_rows}")
        if self._parquet is None:
            return self._batches[part].column(name)[row - int(self._starts[part])].as_py()
        stat = self.path.stat()
        return _row_group(self.path, stat.st_mtime_ns, part, name)[row - int(self._starts[part])].as_py()


@contextmanager
def _opened(path: Path) -> Iterator[_Table]:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingPackageError("pyarrow", purpose="reading parquet and Arrow tables", extra=NEEDS[1]) from error
    try:
        stat = path.stat()
        yield _table(path, stat.st_mtime_ns, stat.st_size)
    except DataError:
        raise
    except (Exception, MemoryError) as error:  # Arrow raises its own, OSError, KeyError or MemoryError on damaged files
        raise DataError(
            "A parquet or Arrow file must be whole and readable.",
            file=path,
            received={"problem": f"{type(error).__name__}: {error}"[:300]},
            cure="Download it again, or save the data set again.",
        ) from error


@lru_cache(maxsize=32)
def _table(path: Path, modified: int, size: int) -> _Table:
    """An opened table; a file changed meanwhile is another."""
    return _Table(path)


@lru_cache(maxsize=8)
def _row_group(path: Path, modified: int, group: int, name: str) -> Any:
    """One column of a row group."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        return file.read_row_group(group, columns=[name]).column(name)


def _cell(root: Path, entry: Entry, role: int) -> bytes:
    row, *names = entry.key.split(":")
    path = root / entry.image_file
    with _opened(path) as table:
        value = table.cell(int(row), names[role])
    if isinstance(value, dict):
        stored, where = value.get("bytes"), value.get("path")
        value = stored if stored is not None else _beside(root, path, str(where)) if where else None
    elif isinstance(value, str):
        value = _beside(root, path, value)
    if not isinstance(value, bytes):
        raise DataError(
            "A cell of an image column holds an encoded picture, or a path to one.",
            file=path,
            received={"row": int(row), "column": names[role], "value": type(value).__name__},
            cure="Save the data set again with `to_parquet`, which writes the pictures into it.",
        )
    return value


def _beside(root: Path, told_by: Path, name: str) -> bytes:
    """The content of a file that a cell names, beside its table or below the root."""
    for base in (told_by.parent, root) if "\0" not in name else ():
        path = (base / name).resolve()
        if not path.is_relative_to(root):
            raise DataError(
                "Every file of a data set lies in its folder; none outside is ever read.",
                file=told_by,
                received={"path": name},
                cure="Save the data set again with the pictures in it (`to_parquet`).",
            )
        if os.path.isfile(path):  # noqa: PTH113  a name too long is none, not an error
            return path.read_bytes()
    raise DataError(
        "A picture that a table names lies in the data set.", file=told_by, received={"path": name},
        cure="Copy it there, or save the data set again with the pictures in it.",
    )  # fmt: skip


def _columns(schema: Any) -> tuple[str | None, str | None, str | None]:
    """Image, mask and group column."""
    features = _features(schema)
    pictures = [name for name in schema.names if _holds_pictures(schema.field(name).type)]
    told = [name for name in pictures if features.get(name, {}).get("_type") == "Image"]
    pictures = told if len(told) >= 2 else pictures
    mask = tables.pick(pictures, tables.MASKS)
    image = tables.pick([name for name in pictures if name != mask], tables.IMAGES)
    if len(pictures) == 2 and (mask is None) != (image is None):
        other = next(name for name in pictures if name not in (mask, image))
        image, mask = image or other, mask or other
    return image, mask, tables.pick([n for n in schema.names if n not in pictures], tables.GROUPS)


def _holds_pictures(kind: Any) -> bool:
    if str(kind).startswith("struct"):
        return "bytes" in [kind.field(k).name for k in range(kind.num_fields)]
    return str(kind) in _TEXT_OR_BYTES[:2]


def _features(schema: Any) -> dict[str, Any]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return {k: v for k, v in features.items() if isinstance(v, dict)} if isinstance(features, dict) else {}


def _class_names(schema: Any, mask: str) -> tuple[str, ...]:
    """Names that a feature of class labels tells, as `datasets` writes them for masks of ids."""
    for name, feature in _features(schema).items():
        labels = feature.get("names")
        if mask in name and isinstance(labels, list) and all(isinstance(label, str) for label in labels):
            return tuple(labels)
    return ()
