"""Programs sick there, in other styles than the checks' own patients: the cause comes first, with a line to type."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from tests.doctor.test_healthy_programs import CHECKS
from tests.patients.sick_programs import PROGRAMS

from segnosis.doctor.case import Case
from segnosis.doctor.evidence import heads
from segnosis.doctor.examine import examine
from segnosis.doctor.graph import told
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import Healthy

SICK = {name: given for name, given in PROGRAMS.items() if given[0].startswith(("HED", "LAB"))}


@pytest.mark.parametrize("name", SICK)
def test_the_planted_fault_comes_first(name: str) -> None:
    code, build = SICK[name]
    diagnosis = examine(build(), checks=CHECKS)
    assert diagnosis.cause is not None
    assert diagnosis.cause.code == code
    assert "`" in diagnosis.cause.fix


def test_a_repaired_double_softmax_is_a_note_where_the_backend_repairs_it() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    case = Case(model=segmenter(3, "softmax"), loss=loss, batches=squares("ids"))
    finding = next(finding for finding in examine(case, checks=CHECKS).findings if finding.code == "HED001")
    if keras.backend.backend() == "tensorflow":
        assert (finding.level, finding.severity) == ("suspected", "note")
    else:
        assert (finding.level, finding.severity) == ("proven", "error")
    assert finding.measured["perfect_probabilities_cost"] == pytest.approx(np.log(1 + 2 / np.e), abs=1e-3)


def test_kernels_that_lean_to_one_side_are_no_shift_of_the_output() -> None:
    layer = keras.layers.Conv2D(1, 17, padding="same", use_bias=False)
    model = segmenter(3, before=[layer], size=32)
    leaning = np.zeros((17, 17, 1, 1), "float32")
    leaning[8, 1] = 1.0
    layer.set_weights([leaning])
    case = Case(model=model, batches=squares("ids", size=32), num_classes=3)
    verdict = next(v for v in examine(case, checks=CHECKS).verdicts if v.code == "HED005")
    assert isinstance(verdict, Healthy) and abs(verdict.measured["largest_offset"]) < 1
    np.testing.assert_array_equal(layer.get_weights()[0], leaning)


def test_an_image_on_which_the_network_says_uniform_hides_no_repair() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batches = squares("ids")
    batches[0].x[0] = 0  # without biases the logits are 0 there, and soft-max once or twice costs the same
    diagnosis = examine(Case(model=segmenter(3, "softmax"), loss=loss, batches=batches), checks=CHECKS)
    finding = next(finding for finding in diagnosis.findings if finding.code == "HED001")
    assert finding.measured["repaired_by_backend"] == (keras.backend.backend() == "tensorflow")


@pytest.mark.parametrize(
    ("function", "does"),
    [
        (lambda x: keras.ops.softmax(x, axis=1), ("softmax", -3)),
        (lambda x: keras.ops.softmax(x, axis=-1), ("softmax", -1)),
        (lambda x: 1 / (1 + keras.ops.exp(-x)), ("sigmoid", None)),
        (lambda x: keras.ops.maximum(x, 0.0), ("relu", None)),
        (lambda x: keras.ops.clip(x, -1.0, 1.0), ("clips", None)),
        (lambda x: keras.ops.cast(x > 0, "float32"), ("thresholds", None)),
        (lambda x: keras.ops.argmax(x, axis=-1), ("thresholds", None)),
        (lambda x: keras.ops.reshape(x, (2, -1, 3)), ("passes", None)),
        (lambda x: x, ("linear", None)),
        (lambda x: 3 * x, ("unknown", None)),
    ],
)
def test_an_operation_is_told_by_what_it_does(function: Any, does: tuple[str, int | None]) -> None:
    assert told(function, (None, 8, 8, 3)) == does


def test_the_end_is_found_through_nested_models() -> None:
    inner = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(3, 1, name="top"), keras.layers.Softmax()])
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.Resizing(16, 16)(inner(keras.layers.Conv2D(4, 1)(image))))
    (head,) = heads.measure(model)
    assert [step.does for step in head.steps] == ["linear", "softmax", "passes"]
    assert head.layer == "top"
    assert head.shape == (None, 16, 16, 3)


def test_images_that_are_no_numbers_hide_no_double_softmax() -> None:
    class Hidden(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = segmenter(3, "softmax")

        def call(self, x: Any) -> Any:
            return keras.ops.softmax(self.inner(x))

    model, batches = Hidden(), squares("ids")
    model(batches[0].x)
    batches[0].x[0, :4] = np.nan
    found = examine(
        Case(model=model, loss=keras.losses.SparseCategoricalCrossentropy(), batches=batches), checks=CHECKS
    )
    assert found.cause is not None
    assert found.cause.code == "HED001"
