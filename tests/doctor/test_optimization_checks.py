"""Step sizes, gradients, dead units, broken numbers: on stock optimizers, schedules and odd but right networks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from segnosis.doctor.case import Case
from segnosis.doctor.check import find
from segnosis.doctor.evidence import rate_trials
from segnosis.doctor.evidence.planned_training import highest_rate, measure
from segnosis.doctor.examine import Evidence, examine
from segnosis.doctor.patients import segmenter, squares
from segnosis.doctor.verdict import AnyVerdict, Finding, Healthy, NotApplicable

FIT = {"epochs": 10, "steps_per_epoch": 30}


def verdict(code: str, case: Case) -> AnyVerdict:
    return examine(case, checks=[find(code)]).verdicts[0]


def case_of(optimizer: Any, model: keras.Model | None = None, **given: Any) -> Case:
    given = {"fit_arguments": FIT, **given}
    model = model or segmenter(3, "softmax")
    loss = "sparse_categorical_crossentropy"
    return Case(model=model, loss=loss, optimizer=optimizer, batches=squares("ids", count=3), **given)


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD(0.1), keras.optimizers.Adadelta(1e-4)])
def test_the_reach_is_an_upper_bound_of_what_training_moves(optimizer: keras.optimizers.Optimizer) -> None:
    case = case_of(optimizer)
    reach = Evidence(case).get("planned_movement")
    model = case.model
    before = {v.path: np.asarray(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables}
    model.compile(type(optimizer).from_config(optimizer.get_config()), case.loss)
    for step in range(reach.steps):
        batch = case.batches[step % 3]  # type: ignore[index]
        model.train_on_batch(batch.x, batch.y)
    for kernel in reach.kernels:
        after = keras.ops.convert_to_numpy(next(v for v in model.trainable_variables if v.path == kernel.path))
        moved = float(np.sqrt(np.mean((after - before[kernel.path]) ** 2)) / np.sqrt(np.mean(before[kernel.path] ** 2)))
        assert moved <= 1.05 * kernel.at_most


def test_a_warm_up_counts_with_its_top() -> None:
    schedule = keras.optimizers.schedules.PolynomialDecay(1e-7, 200, 1e-3)  # rises
    assert highest_rate(keras.optimizers.Adam(schedule), 300) == pytest.approx(1e-3)
    assert isinstance(verdict("OPT002", case_of(keras.optimizers.Adam(schedule))), Healthy)


def test_what_a_scheduler_will_set_counts() -> None:
    callback = keras.callbacks.LearningRateScheduler(lambda epoch: 1.0 if epoch == 7 else 1e-5)
    case = case_of(keras.optimizers.Adadelta(1e-5), fit_arguments={**FIT, "callbacks": [callback]})
    plan = measure(case.optimizer, case.batches, case.fit_arguments)
    assert plan.rate == 1.0 and plan.share_of_rate(np.array([0, 209, 215, 299])) == pytest.approx([1e-5, 1e-5, 1, 1e-5])


def test_a_schedule_that_leaves_traces_is_not_asked_and_forbids_a_proof() -> None:
    asked = []

    def schedule(epoch: int) -> float:
        asked.append(epoch)
        return 1e-3

    class Counting(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = 1.0

    steady = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-5)
    for callbacks in ([keras.callbacks.LearningRateScheduler(schedule)], [Counting()], [Counting(), steady]):
        case = case_of(keras.optimizers.Adadelta(1e-5), fit_arguments={**FIT, "callbacks": callbacks})
        found = verdict("OPT002", case)
        assert isinstance(found, NotApplicable) and type(callbacks[0]).__name__ in found.because
    assert not asked


def test_a_callback_that_only_prints_does_not() -> None:
    class Printer(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            print(epoch)

    plan = measure(keras.optimizers.SGD(0.1), None, {**FIT, "callbacks": [Printer()]})
    assert plan.changed_by == "" and plan.total == 300 and plan.rate == pytest.approx(0.1)


def test_adadelta_stays_hopeless_when_nobody_says_how_long() -> None:
    found = verdict("OPT002", case_of(keras.optimizers.Adadelta(1e-5), fit_arguments=None))
    assert isinstance(found, Finding) and found.level == "proven"
    assert found.independent  # it goes by its own accumulators, whatever the gradient


def test_what_sgd_cannot_reach_may_be_the_gradients_fault() -> None:
    found = verdict("OPT002", case_of(keras.optimizers.SGD(1e-8)))
    assert isinstance(found, Finding) and found.level == "proven" and not found.independent


def test_a_trial_makes_as_many_steps_on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's time decides whether and on how many batches something is tried, never for how long."""
    case = find("OPT002").module.sick_by_trial()
    clock = iter(range(10**6))
    monkeypatch.setattr(rate_trials.time, "process_time", lambda: 0.02 * next(clock))
    slow = Evidence(case).get("rate_trials")
    monkeypatch.setattr(rate_trials.time, "process_time", lambda: 0.0)
    fast = Evidence(case).get("rate_trials")
    assert [trial.steps for trial in slow.trials] == [trial.steps for trial in fast.trials]
    monkeypatch.setattr(rate_trials.time, "process_time", lambda: 30.0 * next(clock))
    assert Evidence(case).get("rate_trials").gave_up


def test_a_zero_initialised_branch_is_no_vanished_gradient() -> None:
    model = segmenter(3, "softmax")
    head = model.get_layer("head")
    head.set_weights([np.zeros_like(weight) for weight in head.get_weights()])
    assert isinstance(verdict("OPT004", case_of(keras.optimizers.SGD(0.1), model)), NotApplicable)


def test_half_dead_activations_are_what_a_relu_does() -> None:
    model = segmenter(3, "softmax")
    kernel, bias = model.get_layer("encoder_conv").get_weights()
    bias[:4] = -100.0
    model.get_layer("encoder_conv").set_weights([kernel, bias])
    assert isinstance(verdict("OPT005", case_of("adam", model)), Healthy)


def test_bfloat16_and_a_float32_head_are_fine() -> None:
    image = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", dtype="mixed_float16")(image)
    x = keras.layers.Conv2D(3, 1, dtype="mixed_float16")(x)
    model = keras.Model(image, keras.layers.Activation("softmax", dtype="float32")(x))
    assert isinstance(verdict("OPT006", case_of("adam", model)), Healthy)


def test_a_nan_of_the_data_is_not_blamed_on_the_optimisation() -> None:
    case = case_of("adam")
    case.batches[0].x[0, 0, 0, 0] = np.nan  # type: ignore[index]
    assert isinstance(verdict("OPT006", case), NotApplicable)


def test_still_falling_is_a_note_and_not_a_cause() -> None:
    diagnosis = examine(Case(history={"loss": [1.0, 0.8, 0.6, 0.5]}), checks=[find("OPT003")])
    assert diagnosis.healthy and diagnosis.findings[0].severity == "note"
