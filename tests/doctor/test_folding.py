"""What lies under a cause, and what stands beside it."""

from __future__ import annotations

import pytest

from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.examine import merge
from segnosis.doctor.verdict import Finding


def found(code: str, *, independent: bool = False) -> Finding:
    return Finding(says="", measured={}, fix="", code=code, independent=independent)


@pytest.mark.parametrize("independent", [False, True])
def test_what_follows_from_the_configuration_alone_is_explained_by_nothing_else(independent: bool) -> None:
    both = merge(Diagnosis((found("LAB002"),)), Diagnosis((found("OPT002", independent=independent),)))
    assert [finding.code for finding in both.findings] == ["LAB002", "OPT002"]
    assert both.cause is not None and both.cause.code == "LAB002"
    assert both.folded == (frozenset() if independent else {"OPT002"})
