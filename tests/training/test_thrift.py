"""Short minutes are for steps: what else is done is paid for by what it was measured to take."""

from __future__ import annotations

import pytest

from segnosis.training.pace import Pace
from segnosis.training.plan import Plan
from segnosis.training.thrift import Scoring, recomputing, spared

PACE = Pace(step=0.5, validation=1.0, saving=0.1, pixel=1e-6, compiling=10.0, memory=0)
SCORING = Scoring(held_out=2e6, reviewed=2e6)


def _plan(minutes: float) -> Plan:
    return Plan(data="hearts", minutes=minutes, mirror=True)


@pytest.mark.parametrize(("minutes", "kept"), [(1.0, False), (60.0, True)])
def test_what_is_dear_is_left_out_and_its_price_is_told(minutes: float, kept: bool) -> None:
    plan = spared(_plan(minutes), PACE, SCORING)
    assert plan.mirror is kept
    assert (f"of {60 * minutes:.0f} s" in plan.reasons.get("mirror", "")) is not kept
    assert SCORING.seconds(plan, PACE) <= SCORING.seconds(_plan(minutes), PACE)
    assert (plan.statistics_batches == Plan(data="hearts").statistics_batches) is kept
    assert recomputing(plan, PACE) <= recomputing(_plan(minutes), PACE)


def test_each_thing_is_weighed_by_itself() -> None:
    # Mirror images triple the work: without them a second look at the validation images is cheap enough.
    plan = spared(_plan(2.0), PACE, SCORING)
    assert (plan.mirror, plan.review) == (False, True)
    dear = spared(_plan(2.0), PACE, Scoring(held_out=0.0, reviewed=1e7))
    assert (dear.mirror, dear.review) == (False, False)
    few = spared(_plan(2.0), PACE, Scoring(held_out=1e3, reviewed=0.0))
    assert (few.mirror, few.review) == (True, True)


def test_what_nobody_asked_for_is_not_switched_on() -> None:
    plain = Plan(data="hearts", minutes=60.0, mirror=False, review=False, recompute_statistics=False)
    assert spared(plain, PACE, SCORING) == plain
    assert recomputing(plain, PACE) == 0.0
