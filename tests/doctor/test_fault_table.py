"""A small part of the fault table: one program per family, and healthy ones that have raised false alarms."""

from __future__ import annotations

import pytest
from benchmarks.doctor.catalogue import everything
from benchmarks.doctor.measure import examine

PROGRAMS = {program.name.split("@")[0]: program for program in everything(1, 1, 0)}
SICK = [
    "masks_in_another_order", "masks_transposed", "masks_hold_255", "void_not_ignored", "divided_twice",
    "softmax_over_the_rows", "channel_axis_lost", "the_head_is_frozen", "adadelta_with_a_tiny_rate",
]  # fmt: skip
HEALTHY = ["smoothed_labels", "encoder_frozen_on_purpose", "mixed_precision", "heads_at_three_depths"]


@pytest.mark.one_backend
@pytest.mark.parametrize("name", SICK)
def test_a_planted_fault_is_named_first(name: str) -> None:
    result = examine(PROGRAMS[name])
    assert result.top and result.detected and not result.crashed, result


@pytest.mark.one_backend
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_program_is_left_alone(name: str) -> None:
    result = examine(PROGRAMS[name])
    assert not result.certain and not result.failed and not result.crashed, result
