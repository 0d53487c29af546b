"""Proof by counterfactual: what it confirms, what it drops, and that nothing given changes."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from segnosis.doctor import counterfactual
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.check import all_checks, find
from segnosis.doctor.counterfactual import Comparison, compare, judge, settle
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.evidence import Unavailable
from segnosis.doctor.examine import examine
from segnosis.doctor.patients import squares
from segnosis.doctor.verdict import Crashed, Finding, Healthy

SUSPECTED = Finding(
    says="Too low, 1e-7.", measured={}, fix="Adam", level="suspected", code="OPT002", name="learning-rate-too-low"
)


def slow_case(rate: float = 1e-7) -> Case:
    image = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(24, 3, padding="same", activation="relu", kernel_initializer="he_normal")(image)
    model = keras.Model(image, keras.layers.Conv2D(2, 1, activation="softmax")(x))
    batches = squares("ids", num_classes=2, count=2)
    bright = [Batch(4 * batch.x, batch.y) for batch in batches]
    return Case(
        model=model, loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.SGD(rate), batches=bright
    )


def test_the_fix_that_wins_is_confirmed_and_the_model_untouched() -> None:
    keras.utils.set_random_seed(3)
    case = slow_case()
    before = [weight.copy() for weight in case.model.get_weights()]
    said: list[tuple[str, int, int | None]] = []
    diagnosis = settle(case, Diagnosis((SUSPECTED,)), progress=lambda *told: said.append(told))
    (finding,) = diagnosis.findings
    assert finding.level == "confirmed" and "Mended on a copy" in finding.says
    assert finding.measured["gain_at_least"] > 0  # type: ignore[operator]
    assert "OPT002" in said[0][0] and said[0][1:] == (0, 6)
    assert all(np.array_equal(old, new) for old, new in zip(before, case.model.get_weights(), strict=True))


def test_a_fix_that_changes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find("OPT002").module, "mend", lambda case: replace(case))
    diagnosis = settle(slow_case(), Diagnosis((SUSPECTED,)))
    (verdict,) = diagnosis.verdicts
    assert isinstance(verdict, Healthy) and verdict.code == "OPT002"


MENDABLE = [check.code for check in all_checks() if hasattr(check.module, "mend") and not check.code.startswith("OUT")]


@pytest.mark.parametrize("code", MENDABLE)
def test_what_a_check_mends_it_finds_no_more(code: str) -> None:
    """An outcome apart: that is mended by training."""
    check = find(code)
    case = check.module.sick()
    before = [weight.copy() for weight in case.model.get_weights()]
    (verdict,) = examine(check.module.mend(case), checks=[check]).verdicts
    assert not isinstance(verdict, Finding | Crashed), verdict
    assert all(np.array_equal(old, new) for old, new in zip(before, case.model.get_weights(), strict=True))


def test_layers_that_are_not_exchanged_keep_their_weights() -> None:
    case = find("NRM002").module.sick()
    mended = find("NRM002").module.mend(case)
    layers = keras.layers
    assert any(isinstance(layer, layers.GroupNormalization) for layer in mended.model.layers)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in mended.model.layers)
    kept = [layer.name for layer in case.model.layers if layer.weights and "norm" not in layer.name]
    for name in kept:
        for old, new in zip(
            case.model.get_layer(name).get_weights(), mended.model.get_layer(name).get_weights(), strict=True
        ):
            assert np.array_equal(old, new)


def test_of_several_it_is_said_which_to_mend_first(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = iter([Comparison((0.1,) * 3, (0.3, 0.31, 0.3), 50), Comparison((0.3,) * 3, (0.9, 0.91, 0.9), 50)])
    monkeypatch.setattr(counterfactual, "compare", lambda *_, **__: next(gains))
    frozen = replace(SUSPECTED, code="NRM003", name="frozen-too-much")
    for code in ("NRM003", "OPT002"):
        monkeypatch.setattr(find(code).module, "mend", lambda case: case)
    first, second = settle(Case(), Diagnosis((frozen, SUSPECTED))).findings
    assert first.code == "NRM003" and first.says.endswith("Mend this first: at a Dice of 0.30, OPT002 remains.")
    assert "nothing is left" in second.says and "gains most" in second.says
    assert second.measured["mended_before"] == ["NRM003"]


def test_without_batches_a_suspicion_stays() -> None:
    diagnosis = settle(replace(slow_case(), batches=None), Diagnosis((SUSPECTED,)))
    assert diagnosis.findings == (SUSPECTED,)


def test_noise_between_seeds_confirms_nothing() -> None:
    verdict = judge(SUSPECTED, Comparison((0.1, 0.6, 0.3), (0.5, 0.5, 0.4), 50))
    assert isinstance(verdict, Finding) and verdict.level == "suspected"


def test_what_was_mended_before_is_said() -> None:
    verdict = judge(SUSPECTED, Comparison((0.1, 0.1, 0.1), (0.5, 0.51, 0.5), 50), ["NRM003"])
    assert isinstance(verdict, Finding) and verdict.level == "confirmed"
    assert "after mending NRM003" in verdict.says and verdict.measured["mended_before"] == ["NRM003"]


def test_too_dear_a_training_is_not_begun() -> None:
    with pytest.raises(Unavailable, match="training step takes"):
        compare(slow_case(), slow_case(), seconds=0.0)


def test_interval_is_students() -> None:
    gains = np.array([0.1, 0.2, 0.4])
    low, high = Comparison((0.0, 0.0, 0.0), tuple(gains), 1).interval
    half = counterfactual._STUDENT[3] * gains.std(ddof=1) / np.sqrt(3)
    assert low == pytest.approx(gains.mean() - half) and high == pytest.approx(gains.mean() + half)
