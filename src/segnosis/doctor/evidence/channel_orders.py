"""Whether the images of one pipeline have the channels of the other in another order.

What is compared of the channels does not change when each is scaled and shifted by itself, as standardizing does: the
correlations between them, their skewness, the weight of their tails and their roughness.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from segnosis.core.sample import Pair
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.evidence._batch_pairs import pairs_of

PRICE = "data"

_MOST = 64
_FEWEST = 8
_MOST_CHANNELS = 6


@dataclass(frozen=True)
class ChannelOrders:
    """Training against validation batches.

    Attributes:
        samples: Images looked at, training and validation.
        order: The order of the validation's channels that fits the training's best.
        as_given: How far apart the two are as they are: the mean square of the differences, in standard errors.
        in_order: How far apart in that order; about 1 where nothing else differs.
    """

    samples: tuple[int, int]
    order: tuple[int, ...]
    as_given: float
    in_order: float


def measure(
    batches: Sequence[Batch], validation_batches: Sequence[Batch], heads: Sequence[Any] | None = None
) -> ChannelOrders:
    """Compare at most 64 images of each; raises `Unavailable` where they have fewer than three channels, or differ."""
    train = _described(pairs_of(batches, heads, split="train"))
    validation = _described(pairs_of(validation_batches, heads, split="validation"))
    if train.shape[1:] != validation.shape[1:]:
        raise Unavailable("training and validation images have different channels")
    channels = train.shape[-1]
    own = {order: _apart(train, validation, order) for order in _orders(channels)}
    best = min(own, key=lambda order: own[order])
    return ChannelOrders((len(train), len(validation)), best, own[tuple(range(channels))], own[best])


def _orders(channels: int) -> list[tuple[int, ...]]:
    """As given, turned round, and with two of them exchanged."""
    given = tuple(range(channels))
    found = {given: None, given[::-1]: None}
    for one, other in combinations(given, 2):
        exchanged = list(given)
        exchanged[one], exchanged[other] = other, one
        found[tuple(exchanged)] = None
    return list(found)


def _described(pairs: Iterable[Pair]) -> np.ndarray:
    """`(images, 3 + channels, channels)`: three numbers of each channel, and its correlation with each."""
    rows: list[np.ndarray] = []
    for pair in pairs:
        row = _numbers(np.asarray(pair.image, np.float64)) if pair.image is not None else None
        if row is not None:
            rows.append(row)
        if len(rows) == _MOST:
            break
    if len(rows) < _FEWEST:
        raise Unavailable(f"{len(rows)} images of three channels or more are too few to compare their order")
    return np.stack(rows)


def _numbers(image: np.ndarray) -> np.ndarray | None:
    if image.ndim != 3 or not 3 <= image.shape[-1] <= _MOST_CHANNELS or not np.isfinite(image).all():
        return None
    pixels = image.reshape(-1, image.shape[-1])
    spread = pixels.std(axis=0)
    if (spread <= 1e-6 * (1 + np.abs(pixels).max())).any():
        return None
    plain = (pixels - pixels.mean(axis=0)) / spread
    planes = plain.reshape(image.shape)
    rough = (np.diff(planes, axis=0) ** 2).mean((0, 1)) + (np.diff(planes, axis=1) ** 2).mean((0, 1))
    alike = np.arctanh(np.clip(plain.T @ plain / len(plain), -0.999, 0.999))
    np.fill_diagonal(alike, 0.0)
    tails = np.log((plain**4).mean(axis=0))
    return np.stack([(plain**3).mean(axis=0), tails, np.log(rough + 1e-9), *alike])


def _apart(train: np.ndarray, validation: np.ndarray, order: tuple[int, ...]) -> float:
    turned = validation[..., list(order)]
    turned = np.concatenate([turned[:, :3], turned[:, 3:][:, list(order)]], axis=1)
    error = train.var(axis=0) / len(train) + turned.var(axis=0) / len(turned)
    apart = (train.mean(axis=0) - turned.mean(axis=0)) ** 2 / np.maximum(error, 1e-12)
    differs = error > 1e-12
    return float(apart[differs].mean()) if differs.any() else 0.0
