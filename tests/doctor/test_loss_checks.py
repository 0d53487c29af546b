"""Programs sick there, in other styles than the checks' own patients: the cause comes first, with a line to type."""

from __future__ import annotations

import pytest
from tests.doctor.test_healthy_programs import CHECKS
from tests.patients.sick_programs import PROGRAMS

from segnosis.doctor.examine import examine

SICK = {name: given for name, given in PROGRAMS.items() if given[0].startswith(("LOS",))}


@pytest.mark.parametrize("name", SICK)
def test_the_planted_fault_comes_first(name: str) -> None:
    code, build = SICK[name]
    diagnosis = examine(build(), checks=CHECKS)
    assert diagnosis.cause is not None
    assert diagnosis.cause.code == code
    assert "`" in diagnosis.cause.fix
