"""What short trials train on: small batches that show foreground, and what guessing costs on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from segnosis.doctor.ask import Raised, ask_loss
from segnosis.doctor.case import Batch
from segnosis.doctor.evidence.encodings import Encoding
from segnosis.doctor.evidence.forward import Output
from segnosis.doctor.evidence.heads import Head
from segnosis.doctor.evidence.reference_numbers import numbers

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
    model: keras.Model,
    batches: Sequence[Batch],
    heads: Sequence[Head],
    encodings: Mapping[str, Encoding],
    forward: Mapping[str, Output],
) -> tuple[float, ...]:
    """What the class frequencies of a batch cost as the answer for each pixel: their entropy, or by an own loss.

    Empty where that is not the whole loss, or targets and outputs are not understood.
    """
    head = heads[0]
    encoding, output = encodings.get(head.name), forward.get(head.name)
    if len(heads) > 1 or model.losses or head.loss is None or encoding is None or output is None:
        return ()
    if encoding.kind not in ("ids", "binary", "one-hot"):
        return ()
    found = []
    for batch in batches:
        y = np.asarray(head.pick(batch.y))
        ids, channels = encoding.ids(y), output.arrays[0].shape[-1]
        known = ids[ids >= 0].astype("int64")
        if batch.sample_weight is not None or not known.size or known.max() >= max(2, channels):
            return ()
        share = np.bincount(known, minlength=max(2, channels)) / known.size
        if head.family in ("sparse", "one-hot", "binary"):  # what it would cost, were the head right for it
            found.append(numbers(tuple(share))["class_prior"])
            continue
        share = np.clip(share, 1e-4, 1.0)
        share = share / share.sum() if channels > 1 else share[1:]
        if output.format in ("logits", "log-probabilities"):
            share = np.log(share) if channels > 1 else np.log(share / (1 - share).clip(1e-4))
        answer = ask_loss(head.loss, y, np.broadcast_to(share, (len(y), *output.arrays[0].shape[1:])))
        if isinstance(answer, Raised) or not np.isfinite(answer):
            return ()
        found.append(answer)
    return tuple(found)


def _rows(batch: Batch, rows: np.ndarray) -> Batch:
    def cut(part: Any) -> Any:
        return None if part is None else keras.tree.map_structure(lambda leaf: np.asarray(leaf)[rows], part)

    return Batch(cut(batch.x), cut(batch.y), cut(batch.sample_weight))
