"""One NIfTI volume: opened, turned to planes, and planes written on the grid of another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.errors import DataError

MAX_VOXELS = 1 << 31


def opened(path: Path, **how: Any) -> Any:
    """A volume as nibabel opens it, its voxels unread; `how` as `nibabel.load` takes it.

    Raises:
        DataError: It is damaged, or not a volume of real numbers.
    """
    import nibabel

    try:
        image: Any = nibabel.load(path, **how)
        shape = tuple(int(size) for size in image.shape)
    except Exception as error:  # nibabel raises whatever a damaged header leads to
        raise _broken(path, error) from error
    if not 2 <= len(shape) <= 4 or min(shape) < 1 or int(np.prod(shape, dtype=np.float64)) > MAX_VOXELS:
        raise DataError(
            "A NIfTI volume has 3 dimensions, or 4 with time or channels last.",
            file=path,
            received={"shape": shape},
            cure="Save it as (x, y, slices) or (x, y, slices, frames).",
        )
    if (kind := image.get_data_dtype()).kind not in "biuf":
        raise DataError(
            "A voxel of a NIfTI volume is one real number.",
            file=path,
            received={"data type": " ".join(kind.names) if kind.names else kind.name},
            cure="Save colours as a fourth axis of channels, and complex values as their magnitude.",
        )
    return image


def voxels(path: Path, image: Any) -> np.ndarray:
    """All voxels of an opened volume, as they are scaled by its header."""
    try:
        return np.asanyarray(image.dataobj)
    except Exception as error:  # truncated gzip streams, short files and wrong types each raise their own
        raise _broken(path, error) from error


def in_order(path: Path, image: Any, planes: int, frames: int) -> Iterator[np.ndarray]:
    """So many planes of an opened volume whose slice axis is the last in space, each read as it is asked for."""
    for plane in range(planes):
        frame, k = divmod(plane, image.shape[2])
        at = (slice(None), slice(None), k, *([frame] if frames else []))
        try:
            pixels = np.asanyarray(image.dataobj[at])
        except Exception as error:  # truncated gzip streams, short files and wrong types each raise their own
            raise _broken(path, error) from error
        yield pixels.T


def slice_axis(image: Any) -> int:
    """The slice axis of an opened volume: the one of clearly the widest spacing, else the last."""
    zooms = [float(zoom) for zoom in image.header.get_zooms()[:3]]
    if len(zooms) < 3:
        return 2
    widest = int(np.argmax(zooms))
    return widest if zooms[widest] > 1.2 * sorted(zooms)[1] else 2


def frames_of(shape: tuple[int, ...], axis: int, planes: int) -> int:
    """Frames of a volume of `shape`, of which an entry has so many `planes`; 0 where a fourth axis holds channels."""
    return int(shape[3]) if len(shape) == 4 and shape[3] > 1 and planes == shape[axis] * shape[3] else 0


def as_planes(volume: np.ndarray, axis: int, frames: int) -> np.ndarray:
    """Planes `(planes, height, width[, channels])` of a volume; frame after frame where a fourth axis is of time."""
    if volume.ndim == 2:
        return volume.T[None]
    if volume.ndim == 4 and volume.shape[3] == 1:
        volume = volume[..., 0]
    first = np.moveaxis(volume, axis, 0)  # (planes, x, y[, frames or channels])
    if volume.ndim == 3:
        return np.swapaxes(first, 1, 2)
    if not frames:
        return np.swapaxes(first, 1, 2)
    by_frame = np.swapaxes(np.moveaxis(first, 3, 0), 2, 3)
    return by_frame.reshape(-1, *by_frame.shape[2:])


def write_mask(path: Path, planes: np.ndarray, like: Path) -> Path:
    """Write predicted planes `(planes, height, width)` as a volume on the grid of `like`: same shape and affine."""
    return _save(path, _on_grid(np.asarray(planes, dtype=np.uint8), like), like)


def write_planes(path: Path, planes: Iterable[np.ndarray], like: Path) -> Path:
    """`write_mask` of planes as they come, for a volume that `read_planes` reads."""
    from nibabel.openers import ImageOpener

    image = _like(np.broadcast_to(np.uint8(0), opened(like).shape), like)
    image.update_header()
    image.header.set_slope_inter(1, 0)  # an image forgets it: saving one finds it anew
    path.parent.mkdir(parents=True, exist_ok=True)
    with ImageOpener(str(path), "wb") as file:
        image.header.write_to(file)
        file.write(bytes(image.header.get_data_offset() - file.tell()))
        for plane in planes:
            file.write(np.ascontiguousarray(plane, np.uint8).tobytes())
    return path


def write_probabilities(path: Path, planes: np.ndarray, like: Path) -> Path:
    """Write `(planes, height, width, num_classes)` float32 on the grid of `like`, the classes along a last axis."""
    classes = [_on_grid(np.asarray(planes[..., k], np.float32), like) for k in range(planes.shape[-1])]
    return _save(path, np.stack(classes, axis=-1), like)


def _on_grid(volume: np.ndarray, like: Path) -> np.ndarray:
    """Planes `(planes, height, width)` turned to the axes of the volume `like`."""
    source = opened(like)
    axis = slice_axis(source)
    if frames := frames_of(source.shape, axis, len(volume)):
        volume = volume.reshape(frames, -1, *volume.shape[1:])
        return np.moveaxis(np.swapaxes(volume, 2, 3), (0, 1), (3, axis))
    return np.moveaxis(np.swapaxes(volume, 1, 2), 0, axis) if len(source.shape) > 2 else volume[0].T


def _save(path: Path, volume: np.ndarray, like: Path) -> Path:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(_like(np.ascontiguousarray(volume), like), path)
    return path


def _like(volume: np.ndarray, like: Path) -> Any:
    """`volume` with the affine and header of the volume `like`, its values as they are."""
    import nibabel

    source = opened(like)
    header = source.header.copy()
    header.set_data_dtype(volume.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0  # the brightness that the image is shown with
    return nibabel.Nifti1Image(volume, source.affine, header)


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(
        "A NIfTI file must be whole and readable.",
        file=path,
        received={"problem": f"{type(error).__name__}: {error}"},
        cure="Copy it again from its source, or remove it together with its mask.",
    )
