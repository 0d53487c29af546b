"""Programs sick there, in other styles than the checks' own patients: the cause comes first, with a line to type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import ops
from tests.doctor.test_healthy_programs import CHECKS
from tests.patients.sick_programs import PROGRAMS

from segnosis.doctor.case import Case
from segnosis.doctor.check import find
from segnosis.doctor.examine import examine
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding

SICK = {name: given for name, given in PROGRAMS.items() if given[0].startswith(("LOS",))}


@pytest.mark.parametrize("name", SICK)
def test_the_planted_fault_comes_first(name: str) -> None:
    code, build = SICK[name]
    diagnosis = examine(build(), checks=CHECKS)
    assert diagnosis.cause is not None
    assert diagnosis.cause.code == code
    assert "`" in diagnosis.cause.fix


def _jaccard(axes: tuple[int, ...], smooth: float) -> Any:
    def jaccard(y_true: Any, y_pred: Any) -> Any:
        overlap = ops.sum(y_true * y_pred, axes)
        return ops.mean(1 - (overlap + smooth) / (ops.sum(y_true + y_pred, axes) - overlap + max(smooth, 1e-7)))

    return jaccard


def _focal(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(y_true * (1 - y_pred) ** 2 * -ops.log(ops.clip(y_pred, 1e-6, 1.0)))


@pytest.mark.parametrize(
    ("loss", "is_blind"),
    [
        (_jaccard((1, 2), 0.0), True),
        (_jaccard((1, 2), 1.0), False),
        (_jaccard((0, 1, 2), 0.0), False),
        ("categorical_crossentropy", False),
        (_focal, False),
    ],
    ids=["per image and class", "smoothed", "over the batch", "entropy", "focal: only the background has a slope"],
)
def test_a_loss_that_charges_for_absent_classes_is_told_from_those_that_do_not(loss: Any, is_blind: bool) -> None:
    batches = []
    for batch in squares("one-hot"):
        y = np.array(batch.y)
        y[1:, ..., 0] += y[1:, ..., 1:].sum(-1)  # every image but the first is of background alone
        y[1:, ..., 1:] = 0
        batches.append(replace(batch, y=y))
    case = Case(model=segmenter(3, "softmax"), loss=loss, batches=tuple(batches))
    verdict = examine(case, checks=[find("LOS005")]).verdicts[0]
    assert isinstance(verdict, Finding) == is_blind
