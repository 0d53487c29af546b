"""`label_census` after the user's pipeline: the targets as the loss gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import targets_of
from segnosis.doctor.evidence._mask_look import look
from segnosis.doctor.evidence._mask_planes import as_plane, plane_of
from segnosis.doctor.evidence.label_census import LabelCensus
from segnosis.doctor.evidence.label_census import Scan as Census
from segnosis.doctor.evidence.label_space import LabelSpace

PRICE = "data"


@dataclass(frozen=True)
class TargetCensus:
    """The targets of the first batches.

    Attributes:
        samples: Samples looked at.
        shape: Shape of the first batch's target.
        dtype: Its type.
        form: `"ids"` (one plane), `"one-hot"` (a plane per class that sum to 1 or to one value), `"planes"` (several
            independent planes) or `"colour"` (three or four planes that are no classes).
        planes: Number of planes, 1 for ids.
        census: Values; of a one-hot target the ids that it encodes.
        minimum, maximum: Over all planes as they are.
        distinct: Distinct values over all planes, counted up to 64.
        empty_planes: Planes of independent ones that are 0 in every sample.
        unscaled_planes: Planes of independent ones that hold 0 and one value above 1.
        marked: Pixels that some mask marks, and pixels that one marks on average, as shares of a mask: about the same
            where all mark one place. `None` where masks differ in size.
        masked: Pixels with sample weight 0, left out of `census`, unless that would leave one value in every mask:
            then it is the weights that are wrong, not the masks.
    """

    samples: int
    shape: tuple[int, ...]
    dtype: str
    form: Literal["ids", "one-hot", "planes", "colour"]
    planes: int
    census: LabelCensus
    minimum: float
    maximum: float
    distinct: int
    masked: int
    empty_planes: tuple[int, ...] = ()
    unscaled_planes: tuple[int, ...] = ()
    marked: tuple[float, float] | None = None


def measure(batches: Sequence[Batch], label_space: LabelSpace, heads: Sequence[Any] | None = None) -> TargetCensus:
    """Take the census of the batches' targets; raises `Unavailable` when there is no target that is a mask."""
    targets = [targets_of(batch, heads) for batch in batches]
    found = [target for target in targets if target is not None and target.size]
    if not found:
        raise Unavailable("no target of the batches is a mask")
    first = found[0]
    planes = first.shape[-1] if first.ndim == 4 else 1
    exclusive = any(step.does == "softmax" for step in getattr((heads or (None,))[0], "steps", ()))
    form = _form(found, planes, label_space, exclusive)
    values: set[float] = set()
    for target in found:
        if len(values) < 64:
            values.update(np.unique(target[:, ::4, ::4])[:64].tolist())
    census, masked = _counted(batches, targets, form, True)
    if masked and _says_nothing(census):
        census, masked = _counted(batches, targets, form, False)
    finite = [target[np.isfinite(target)] for target in found]
    return TargetCensus(
        samples=sum(len(target) for target in found),
        shape=tuple(first.shape),
        dtype=str(first.dtype),
        form=form,
        planes=planes,
        census=census,
        minimum=float(min((part.min() for part in finite if part.size), default=0.0)),
        maximum=float(max((part.max() for part in finite if part.size), default=0.0)),
        distinct=len(values),
        masked=masked,
        marked=_marked(found, form),
        empty_planes=()
        if form != "planes"
        else tuple(plane for plane in range(planes) if not any(target[..., plane].any() for target in found)),
        unscaled_planes=()
        if form != "planes"
        else tuple(plane for plane in range(planes) if _is_unscaled([target[..., plane] for target in found])),
    )


def _is_unscaled(plane: Sequence[np.ndarray]) -> bool:
    """Two values, 0 and more than 1: void would lie beside ones."""
    values = {float(value) for part in plane for value in np.unique(part)[:3]}
    return len(values) == 2 and min(values) == 0.0 and max(values) > 1.0


def _counted(
    batches: Sequence[Batch], targets: Sequence[np.ndarray | None], form: str, weighed: bool
) -> tuple[LabelCensus, int]:
    """The census, and how many pixels of weight 0 it leaves out."""
    census, masked = Census(), 0
    for number, (batch, target) in enumerate(zip(batches, targets, strict=True)):
        if target is None:
            continue
        weights = _weights(batch, target) if weighed else None
        for row, mask in enumerate(target):
            plane = plane_of(mask) if form in ("one-hot", "ids") else mask
            where = f"batch {number}, sample {row}"
            if weights is not None and plane.ndim == 2 and not (weights[row] > 0).all():
                kept = weights[row] > 0
                masked += int(kept.size - kept.sum())
                if not kept.any():
                    continue
                plane = np.where(kept, plane, plane[kept].flat[0])
            census.add_look(look(plane), where, None, plane.shape)
    return census.result(), masked


def _says_nothing(census: LabelCensus) -> bool:
    """Whether every mask holds one and the same value."""
    return len(census.values) <= 1


def _form(
    targets: Sequence[np.ndarray], planes: int, space: LabelSpace, exclusive: bool
) -> Literal["ids", "one-hot", "planes", "colour"]:
    if planes == 1:
        return "ids"
    sums = [target[:, ::2, ::2].astype(np.float64).sum(-1) for target in targets]
    top = max(float(np.nanmax(target)) for target in targets)
    level = top if top > 0 else 1.0
    if all(np.allclose(part, level, rtol=1e-3) for part in sums):
        return "one-hot"
    if exclusive and planes == space.channels and all(np.isin(part, (0, level)).all() for part in sums):
        return "one-hot"  # behind a softmax, rows of zeros are pixels without a class
    if planes == space.channels and _each_its_own_mark(targets):
        return "planes"
    whole = all(np.array_equal(part := target[:, ::2, ::2], np.floor(part)) and part.min() >= 0 for target in targets)
    if planes in (3, 4) and (planes != space.channels or (top > 1.5 and whole)):
        return "colour"
    if all(as_plane(target[0])[1] == "copies" for target in targets) and planes in (3, 4) and planes != space.channels:
        return "colour"
    return "planes"


def _marked(targets: Sequence[np.ndarray], form: str) -> tuple[float, float] | None:
    if len({target.shape[1:] for target in targets}) > 1:
        return None
    planes = [target.argmax(-1) if form == "one-hot" else target.reshape(*target.shape[:3], -1) for target in targets]
    values, counts = np.unique(planes[0], return_counts=True)
    marks = [plane != values[counts.argmax()] for plane in planes]
    marks = [mark.any(axis=-1) if mark.ndim == 4 else mark for mark in marks]
    anywhere = np.any([mark.any(axis=0) for mark in marks], axis=0)
    return float(anywhere.mean()), float(np.mean([mark.mean() for mark in marks]))


def _each_its_own_mark(targets: Sequence[np.ndarray]) -> bool:
    """Whether every plane holds 0 and one other value, and another one than the other planes: bits, not colours."""
    marks = [{float(value) for part in targets for value in np.unique(part[..., plane])[:3]} - {0.0}
             for plane in range(targets[0].shape[-1])]  # fmt: skip
    return all(len(mark) == 1 for mark in marks) and len(set.union(*marks)) == len(marks)


def _weights(batch: Batch, target: np.ndarray) -> np.ndarray | None:
    """Weights per pixel `(batch, height, width)`, where the batch has such."""
    weights = batch.sample_weight
    if weights is None or isinstance(weights, dict | list | tuple):
        return None
    array = np.asarray(weights)
    array = array[..., 0] if array.ndim == 4 and array.shape[-1] == 1 else array
    if array.ndim == 2 and array.shape[1] == target.shape[1] * target.shape[2]:
        array = array.reshape(target.shape[:3])
    return array if array.shape == target.shape[:3] else None
