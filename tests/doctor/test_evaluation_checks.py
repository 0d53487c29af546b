"""Overfitting and biased validation: one bad epoch is none."""

from __future__ import annotations

from segnosis.doctor.case import Case, pairs_from_arrays
from segnosis.doctor.check import find
from segnosis.doctor.examine import examine
from segnosis.doctor.patients import squares
from segnosis.doctor.verdict import AnyVerdict, Finding, Healthy, NotApplicable


def verdict(code: str, case: Case) -> AnyVerdict:
    return examine(case, checks=[find(code)]).verdicts[0]


def test_one_bad_epoch_at_the_end_is_none() -> None:
    train = [0.9**epoch for epoch in range(12)]
    validation = [value + 0.1 for value in train[:-1]] + [2.0]
    assert isinstance(verdict("EVA001", Case(history={"loss": train, "val_loss": validation})), Healthy)


def test_a_noisy_plateau_is_no_overfitting() -> None:
    train = [0.9**epoch for epoch in range(14)]
    validation = [0.5, 0.40, 0.41, 0.42, 0.40, 0.43, 0.41, 0.42, 0.43, 0.41, 0.42, 0.40, 0.43, 0.42]
    assert isinstance(verdict("EVA001", Case(history={"loss": train, "val_loss": validation})), Healthy)


def test_few_epochs_are_not_judged() -> None:
    assert isinstance(verdict("EVA001", Case(history={"loss": [1, 0.5], "val_loss": [1, 2]})), NotApplicable)


def test_crops_are_listed() -> None:
    train, validation = squares("ids", count=2)
    large = squares("ids", size=32)[0]
    case = Case(batches=[train], validation_batches=[validation], pairs=pairs_from_arrays(large.x, large.y))
    found = verdict("EVA002", case)
    assert isinstance(found, Finding) and found.severity == "note" and "25%" in found.says


def test_a_swinging_loss_that_rises_is_overfitting() -> None:
    train = [0.85**epoch for epoch in range(24)]
    validation = [0.3 + 0.85**e + 0.04 * max(0, e - 6) + 0.12 * (-1) ** e for e in range(24)]
    assert isinstance(verdict("EVA001", Case(history={"loss": train, "val_loss": validation})), Finding)
