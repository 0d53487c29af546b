"""What short minutes are spent on: beside the steps, only what is worth them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from segnosis.training.pace import Pace
from segnosis.training.plan import Plan

_SCORING = 0.9
"""Folded, a network predicts a pixel in 0.7 of the time that was measured; reading and counting come on top."""
_WORTH = 0.03
"""Share of the minutes that mirror images, a review of masks or better statistics may take."""
_FEWEST = 8
"""Batches whose mean statistics are steadier than the running means of training."""
_FORWARD = (0.35, 0.04)
"""A batch there and not back takes that share of a step and, layer by layer as it goes, that of a compilation."""


@dataclass(frozen=True)
class Scoring:
    """Pixels to predict when training is over, each counted once.

    Attributes:
        held_out: Of the held-out images.
        reviewed: Of the validation images whose masks are looked through for doubtful ones.
    """

    held_out: float = 0.0
    reviewed: float = 0.0

    def seconds(self, plan: Plan, pace: Pace) -> float:
        """What it takes to predict them as `plan` says."""
        pixels = self.held_out + (self.reviewed if plan.review else 0.0)
        return _SCORING * pixels * pace.pixel * (3 if plan.mirror else 1)


def recomputing(plan: Plan, pace: Pace) -> float:
    """Seconds to recompute the statistics of BatchNormalization, and to see whether that helped."""
    return pace.validation + plan.statistics_batches * _forward(pace) if plan.recompute_statistics else 0.0


def spared(plan: Plan, pace: Pace, scoring: Scoring) -> Plan:
    """`plan` without what would take too much of its minutes; each reason says what it would have taken.

    Args:
        plan: A plan with `minutes`.
        pace: What was measured on this machine.
        scoring: What is to be predicted in the end.
    """
    budget = 60.0 * (plan.minutes or math.inf)
    for name, what in (("mirror", "mirror images"), ("review", "predicting validation images once more")):
        change: dict[str, Any] = {name: False}
        without = plan.with_(**change)
        seconds = scoring.seconds(plan, pace) - scoring.seconds(without, pace)
        if seconds > _WORTH * budget:
            reason = f"{what} would take {seconds:.0f} of {budget:.0f} s, which more steps are worth more"
            plan = without.with_({name: reason})
    batches = int(_WORTH * budget / _forward(pace))
    if plan.recompute_statistics and batches < plan.statistics_batches:
        reason = f"no more than {_WORTH:.0%} of the minutes"
        plan = plan.with_({"statistics_batches": reason}, statistics_batches=max(_FEWEST, batches))
    return plan


def _forward(pace: Pace) -> float:
    return _FORWARD[0] * pace.step + _FORWARD[1] * pace.compiling
