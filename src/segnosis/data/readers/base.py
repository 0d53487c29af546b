"""What every reader speaks with: a folder looked at once, and a light index of its pairs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import numpy as np

from segnosis.core.errors import DataError
from segnosis.data.readers.naming import natural

Array = np.ndarray
MAX_DEPTH = 8
_JUNK = {"__macosx", "thumbs.db", "desktop.ini", "@eadir"}


class Entry(NamedTuple):
    """One image, or one volume, with its mask; paths are relative to the data set's root, with `/` between folders.

    A tuple of strings, so that an index of a million pairs fits in memory.
    """

    image: str | tuple[str, ...]
    """File of the image; several files are its channels."""
    mask: str | tuple[str, ...] | None
    """File of the mask, folder of instance masks or several files to unite."""
    id: str
    group: str
    split: str | None = None
    slices: int = 0
    """Number of planes of a volume; 0 when the file is one plane."""
    key: str = ""
    """What its reader needs besides the files: the record in a file of many, say."""

    @property
    def image_file(self) -> str:
        """The (first) file of the image."""
        return self.image if isinstance(self.image, str) else self.image[0]

    @property
    def mask_file(self) -> str | None:
        """The (first) file or folder of the mask."""
        return self.mask if self.mask is None or isinstance(self.mask, str) else self.mask[0]


@dataclass(frozen=True)
class Index:
    """What a reader found.

    Attributes:
        entries: The pairs, in natural order of their ids.
        saw: One sentence: what was paired with what.
        class_names: Names by class id when the layout tells them, else empty.
        values: Stored value → class id when the layout defines it, else `None`: then the masks are asked.
        ignore_value: Stored value that the layout defines to be no class.
        group_by: What a group is, or `None` when samples are independent.
        files: Sidecar files (class lists), relative to the root.
        alone: Images without a mask: no samples, but they can be predicted.
        left_out: Images of other formats beside, where images are opened to predict them.
    """

    entries: tuple[Entry, ...]
    saw: str
    class_names: tuple[str, ...] = ()
    values: Mapping[int, int] | None = None
    ignore_value: int | None = None
    group_by: str | None = None
    files: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class Truth(NamedTuple):
    """What an example of a reader must be read as: the contract test compares arrays with it."""

    id: str
    group: str
    image: Array
    mask: Array
    split: str | None = None


class Reader(Protocol):
    """The functions of a reader module.

    A reader may also have `NEEDS` (package and extra without which it reads nothing), `RANDOM_ACCESS`, `spacing`,
    `affine`, `write_mask`, `known_names`, `known_values`, `known_colours` and `stored_spec`; for images without masks
    `image_files`, which finds them where names do not tell, `image_planes`, and `together`, which says what files are
    channels of one.
    """

    PRIORITY: int
    LOOKS_FOR: str
    recognise: Callable[[Folder], str | None]
    index: Callable[[Folder], Index]
    read_image: Callable[..., Array]
    read_mask: Callable[..., Array]
    image_kind: Callable[[Path, Entry], tuple[int, str]]
    example: Callable[[Path], tuple[Truth, ...]]


@dataclass(frozen=True)
class Folder:
    """Every file below a root, listed once for all readers; hidden files and links that lead out are left out.

    Attributes:
        root: The folder, resolved.
        files: Sub-folder (`""` for the root itself, `/` between names) → file names, unsorted.
        links_out: Links that lead out of the root and were not followed.
    """

    root: Path
    files: Mapping[str, list[str]]
    links_out: tuple[str, ...] = ()
    memo: dict[str, object] = field(default_factory=dict, repr=False, compare=False)
    """Work of `recognise` kept for `index`."""

    @classmethod
    def look(cls, root: Path, *, without: Path | None = None) -> Folder:
        """List `root`, but for the folder `without`. Raises `DataError` when it is missing, unreadable or empty."""
        if not root.exists():
            raise DataError(
                "A data set is a folder of images and masks.",
                file=root,
                received={"problem": "no such file or folder"},
                cure=_nearby(root),
            )
        if not root.is_dir():
            raise DataError(
                "A data set is a folder of images and masks.",
                file=root,
                received={"problem": "this is a file"},
                cure=f"Name the folder it lies in: `{root.absolute().parent}`.",
            )
        root = root.resolve()
        files: dict[str, list[str]] = {}
        links: list[str] = []
        _walk(root, "", files, links, 0)
        if without is not None and (left_out := without.resolve()).is_relative_to(root):
            inside = left_out.relative_to(root).as_posix()
            files = {name: kept for name, kept in files.items() if not f"{name}/".startswith(f"{inside}/")}
        if not files:
            cure = "Put images and masks into it, or name another folder."
            if links:
                cure = (
                    "It holds links that lead out of it, which are not followed: copy the files, or name their folder."
                )
            raise DataError("A data set is a folder of images and masks.", file=root, received={"files": 0}, cure=cure)
        return cls(root, files, tuple(links))

    def paths(self, suffixes: Iterable[str]) -> Iterator[str]:
        """Relative paths of the files with one of `suffixes` (lower case, with dot), unsorted."""
        endings = tuple(suffixes)
        last = {ending[ending.rfind(".") :] for ending in endings if "." in ending}
        for folder, kinds in self._kinds.items():
            for kind, names in kinds.items():
                if kind in last:
                    yield from (join(folder, name) for name in names if name.lower().endswith(endings))

    def paths_by(self, accepts: Callable[[str], bool]) -> Iterator[str]:
        """Relative paths of the files whose last suffix, as in `.png` or empty, is accepted; unsorted."""
        for folder, kinds in self._kinds.items():
            for kind, names in kinds.items():
                if accepts(kind):
                    yield from (join(folder, name) for name in names)

    @cached_property
    def _kinds(self) -> dict[str, dict[str, list[str]]]:
        """Sub-folder → last suffix in lower case → file names: readers ask for suffixes, not for a million names."""
        found: dict[str, dict[str, list[str]]] = {}
        for folder, names in self.files.items():
            kinds: dict[str, list[str]] = defaultdict(list)
            for name in names:
                dot = name.rfind(".")
                kinds[name[dot:].lower() if dot >= 0 else ""].append(name)
            found[folder] = kinds
        return found

    def inside(self, name: str, *, told_by: str, below: Iterable[str] = ("",)) -> str | None:
        """The listed file that `name`, as written in the file `told_by`, means; `None` where there is none.

        Args:
            name: Path as written, relative to one of `below`.
            told_by: File that names it, for the error.
            below: Folders to try in turn.

        Raises:
            DataError: It leads out of the data set.
        """
        plain = name.replace("\\", "/")
        if plain.startswith("/") or plain[1:3] == ":/" or "\0" in plain:
            raise _leads_out(self.root / told_by, name)
        for folder in below:
            parts: list[str] = []
            for part in join(folder, plain).split("/"):
                if part == ".." and not parts:
                    raise _leads_out(self.root / told_by, name)
                if part == "..":
                    parts.pop()
                elif part not in ("", "."):
                    parts.append(part)
            if "/".join(parts) in self._listed:
                return "/".join(parts)
        return None

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(join(folder, name) for folder, names in self.files.items() for name in names)

    def count(self) -> dict[str, int]:
        """Number of files by suffix, for messages."""
        out: dict[str, int] = {}
        for names in self.files.values():
            for name in names:
                suffix = (".nii.gz" if name.lower().endswith(".nii.gz") else Path(name).suffix.lower()) or "(no suffix)"
                out[suffix] = out.get(suffix, 0) + 1
        return dict(sorted(out.items(), key=lambda item: -item[1]))

    def text(self, relative: str, limit: int = 1 << 20) -> str:
        """A small text file below the root; whatever is no text reads as the empty string."""
        path = self.root / relative
        try:
            if path.stat().st_size > limit:
                return ""
            return path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return ""


def _leads_out(told_by: Path, name: str) -> DataError:
    return DataError(
        "Every file of a data set lies in its folder; none outside is ever read.",
        file=told_by,
        received={"path": name},
        cure="Write paths relative to that file, and copy what they mean into the folder.",
    )


def join(folder: str, name: str) -> str:
    """`folder/name`, or `name` in the root."""
    return f"{folder}/{name}" if folder else name


def ordered(entries: Iterable[Entry], *, grouped: bool = False) -> tuple[Entry, ...]:
    """Entries in natural order of their ids (2 before 10), and ids made unique by their folder when they clash.

    Args:
        entries: What a reader found.
        grouped: Whether groups mean something: then equal groups stay equal, in whatever folder their files lie.
    """
    rows = list(entries)
    if len({row.id for row in rows}) < len(rows):
        rows = [
            row._replace(id=path_id(row.image_file), group=row.group if grouped else path_id(row.image_file))
            for row in rows
        ]
    rows.sort(key=lambda row: natural(row.id))
    return tuple(rows)


def path_id(path: str) -> str:
    """A file's path without suffix, as an id; a number is no suffix.

    Example:
        >>> [path_id(path) for path in ("a/b.png", "a/b.nii.gz", "a.b/c", "1.2.840")]
        ['a/b', 'a/b', 'a.b/c', '1.2.840']
    """
    if path.endswith(".gz") and path.lower().endswith(".nii.gz"):
        return path[:-7]
    dot = path.rfind(".")
    return path[:dot] if dot > path.rfind("/") + 1 and not path[dot + 1 :].isdecimal() else path


def example_image(seed: int, shape: tuple[int, ...] = (24, 32, 3)) -> Array:
    """A small uint8 picture for a reader's example."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def example_mask(seed: int, classes: int = 2, shape: tuple[int, int] = (24, 32)) -> Array:
    """A small mask of class ids for a reader's example: one rectangle per class, none covered by another."""
    rng = np.random.default_rng(seed + 1000)
    mask = np.zeros(shape, np.uint8)
    width = shape[1] // max(classes - 1, 1)
    for class_id in range(1, classes):
        top, left = int(rng.integers(0, shape[0] // 2)), (class_id - 1) * width
        mask[top : top + shape[0] // 3, left + 1 : left + width - 1] = class_id
    return mask


def reader_name(reader: Reader) -> str:
    """The reader's name: that of its file."""
    return cast(str, reader.__name__).rsplit(".", 1)[-1]  # type: ignore[attr-defined]


def _walk(root: Path, folder: str, files: dict[str, list[str]], links: list[str], depth: int) -> None:
    try:
        listing = list(os.scandir(root / folder))
    except OSError as error:
        raise DataError(
            "Every folder of a data set must be readable.",
            file=root / folder,
            received={"problem": error.strerror or str(error)},
            cure="Give yourself the right to read it.",
        ) from error
    names = []
    for item in listing:
        if item.name.startswith(".") or item.name.lower() in _JUNK:
            continue
        relative = join(folder, item.name)
        if item.is_symlink():
            target = Path(item.path).resolve()
            if not target.is_relative_to(root):
                links.append(relative)
            elif target.is_file():
                names.append(item.name)
            continue  # a linked folder inside the root is met under its own name
        if item.is_dir():
            if depth < MAX_DEPTH:
                _walk(root, relative, files, links, depth + 1)
        elif item.is_file():
            names.append(item.name)
    if names:
        files[folder] = names


def _nearby(root: Path) -> str:
    from segnosis.core.errors import did_you_mean

    parent = root.parent
    if not parent.is_dir():
        return f"Check the path: {parent} does not exist either."
    try:
        names = [item.name for item in os.scandir(parent) if item.is_dir() and not item.name.startswith(".")]
    except OSError:
        names = []
    close = did_you_mean(root.name, names)
    return close if close.startswith("Did") else "Check the spelling of the path."
