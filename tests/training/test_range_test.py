"""The range test stops where training breaks, and stays well below that."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from segnosis import data
from segnosis.data import phantom
from segnosis.training.plan import Plan
from segnosis.training.range_test import STEPS, chosen, measure, smoothed

pytestmark = pytest.mark.filterwarnings("ignore:.*os.fork.*:DeprecationWarning")


def test_a_tenth_of_the_rate_of_the_lowest_loss_is_chosen_and_what_exploded_left_out() -> None:
    rates = np.geomspace(1e-5, 1.0, 51)
    losses = [1.0 - 0.01 * step if step < 40 else 50.0 for step in range(51)]
    found = chosen(rates, [*losses[:45], math.nan])
    assert found.rate == pytest.approx(rates[39] / 10, rel=0.06)  # two digits
    assert len(found.losses) == 45
    assert "range test" in str(found)


def test_a_smoothed_loss_is_the_weighted_mean_of_those_before() -> None:
    losses = [3.0, 1.0, 2.0]
    weights = [0.9**2, 0.9, 1.0]
    assert smoothed(losses)[-1] == pytest.approx(np.average(losses, weights=weights))


def test_a_range_test_is_the_same_twice_and_inside_its_rates(tmp_path: Path) -> None:
    hearts = phantom.write(tmp_path / "hearts", subjects=4, size=32, slices=2)
    train = data.split(data.open(hearts), seed=0)[0]
    plan = Plan(data="hearts", size=(32, 32), batch_size=2, model_arguments={"width": 2, "depth": 1})
    told: list[tuple[int, int]] = []
    first = measure(plan, train, progress=lambda done, total: told.append((done, total)))
    assert first == measure(plan, train)
    assert 1e-6 <= first.rate < 1.0
    assert told[-1][1] == STEPS and len(first.losses) <= STEPS
