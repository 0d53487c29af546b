"""DICOM series with DICOM segmentations: every image that a segmentation refers to is a sample.

Files are told by their content, whatever they are named. Segments become classes by their labels, in the order of their
numbers; values are Hounsfield units or whatever slope and intercept make of them. The group is the patient.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.errors import DataError, MissingPackageError
from segnosis.data.readers.base import Entry, Folder, Index, Truth, example_mask, ordered
from segnosis.data.readers.naming import split_of_folder

PRIORITY = 35
LOOKS_FOR = "DICOM images with DICOM segmentations (`*.dcm`, or files without suffix)"
NEEDS = ("pydicom", "dicom")
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_MOST_CLASSES = 254
_SUFFIXES = (".dcm", ".dicom", ".ima")
_HEAD = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "PatientID", "InstanceNumber", "NumberOfFrames", "Rows",
)  # fmt: skip
_PIXELS = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "PixelData", "RescaleSlope",
    "RescaleIntercept", "PixelSpacing", "SegmentationType",
)  # fmt: skip


def recognise(folder: Folder) -> str | None:
    """There is a segmentation among the DICOM files, and images it refers to."""
    if not any(_is_dicom(folder.root / path) for path in _candidates(folder)[:8]):
        return None
    found = _find(folder)
    if not found:
        return None
    files = {mask for _, mask, _, _, _ in found}
    saw = f"{len(found)} DICOM images that {len(files)} segmentations refer to"
    damaged: list[str] = folder.memo["dicom damaged"]  # type: ignore[assignment]
    return saw + (f"; damaged and left out: {', '.join(damaged[:3])}" if damaged else "")


def index(folder: Folder) -> Index:
    """One entry per image with a segment drawn on it, or within a segmented series."""
    found = _find(folder)
    names = _labels(folder)
    if len(names) > _MOST_CLASSES:
        raise DataError(
            f"Masks hold at most {_MOST_CLASSES} classes.", file=folder.root, received={"segments": len(names)},
            cure="Open fewer segmentations at a time.",
        )  # fmt: skip
    class_of = {label: number for number, label in enumerate(names, start=1)}
    rows = []
    for image, mask, patient, id, drawn in found:
        split = next((s for part in image.split("/")[:-1] if (s := split_of_folder(part))), None)
        key = " ".join(f"{frame}:{class_of[label]}" for frame, label in drawn)
        rows.append(Entry(image, mask, id, patient or id, split, key=key))
    saw = f"{recognise(folder)}; {len({row.group for row in rows})} patients"
    used = {row.image for row in rows}
    return Index(
        ordered(rows, grouped=True),
        saw,
        class_names=("background", *names),
        group_by="patient",
        alone=tuple(path for path in image_files(folder) if path not in used),
    )


def image_files(folder: Folder) -> list[str]:
    """Images with and without a segmentation, and files that are damaged: what is wrong is told when they are read."""
    try:
        return _look(folder)[1]
    except MissingPackageError:  # told when they are read; beside images of another format they need not be
        return [path for path in _candidates(folder) if _is_dicom(folder.root / path)]


def read_image(root: Path, entry: Entry, k: int | None = None, *, like: tuple[int, int] | None = None) -> np.ndarray:
    """The image in its own units, float32."""
    path = root / entry.image_file
    data = _load(path, _PIXELS)
    if (frames := _number(data, "NumberOfFrames", 1)) > 1:
        raise DataError(
            "A DICOM image is one plane.", file=path, received={"frames": frames},
            cure="Export the series as single images.",
        )  # fmt: skip
    try:
        pixels = _decoded(path, data)
        slope, intercept = float(data.get("RescaleSlope", 1) or 1), float(data.get("RescaleIntercept", 0) or 0)
        return pixels.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    except (ValueError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise _broken(path, error) from error


def read_mask(root: Path, entry: Entry, k: int | None = None) -> np.ndarray:
    """Class ids of the segments drawn on the image; where two overlap, the one of the higher number."""
    path = root / str(entry.mask_file)
    data = _load(path, _PIXELS)
    try:
        size = int(data.Rows), int(data.Columns)
        mask = np.zeros(size, np.uint8)
        for item in sorted(entry.key.split(), key=lambda item: int(item.split(":")[1])):
            frame, class_id = map(int, item.split(":"))
            mask[_frame(path, data, frame, size)] = class_id
        return mask
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        raise _broken(path, error) from error


def image_kind(root: Path, entry: Entry) -> tuple[int, str]:
    """Channels from the header; values are float32."""
    return _number(_load(root / entry.image_file, _PIXELS[:9]), "SamplesPerPixel", 1), "float32"


def spacing(root: Path, entry: Entry) -> tuple[float, float] | None:
    """Millimetres between rows and between columns."""
    try:
        row, column = (float(value) for value in _load(root / entry.image_file, ("PixelSpacing",)).PixelSpacing)
    except (AttributeError, TypeError, ValueError):
        return None
    return (row, column) if row > 0 and column > 0 else None


def example(root: Path) -> tuple[Truth, ...]:
    """Two patients of three images each, two segments drawn on two of them."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    def made(kind: str, uid: str, patient: str, series: str, shape: tuple[int, ...]) -> Dataset:
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = UID(kind)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = UID(uid)
        data.PatientID, data.SeriesInstanceUID, data.PatientName = patient, series, "Nobody"
        data.Rows, data.Columns = shape[-2:]
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        return data

    truths = []
    for p in range(2):
        patient, masks = f"patient {p}", [example_mask(10 * p + k, 3, (16, 20)) for k in range(3)]
        (root / patient).mkdir(parents=True)
        masks[2][...] = 0
        frames, uids = [], [f"1.2.3.{p}.{k}" for k in range(3)]
        for k, mask in enumerate(masks):
            stored = np.random.default_rng(10 * p + k).integers(0, 3000, (16, 20), dtype=np.uint16)
            data = made(CTImageStorage, uids[k], patient, f"1.2.3.{p}", (16, 20))
            data.InstanceNumber, data.RescaleSlope, data.RescaleIntercept = k + 1, 2, -1024
            data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelSpacing = 16, 12, 11, [0.7, 0.5]
            data.PixelData = stored.astype("<u2").tobytes()
            data.save_as(root / patient / f"IM{k}", enforce_file_format=True)
            frames += [(uids[k], number, mask == number) for number in (1, 2) if (mask == number).any()]
            id = f"{patient}_{p}_{k + 1:04d}"
            truths.append(Truth(id, patient, (stored * 2.0 - 1024).astype(np.float32)[..., None], mask))
        drawn = made(_SEGMENTATION, f"1.2.4.{p}", patient, f"1.2.4.{p}", (16, 20))
        drawn.NumberOfFrames, drawn.SegmentationType = len(frames), "BINARY"
        drawn.BitsAllocated, drawn.BitsStored, drawn.HighBit = 1, 1, 0
        drawn.SegmentSequence = []
        for number, label in ((1, "Liver"), (2, "Tumour")):
            segment = Dataset()
            segment.SegmentNumber, segment.SegmentLabel = number, label
            drawn.SegmentSequence.append(segment)
        drawn.PerFrameFunctionalGroupsSequence = []
        for uid, number, _ in frames:
            frame, which, derived, source = Dataset(), Dataset(), Dataset(), Dataset()
            which.ReferencedSegmentNumber, source.ReferencedSOPInstanceUID = number, uid
            derived.SourceImageSequence = [source]
            frame.SegmentIdentificationSequence, frame.DerivationImageSequence = [which], [derived]
            drawn.PerFrameFunctionalGroupsSequence.append(frame)
        bits = np.packbits(np.concatenate([pixels.ravel() for _, _, pixels in frames]), bitorder="little").tobytes()
        drawn.PixelData = bits + bytes(len(bits) % 2)
        drawn.save_as(root / patient / "segmentation.dcm", enforce_file_format=True)
    return tuple(truths)


_Drawn = tuple[str, str, str, str, tuple[tuple[int, str], ...]]


def _find(folder: Folder) -> list[_Drawn]:
    """(image file, segmentation file, patient, id, frames with their labels) of each image of a segmented series."""
    if "dicom" in folder.memo:
        return folder.memo["dicom"]  # type: ignore[return-value]
    pictures, _, segmentations = _look(folder)
    numbers = {
        uid: str(n) for n, uid in enumerate(sorted({str(h.get("SeriesInstanceUID")) for _, h in pictures.values()}))
    }
    found: list[_Drawn] = []
    labels: list[str] = []
    taken: dict[str, str] = {}
    damaged: list[str] = []
    for path in segmentations:
        try:
            told, drawn = _frames(_load(folder.root / path, None))
        except Exception:  # pydicom parses as it goes, and raises whatever a damaged file leads to
            damaged.append(path)  # its images are left out, since nobody knows which they are
            continue
        labels += [label for label in told if label not in labels]
        series = {str(pictures[uid][1].get("SeriesInstanceUID")) for uid in drawn if uid in pictures}
        for uid, (image, head) in pictures.items():
            name = str(head.get("SeriesInstanceUID"))
            if name not in series:
                continue
            if taken.setdefault(uid, path) != path:
                raise DataError(
                    "A series has one segmentation.", file=folder.root / path, received={"another": taken[uid]},
                    cure="Keep one segmentation a series, or put them into folders of their own.",
                )  # fmt: skip
            patient = str(head.get("PatientID") or "")
            id = f"{patient or 'series'}_{numbers[name]}_{_number(head, 'InstanceNumber', 0):04d}"
            found.append((image, path, patient, id, tuple(drawn.get(uid, ()))))
    folder.memo["dicom"], folder.memo["dicom labels"], folder.memo["dicom damaged"] = found, tuple(labels), damaged
    return found


def _look(folder: Folder) -> tuple[dict[str, tuple[str, Any]], list[str], list[str]]:
    """File and header of each single image by its UID; the files of all images, and of segmentations."""
    if "dicom files" in folder.memo:
        return folder.memo["dicom files"]  # type: ignore[return-value]
    pictures: dict[str, tuple[str, Any]] = {}
    images: list[str] = []
    segmentations: list[str] = []
    for path in _candidates(folder):
        if not _is_dicom(folder.root / path):
            continue
        try:
            head = _load(folder.root / path, _HEAD)
        except DataError:
            images.append(path)
            continue
        if str(head.get("SOPClassUID", "")) == _SEGMENTATION:
            segmentations.append(path)
            continue
        if head.get("Rows") or _is_cut_off(path, head):  # else a directory, a report, a radiation plan
            images.append(path)
        if _number(head, "NumberOfFrames", 1) == 1 and head.get("SOPInstanceUID"):
            pictures[str(head.SOPInstanceUID)] = path, head
    folder.memo["dicom files"] = pictures, images, segmentations
    return pictures, images, segmentations


def _is_cut_off(path: str, head: Any) -> bool:
    """Whether a file without rows is an image of which they are missing."""
    kind = head.get("SOPClassUID")
    if not kind:
        return not path.upper().endswith("DICOMDIR")
    return "Image Storage" in getattr(kind, "name", "Image Storage")  # of several kinds, it is damaged


def _labels(folder: Folder) -> tuple[str, ...]:
    return folder.memo["dicom labels"]  # type: ignore[return-value]


def _frames(data: Any) -> tuple[list[str], dict[str, list[tuple[int, str]]]]:
    """Labels in the order of their numbers; per image the frames drawn on it with their labels."""
    named = {
        int(item.SegmentNumber): str(item.get("SegmentLabel", item.SegmentNumber)) for item in data.SegmentSequence
    }
    drawn: dict[str, list[tuple[int, str]]] = defaultdict(list)
    shared = [item.get("SegmentIdentificationSequence") for item in data.get("SharedFunctionalGroupsSequence") or ()]
    for number, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
        which = (frame.get("SegmentIdentificationSequence") or shared[0])[0]
        for source in frame.DerivationImageSequence[0].SourceImageSequence:
            drawn[str(source.ReferencedSOPInstanceUID)].append((number, named[int(which.ReferencedSegmentNumber)]))
    return [named[number] for number in sorted(named)], drawn


def _frame(path: Path, data: Any, number: int, size: tuple[int, int]) -> np.ndarray:
    """Pixels of one frame of a segmentation that are drawn on, bool."""
    pixels, bits = size[0] * size[1], int(data.BitsAllocated)
    compressed = data.file_meta.TransferSyntaxUID.is_compressed
    if bits == 1 and not compressed:  # one bit a pixel, frames not cut at bytes
        start, end = number * pixels, (number + 1) * pixels
        stored = np.frombuffer(data.PixelData, np.uint8, -(-end // 8) - start // 8, start // 8)
        flat = np.unpackbits(stored, bitorder="little")[start % 8 :][:pixels]
        return flat.reshape(size).astype(bool)
    if bits == 8 and not compressed:  # probabilities of 0 to 255
        flat = np.frombuffer(data.PixelData, np.uint8, pixels, number * pixels)
        return flat.reshape(size) > (127 if data.get("SegmentationType") == "FRACTIONAL" else 0)
    frames = _decoded(path, data)
    return (frames[number] if frames.ndim == 3 else frames) > 0


def _decoded(path: Path, data: Any) -> np.ndarray:
    from segnosis.data.readers.images import check_bytes

    try:
        parts = [_number(data, name, 1) for name in ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames")]
        check_bytes(float(np.prod(parts, dtype=np.float64)) * int(data.BitsAllocated) / 8, path.stat().st_size)
        pixels: np.ndarray = data.pixel_array
    except Exception as error:  # pydicom and its decoders raise whatever a damaged file leads to
        raise _broken(path, error) from error
    return pixels


def _number(data: Any, name: str, default: int) -> int:
    """A whole number of a header, or the default where it is missing or none."""
    try:
        return int(data.get(name, default) or default)
    except (ValueError, TypeError, OverflowError):
        return default


def _load(path: Path, tags: tuple[str, ...] | None) -> Any:
    """The data set of a file, or of it what `tags` name."""
    try:
        import pydicom
    except ImportError as error:
        raise MissingPackageError("pydicom", purpose="reading DICOM files", extra=NEEDS[1]) from error
    try:
        data = pydicom.dcmread(path, specific_tags=list(tags) if tags else None)
        for name in tags or ():
            data.get(name)  # values are parsed at their first use: here, where errors are met
    except Exception as error:  # pydicom raises whatever a damaged file leads to
        raise _broken(path, error) from error
    return data


def _candidates(folder: Folder) -> list[str]:
    return sorted(_named(folder))


def _named(folder: Folder) -> Iterator[str]:
    for path in folder.paths_by(lambda suffix: not suffix or suffix in _SUFFIXES or suffix[1:].isdigit()):
        name = path.rsplit("/", 1)[-1].lower()
        if name.endswith(_SUFFIXES) or "." not in name or name.replace(".", "").isdigit():
            yield path


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(
        "A DICOM file must be whole and readable.",
        file=path,
        received={"problem": f"{type(error).__name__}: {error}"[:300]},
        cure="Export it again from its archive, or remove it.",
    )
