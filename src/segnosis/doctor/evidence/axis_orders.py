"""Numbers that were put into axes in the wrong order, as by `reshape` where the axes had to be moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence._batch_pairs import pairs_of
from segnosis.doctor.evidence._mask_planes import plane_of

PRICE = "data"

_MOST = 32


@dataclass(frozen=True)
class AxisOrder:
    """Of images or of masks.

    Attributes:
        samples: Arrays compared; those of one value say nothing.
        order: The order of axes in which their numbers are smoothest, other than the one they are in.
        roughness: How rough they are in that order, relative to how they are given: the median over the samples.
        smoother: Share of the samples that are smoother in it.
    """

    samples: int = 0
    order: str = ""
    roughness: float = 1.0
    smoother: float = 0.0


@dataclass(frozen=True)
class AxisOrders:
    """Both.

    Attributes:
        images, masks: What is known of each.
    """

    images: AxisOrder
    masks: AxisOrder


def measure(batches: Sequence[Batch]) -> AxisOrders:
    """Read the numbers of up to 32 samples in every order of axes that a `reshape` confuses with theirs.

    Masks are read as class ids: planes of one-hot masks that are nearly empty are smooth in any order.
    """
    pairs = list(islice(pairs_of(batches), _MOST))
    return AxisOrders(
        _compare([pair.image for pair in pairs if pair.image is not None]),
        _compare([plane_of(pair.mask) for pair in pairs if pair.mask is not None]),
    )


def _compare(arrays: Sequence[np.ndarray]) -> AxisOrder:
    found: dict[str, list[float]] = {}
    for array in arrays:
        values = _alike(np.asarray(array, "float32").reshape(*array.shape[:2], -1))
        for name, (other, given) in _in_other_orders(values).items():
            if given:
                found.setdefault(name, []).append(other / given)
    if not found:
        return AxisOrder()
    order = min(found, key=lambda name: float(np.median(found[name])))
    ratios = np.array(found[order])
    return AxisOrder(len(ratios), order, round(float(np.median(ratios)), 4), round(float(np.mean(ratios < 1)), 4))


def _alike(values: np.ndarray) -> np.ndarray:
    """Every channel on one scale: what scaled them one by one did so after their numbers had been mixed."""
    if values.shape[-1] == 1:
        return values
    return (values - values.mean(axis=(0, 1))) / (values.std(axis=(0, 1)) + 1e-6)


def _in_other_orders(values: np.ndarray) -> dict[str, tuple[float, float]]:
    """Order of axes → mean differences of numbers that are neighbours in it, and of those that are as given.

    Were the channels whole planes, the last number of a pixel would be next to the first of the following pixel. The
    numbers of one pixel are not compared: channels may be copies of each other.
    """
    height, width, channels = values.shape
    orders = {}
    if channels > 1:
        across = float(np.abs(values[:, 1:, 0] - values[:, :-1, -1]).mean())
        orders["channels, height, width"] = across, float(np.abs(np.diff(values, axis=1)).mean())
    if height != width:
        orders["width, height"] = _roughness(values.reshape(width, height, channels)), _roughness(values)
    return orders


def _roughness(values: np.ndarray) -> float:
    """Mean difference of neighbours, down and across."""
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())
