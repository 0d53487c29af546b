"""A small part of the fault table: one program per family, and healthy ones that have raised false alarms."""

from __future__ import annotations

import pytest
from benchmarks.doctor.catalogue import FAULTS, HEALTHY, PAIRS, everything, find, sample
from benchmarks.doctor.measure import examine

from segnosis.doctor.check import all_checks

PROGRAMS = {program.name.split("@")[0]: program for program in everything(1, 1, 0)}
SICK = [
    "masks_in_another_order", "masks_hold_255", "void_not_ignored", "divided_twice", "softmax_over_the_rows",
    "the_head_is_frozen",
]  # fmt: skip
UNPLEASANT = ["smoothed_labels", "encoder_frozen_on_purpose", "mixed_precision", "heads_at_three_depths"]
NOT_PLANTED = {
    "PRE003", "PRE004",  # need a backbone with weights of ImageNet, which nothing here may fetch
    "LAB009", "EVA002",  # review lists, not verdicts
    "OUT002",  # said beside a cause: the stories plant it
}  # fmt: skip


@pytest.mark.one_backend
def test_every_fault_is_planted_and_much_is_healthy() -> None:
    shown = [entry for entry in FAULTS if not entry.held_out]
    codes = [entry.codes[0] for entry in shown]
    assert {check.code for check in all_checks()} - set(codes) == NOT_PLANTED
    assert min(codes.count(code) for code in codes) >= 2
    assert len(HEALTHY) >= 60 and len(PAIRS) >= 20


@pytest.mark.one_backend
@pytest.mark.parametrize("held_out", [False, True])
def test_a_random_composition_is_found_by_its_name(held_out: bool) -> None:
    programs = sample(30, 10, 5, seed=1, held_out=held_out)
    assert [program.kind for program in programs].count("compound") == 5
    for program in programs:
        assert program.held_out == held_out
        assert find(program.name) == program


@pytest.mark.one_backend
@pytest.mark.parametrize("name", SICK)
def test_a_planted_fault_is_named_first(name: str) -> None:
    result = examine(PROGRAMS[name])
    assert result.top and result.detected and not result.crashed, result


@pytest.mark.one_backend
@pytest.mark.parametrize("name", UNPLEASANT)
def test_a_healthy_program_is_left_alone(name: str) -> None:
    result = examine(PROGRAMS[name])
    assert not result.certain and not result.failed and not result.crashed, result
