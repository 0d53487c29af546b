"""Programs sick there, in other styles than the checks' own patients: the cause comes first, with a line to type."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from tests.doctor.test_healthy_programs import CHECKS
from tests.patients.sick_programs import PROGRAMS

from segnosis.doctor.case import Batch, Case
from segnosis.doctor.check import find
from segnosis.doctor.examine import Evidence, examine
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Finding, Healthy

SICK = {name: given for name, given in PROGRAMS.items() if given[0].startswith(("PRE",))}


@pytest.mark.parametrize("name", SICK)
def test_the_planted_fault_comes_first(name: str) -> None:
    code, build = SICK[name]
    diagnosis = examine(build(), checks=CHECKS)
    assert diagnosis.cause is not None
    assert diagnosis.cause.code == code
    assert "`" in diagnosis.cause.fix


def test_a_shortcut_around_the_normalization_carries_the_scale_on() -> None:
    batches = squares("ids", scale=255.0, size=32)

    def network(shortcut: bool) -> keras.Model:
        keras.utils.set_random_seed(3)
        inputs = keras.Input(batches[0].x.shape[1:])
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, padding="same")(inputs))
        x = keras.layers.Add()([x, keras.layers.Conv2D(8, 1)(inputs)]) if shortcut else x
        return keras.Model(inputs, keras.layers.Conv2D(3, 1)(keras.layers.ReLU()(x)))

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for shortcut in (False, True):
        case = Case(model=network(shortcut), loss=loss, batches=batches)
        (verdict,) = examine(case, checks=[find("PRE001")]).verdicts
        assert isinstance(verdict, Finding if shortcut else Healthy)


def test_images_are_judged_before_a_frozen_encoder() -> None:
    model = segmenter(3, image_channels=3)
    model.layers[1].trainable = False
    batches = [Batch(np.repeat(batch.x, 3, -1), batch.y) for batch in squares("ids", scale=255.0)]
    found = Evidence(Case(model=model, batches=batches)).get("input_statistics")
    assert found.arriving is not None
    assert found.arriving.high == found.train.high > 200


def test_units_of_their_own_hide_no_proof_that_the_scale_does_harm() -> None:
    batches = [
        Batch(batch.x * np.resize((1.0, 20.0), len(batch.x))[:, None, None, None], batch.y)
        for batch in squares("ids", count=8, scale=255.0)
    ]
    case = Case(model=segmenter(3, "softmax"), loss="sparse_categorical_crossentropy", batches=batches)
    (verdict,) = examine(case, checks=[find("PRE001")]).verdicts
    assert isinstance(verdict, Finding) and verdict.level == "proven"
