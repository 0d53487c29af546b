"""The doctor on a data set alone: no model, no Keras, one pass over the files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from segnosis.core.errors import DataError
from segnosis.core.sample import Pair
from segnosis.data.dataset import Dataset, Pairs
from segnosis.data.labels import Census
from segnosis.data.scan import Accumulator
from segnosis.doctor.case import Case
from segnosis.doctor.check import Check, all_checks
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.examine import Evidence, Progress, examine

_OF_A_MODEL = ("model", "batches", "loss", "heads", "encodings", "predictions", "loss_gradients")
"""What a folder does not have. Said beforehand, so that Keras is not loaded to find it out."""


def check_data(
    dataset: Dataset,
    *,
    splits: Mapping[str, Sequence[str]] | None = None,
    progress: Progress | None = None,
    beside: Sequence[Accumulator] = (),
) -> Diagnosis:
    """Examine images, masks and splits of a data set.

    Args:
        dataset: What `segnosis.data.open` gave.
        splits: Split name → sample ids; the layout's own when left out.
        progress: Called with (what, done, total) while files are read.
        beside: Further accumulators, such as a fingerprint's, fed in the same pass.

    Returns:
        The verdicts of all checks of data and labels. An unreadable file is a finding, not an error.
    """
    start = time.perf_counter()
    census = Census()
    known = dict(splits) if splits is not None else dict(dataset.splits)
    pairs = _Observed(dataset.pairs(), (census, *beside))
    case = Case(pairs=pairs, splits=known or None, num_samples=len(dataset))
    checks = tuple(check for check in all_checks("data", "labels") if _looks_at_data(check))
    evidence = Evidence(case, progress=progress, without=dict.fromkeys(_OF_A_MODEL, "no model was given"))
    evidence.prepare(name for check in checks for name in (*check.needs, *check.wants))
    with suppress(DataError):  # no mask could be read: DAT004 has every file and its reason
        evidence.case = replace(case, spec=dataset.adopt(census))
    return replace(
        examine(evidence.case, checks=checks, evidence=evidence), seconds=round(time.perf_counter() - start, 3)
    )


def _looks_at_data(check: Check) -> bool:
    return not set(_OF_A_MODEL) & set(check.needs)


class _Observed:
    """Pairs on their way to the doctor, seen by others too: one pass serves all."""

    def __init__(self, pairs: Pairs, observers: Sequence[Accumulator]) -> None:
        self._pairs, self._observers = pairs, observers

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[Pair]:
        for pair in self._pairs:
            for observer in self._observers:
                observer.add(pair)
            yield pair
