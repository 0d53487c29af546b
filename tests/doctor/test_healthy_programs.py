"""The model's side of the doctor is silent on healthy programs, however unpleasant they look."""

from __future__ import annotations

import pytest
from tests.patients.healthy_programs import PROGRAMS

from segnosis.doctor.check import all_checks
from segnosis.doctor.examine import examine
from segnosis.doctor.verdict import Crashed

CHECKS = [
    check
    for check in all_checks()
    if check.code[:3] in ("PRE", "HED", "LOS", "MET") or check.code in ("LAB002", "LAB007")
]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_healthy_program_yields_no_finding(name: str) -> None:
    diagnosis = examine(PROGRAMS[name](), checks=CHECKS)
    assert diagnosis.findings == ()
    assert [verdict for verdict in diagnosis.verdicts if isinstance(verdict, Crashed)] == []
