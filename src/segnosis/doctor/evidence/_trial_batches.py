"""What short trials train on: small batches that show foreground, and what guessing costs on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from segnosis.doctor.case import Batch
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.heads import Head

_PIXELS = 2 * 128 * 128


def few_with_foreground(
    batches: Sequence[Batch], heads: Sequence[Head], encodings: Mapping[str, Encoding], wanted: int
) -> list[Batch]:
    """So many small batches of samples that show something."""
    pixels = int(np.prod(np.shape(keras.tree.flatten(batches[0].x)[0])[1:3])) or 1
    count = max(1, min(4, _PIXELS // pixels))
    head = next((head for head in heads if head.name in encodings and encodings[head.name].kind != "other"), None)
    found = []
    for index, batch in enumerate(list(batches)[: 4 * wanted]):
        size = len(keras.tree.flatten(batch.x)[0])
        order = np.arange(size)
        if head is not None and index < len(encodings[head.name].arrays):
            encoding = encodings[head.name]
            ids = encoding.ids(encoding.arrays[index])
            shown = (ids > 0).reshape(len(ids), -1).mean(axis=1)
            order = np.argsort(-shown, kind="stable")
        for start in range(0, size, count):
            chosen = order[start : start + count]
            if len(chosen) == min(count, size) and (start == 0 or len(batches) < wanted):
                found.append(_rows(batch, chosen))
        if len(found) >= wanted:
            break
    return found[:wanted]


def guessing(
    model: keras.Model, batches: Sequence[Batch], heads: Sequence[Head], encodings: Mapping[str, Encoding]
) -> tuple[float, ...]:
    """Entropy of the class frequencies of each batch, where that is what a constant answer costs."""
    head = heads[0]
    encoding = encodings.get(head.name)
    plain = len(heads) == 1 and head.family in ("sparse", "one-hot", "binary") and not model.losses
    if not plain or encoding is None or encoding.kind not in ("ids", "binary", "one-hot"):
        return ()
    found = []
    for batch in batches:
        ids = encoding.ids(np.asarray(head.pick(batch.y)))
        if (ids < 0).any() or batch.sample_weight is not None:
            return ()
        share = np.bincount(ids.ravel()) / ids.size
        found.append(float(-np.sum(share[share > 0] * np.log(share[share > 0]))))
    return tuple(found)


def _rows(batch: Batch, rows: np.ndarray) -> Batch:
    def cut(part: Any) -> Any:
        return None if part is None else keras.tree.map_structure(lambda leaf: np.asarray(leaf)[rows], part)

    return Batch(cut(batch.x), cut(batch.y), cut(batch.sample_weight))
