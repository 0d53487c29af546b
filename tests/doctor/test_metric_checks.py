"""Programs sick there, in other styles than the checks' own patients: the cause comes first, with a line to type."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from tests.doctor.test_healthy_programs import CHECKS
from tests.patients.sick_programs import PROGRAMS

from segnosis.doctor.case import Case
from segnosis.doctor.examine import examine
from segnosis.doctor.patients import squares
from segnosis.doctor.verdict import Finding, Healthy

SICK = {name: given for name, given in PROGRAMS.items() if given[0].startswith(("MET",))}


@pytest.mark.parametrize("name", SICK)
def test_the_planted_fault_comes_first(name: str) -> None:
    code, build = SICK[name]
    diagnosis = examine(build(), checks=CHECKS)
    assert diagnosis.cause is not None
    assert diagnosis.cause.code == code
    assert "`" in diagnosis.cause.fix


def test_a_network_of_one_answer_does_not_tell_what_its_metric_gets() -> None:
    """Its outputs are 0 everywhere: logits, perhaps; a metric is wrong only if it is for logits and probabilities."""

    class Dead(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.head = keras.layers.Conv2D(1, 1, kernel_initializer="zeros")

        def call(self, x: Any) -> Any:
            return self.head(x)

    batches = squares("binary", num_classes=2)
    for threshold, says in ((0.0, Healthy), (0.5, Healthy), (40.0, Finding)):
        model = Dead()
        model(batches[0].x)
        metric = keras.metrics.BinaryIoU([1], threshold=threshold)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        found = examine(Case(model=model, loss=loss, metrics=[metric], batches=batches), checks=CHECKS)
        assert isinstance(next(verdict for verdict in found.verdicts if verdict.code == "MET001"), says), threshold
