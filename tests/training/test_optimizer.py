"""The optimizer: a schedule that can be told the pace anew, averages and accumulated gradients as the formulas say."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from segnosis.training.optimizer import averaged, end_in, optimizer, schedule, share_done
from segnosis.training.plan import Plan


def _plan(**changes: Any) -> Plan:
    settings = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.0, "schedule": "constant"}
    return Plan(data="hearts", **{**settings, **changes})


def _number(value: Any) -> float:
    return float(keras.ops.convert_to_numpy(value))


def _stepped(plan: Plan, gradients: list[float]) -> tuple[Any, keras.Variable, list[float]]:
    made = optimizer(plan, steps=len(gradients))
    weight = keras.Variable(1.0)
    made.build([weight])
    values = []
    for gradient in gradients:
        made.apply([keras.ops.convert_to_tensor(gradient)], [weight])
        values.append(_number(weight))
    return made, weight, values


def test_the_averaged_weights_are_the_running_mean_and_only_lent() -> None:
    made, weight, values = _stepped(_plan(average=0.8), [0.3, -0.2, 0.5, 0.1])
    mean = values[0]
    for value in values[1:]:
        mean = 0.8 * mean + 0.2 * value
    with averaged(made):
        assert _number(weight) == pytest.approx(mean, rel=1e-5)
    assert _number(weight) == values[-1]
    made.finalize_variable_values([weight])  # what Keras calls when a fit ends
    assert _number(weight) == values[-1]


def test_accumulated_batches_make_one_update_of_their_mean_and_one_step_of_the_average() -> None:
    gradients = [0.3, 0.1, -0.2, 0.6, 0.5, 0.5]
    pairs = [(a + b) / 2 for a, b in zip(gradients[::2], gradients[1::2], strict=True)]
    made, weight, values = _stepped(_plan(average=0.8, accumulate=2), gradients)
    _, _, expected = _stepped(_plan(), pairs)
    assert values[1::2] == pytest.approx(expected, rel=1e-5)
    mean = expected[0]
    for value in expected[1:]:
        mean = 0.8 * mean + 0.2 * value
    with averaged(made):
        assert _number(weight) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("kind", ["cosine", "polynomial"])
def test_a_schedule_told_to_end_sooner_goes_on_where_it_is_and_ends_there(kind: str) -> None:
    plan = _plan(schedule=kind)
    made = optimizer(plan, steps=100)
    made.build([keras.Variable(1.0)])
    made._iterations.assign(40)
    before = _number(made.learning_rate)
    end_in(made, 20)
    assert _number(made.learning_rate) == pytest.approx(before, rel=1e-4)
    made._iterations.assign(50)
    assert share_done(made) == pytest.approx(0.7, abs=1e-5)
    assert _number(made.learning_rate) == pytest.approx(_number(schedule(plan, steps=100)(70)), rel=1e-3)
    made._iterations.assign(60)
    assert _number(made.learning_rate) == pytest.approx(_number(schedule(plan, steps=100)(100)), abs=1e-6)


def test_the_cosine_is_the_published_one_after_a_linear_warm_up() -> None:
    rate = schedule(_plan(schedule="cosine", warmup_share=0.1), steps=200)
    for step in (0, 7, 20, 21, 90, 199, 200):
        share = step / 200
        rising = 0.1 * (0.05 + 0.95 * share / 0.1)
        falling = 0.1 * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * (share - 0.1) / 0.9)))
        assert _number(rate(step)) == pytest.approx(rising if step < 20 else falling, rel=1e-4)
