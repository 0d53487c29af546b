"""A data set as every reader gives it: indexable samples, stored pairs, groups, splits and what it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast, overload

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import ArgumentError, DataError
from segnosis.core.sample import Pair, Sample
from segnosis.data import labels, sidecar
from segnosis.data.census import IGNORE, Census
from segnosis.data.labels import LabelScheme
from segnosis.data.readers.base import Entry, Folder, reader_name
from segnosis.data.readers.images import LOSSY
from segnosis.data.scan import in_order
from segnosis.data.source import Source


class VolumePlane(NamedTuple):
    """Where a sample lies in its volume, so that predictions go back as one."""

    file: Path
    plane: int
    planes: int
    affine: np.ndarray | None


class Dataset(Sequence[Sample]):
    """Samples of one folder; made by `segnosis.data.open`.

    Arrays are read-only and shared: copy one before writing into it.

    Args:
        source: The opened layout.
        rows: Rows of the layout that this (sub)set holds; all when left out.
    """

    def __init__(self, source: Source, rows: np.ndarray | None = None) -> None:
        self.source = source
        self.rows = np.arange(source.offsets[-1]) if rows is None else np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {len(self)} samples, reader={reader_name(self.source.reader)!r})"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.source.root.name

    @property
    def root(self) -> Path:
        """The folder."""
        return self.source.root

    @property
    def saw(self) -> str:
        """One sentence: which layout was recognised, by what."""
        return self.source.index.saw

    @cached_property
    def ids(self) -> list[str]:
        """Id of each sample."""
        return [self._id(*place) for place in self.source.located(self.rows)]

    @cached_property
    def groups(self) -> list[str]:
        """Group of each sample: what a split never cuts."""
        return [self._group(*place) for place in self.source.located(self.rows)]

    @cached_property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """The layout's own splits, name → ids; empty when it has none."""
        found: dict[str, list[str]] = {}
        for entry, k in self.source.located(self.rows):
            if entry.split:
                found.setdefault(entry.split, []).append(self._id(entry, k))
        return {name: tuple(found[name]) for name in ("train", "val", "test") if name in found}

    @property
    def spec(self) -> DatasetSpec:
        """What the data set is; found by one pass over the masks and image headers, unless `adopt` knows it already."""
        with self.source.lock:
            if self.source.spec is None:
                whole = Dataset(self.source)
                census = Census()
                pairs = () if self._stored_spec() else in_order(whole._stored_mask, len(whole))
                for mask, kind, lossy in pairs:
                    if mask is not None:
                        census.add_mask(mask, lossy=lossy)
                    if kind is not None:
                        census.add_image(*kind)
                self.adopt(census)
            assert self.source.spec is not None
            return self.source.spec

    def adopt(self, census: Census) -> DatasetSpec:
        """Take what a census over all pairs says, instead of a pass of its own."""
        source, stored = self.source, self._stored_spec()
        if stored is not None:
            source.scheme = LabelScheme(dict(stored.values), stored.class_names, stored.ignore_class)
            source.spec = stored
            return stored
        scheme = self._scheme_of(census)
        if not census.kinds and any(entry.mask for entry in source.index.entries):
            raise DataError(
                "At least one mask must be readable.",
                file=source.root,
                received={"pairs": len(self), "readable masks": 0},
                cure="Run `segnosis check` on the folder: it names each file and what is wrong with it.",
            )
        source.scheme = scheme
        source.spec = DatasetSpec(
            reader=reader_name(source.reader),
            saw=f"{source.index.saw}; {scheme.says}",
            class_names=scheme.class_names,
            channels=census.channels,
            ignore_class=scheme.ignore_class,
            values=dict(scheme.values),
            dtype=census.dtype,
            group_by=source.index.group_by,
        )
        return source.spec

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Sample | Dataset:
        """Sample `index`, or the subset of a slice.

        Raises:
            DataError: A file cannot be read, or image and mask have different sizes.
        """
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        entry, k = self.source.locate(int(self.rows[index]))
        spec = self.spec
        stored = self.source.mask(entry, k) if entry.mask is not None else None
        image = self.source.image(entry, k, like=stored.shape[:2] if stored is not None else None)
        mask = None
        if stored is not None:
            if stored.shape[:2] != image.shape[:2]:
                raise DataError(
                    "A mask has the size of its image.",
                    file=self.root / str(entry.mask_file),
                    received={"mask": stored.shape[:2], "image": image.shape[:2], "image_file": entry.image_file},
                    cure="Export the mask again at the size of the image, without interpolation.",
                )
            try:
                mask = self.scheme.decode(stored)
            except ValueError as error:
                raise labels.unreadable(self.root / str(entry.mask_file), str(error)) from error
            mask.setflags(write=False)
        pixels = harmonise(image, spec.channels, spec.dtype, self.root / entry.image_file)
        return Sample(pixels, mask, self._id(entry, k), self._group(entry, k), self._spacing(entry))

    def pair(self, index: int) -> Pair:
        """Pair `index` as stored; a file that cannot be read is told in `Pair.error`, never raised."""
        entry, k = self.source.locate(int(self.rows[index]))
        image = mask = None
        errors = []
        if entry.mask is not None:
            try:
                mask = self.source.mask(entry, k)
            except DataError as error:
                errors.append(error.brief)
        try:
            image = self.source.image(entry, k, like=mask.shape[:2] if mask is not None else None)
        except DataError as error:
            errors.insert(0, error.brief)
        return Pair(
            image,
            mask,
            self._id(entry, k),
            self._group(entry, k),
            self.root / entry.image_file,
            self.root / entry.mask_file if entry.mask_file else None,
            entry.split,
            " ".join(dict.fromkeys(errors)) or None,
        )

    def pairs(self) -> Pairs:
        """All pairs as stored: sized, iterable again and again, read a few ahead."""
        return Pairs(self)

    def subset(self, indices: Iterable[int]) -> Dataset:
        """The samples of `indices`, in that order, sharing files in memory and spec with this one."""
        return Dataset(self.source, self.rows[np.fromiter(indices, np.int64)])

    def volume_of(self, index: int) -> VolumePlane | None:
        """Volume and plane of sample `index`, or `None` where a file is one sample."""
        entry, k = self.source.locate(int(self.rows[index]))
        if k is None:
            return None
        reader: Any = self.source.reader
        affine = reader.affine(self.root, entry) if hasattr(reader, "affine") else None
        return VolumePlane(self.root / entry.image_file, k, entry.slices, affine)

    def write_volume(self, path: Path, masks: Sequence[np.ndarray], like: Path) -> Path:
        """Write the predicted planes of the volume `like`, in order, in the format it came in."""
        reader: Any = self.source.reader
        if not hasattr(reader, "write_mask"):
            raise ArgumentError("Only volumes are written plane by plane.", received={"reader": reader_name(reader)})
        written: Path = reader.write_mask(Path(path), np.stack(list(masks)), like)
        return written

    def classes_in(self, index: int) -> frozenset[int]:
        """Class ids but the background in the mask of sample `index`; none where it cannot be read."""
        entry, k = self.source.locate(int(self.rows[index]))
        try:
            ids = np.unique(self.scheme.decode(self.source.mask(entry, k))) if entry.mask is not None else ()
        except ValueError:  # unreadable, or a colour mask among indices: the checks tell of it
            return frozenset()
        return frozenset(int(value) for value in ids) - {0, IGNORE}

    def spacings(self) -> list[float]:
        """Pixel sizes in millimetres, row and column of each volume; empty where the format has none."""
        if not hasattr(self.source.reader, "spacing"):
            return []
        entries = {entry.id: entry for entry, _ in map(self.source.locate, map(int, self.rows))}
        sizes: list[float] = []
        for entry in entries.values():
            with contextlib.suppress(DataError):  # unreadable: the checks tell of it
                sizes += self._spacing(entry) or ()
        return sizes

    @property
    def scheme(self) -> LabelScheme:
        """How stored values become class ids."""
        self.spec  # noqa: B018  the scheme is found together with the spec
        assert self.source.scheme is not None
        return self.source.scheme

    def _stored_spec(self) -> DatasetSpec | None:
        """What the layout itself says that the data set is, where the user says nothing else."""
        source, reader = self.source, cast(Any, self.source.reader)
        if source.class_names or source.ignore_class is not None or not hasattr(reader, "stored_spec"):
            return None
        stored: DatasetSpec = reader.stored_spec(source.root)
        return replace(stored, reader=reader_name(reader), saw=source.index.saw)

    def _scheme_of(self, census: Census) -> LabelScheme:
        """What the census, the layout and the files beside it say of the stored values."""
        source = self.source
        reader: Any = source.reader
        told = source.class_names or source.index.class_names or None
        colour, counts = census.main
        common = {v for v, n in counts.pixels.items() if n > 1e-5 * counts.pixels.total() and v != IGNORE}
        if told is None and not colour and source.ignore_class is None and hasattr(reader, "known_values"):
            known: LabelScheme | None = reader.known_values(frozenset(common))
            if known is not None:
                return known
        listed = sidecar.names(Folder(source.root, {}), source.index.files)
        # A list of classes beside the data knows better than the layout what the masks mean, if it names them all.
        if told is None and not colour and not common <= listed.keys() and hasattr(reader, "known_names"):
            told = reader.known_names(frozenset(common)) or None
        names_by_value = None if told else self._known_colours(colour) or listed
        return labels.infer(
            census,
            class_names=told,
            ignore_value=source.ignore_class if source.ignore_class is not None else source.index.ignore_value,
            names_by_value=names_by_value,
            ignore_told=source.ignore_class is not None,
        )

    def _known_colours(self, colour: bool) -> dict[int, str]:
        reader: Any = self.source.reader
        return reader.known_colours() if colour and hasattr(reader, "known_colours") else {}

    def _stored_mask(self, index: int) -> tuple[np.ndarray | None, tuple[int, str] | None, bool]:
        entry, k = self.source.locate(int(self.rows[index]))
        mask, kind = None, None
        try:
            if entry.mask is not None:
                mask = self.source.mask(entry, k)
            if not k:
                kind = self.source.reader.image_kind(self.root, entry)
        except DataError:
            pass  # told by pair(), where the checks look
        return mask, kind, (entry.mask_file or "").lower().endswith(LOSSY)

    def _spacing(self, entry: Entry) -> tuple[float, float] | None:
        reader: Any = self.source.reader
        if not hasattr(reader, "spacing"):
            return None
        known: dict[str, tuple[float, float] | None] = self.source.__dict__.setdefault("_spacings", {})
        if entry.id not in known:
            known[entry.id] = reader.spacing(self.root, entry)
        return known[entry.id]

    def _id(self, entry: Entry, k: int | None) -> str:
        return entry.id if k is None else f"{entry.id}_plane{k:03d}"

    def _group(self, entry: Entry, k: int | None) -> str:
        alone = self.source.index.group_by is None and k is not None
        return self._id(entry, k) if alone else entry.group


class Pairs:
    """The stored pairs of a data set, lazily; each pass reads the files again, whatever is not in memory."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[Pair]:
        return in_order(self.dataset.pair, len(self.dataset))


def harmonise(image: np.ndarray, channels: int, dtype: str, file: Path) -> np.ndarray:
    """`(height, width, channels)` of `dtype`, grey repeated to colour.

    Raises:
        DataError: The image's channels cannot become `channels`, or its values `dtype`, or some are no numbers.
    """
    pixels = image[..., None] if image.ndim == 2 else image
    _check_numbers(pixels, file)
    found = pixels.shape[2]
    if found != channels:
        if (found, channels) == (1, 3):
            pixels = np.repeat(pixels, channels, axis=2)
        else:
            raise DataError(
                "All images of a data set have the same channels.",
                file=file,
                received={"channels": found, "channels of the others": channels},
                cure="Save it with the channels of the others.",
            )
    if dtype == "uint8" and pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 255 and np.array_equal(pixels, np.rint(pixels))):
            raise DataError(
                "The other images are 8-bit: whole numbers from 0 to 255.",
                file=file,
                received={"type": str(pixels.dtype), "lowest": low, "highest": high},
                cure="Convert it to 8 bit as they were: 16-bit values are divided by 257, shares multiplied by 255.",
            )
    pixels = np.ascontiguousarray(pixels, dtype=np.uint8 if dtype == "uint8" else np.float32)
    pixels.setflags(write=False)
    return pixels


def _check_numbers(pixels: np.ndarray, file: Path) -> None:
    """One NaN makes a loss NaN, and then every weight; a prediction of it is none."""
    if pixels.dtype.kind != "f" or not pixels.size or np.isfinite([pixels.min(), pixels.max()]).all():
        return
    bad = int((~np.isfinite(pixels)).any(axis=-1).sum())
    raise DataError(
        "Every pixel is a finite number: a network makes nothing of NaN or infinity.",
        file=file,
        received={"pixels with NaN or infinity": bad, "of": pixels.shape[0] * pixels.shape[1]},
        cure="Where they mark what was not imaged, have them read as a number, with `--nan 0` (in Python `nan=0`); "
        "else mend the file.",
    )
