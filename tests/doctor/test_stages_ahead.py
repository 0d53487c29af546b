"""Rates of stages that a program has not come to yet are read in its text, never run."""

from __future__ import annotations

import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segnosis.doctor.case import Script
from segnosis.doctor.evidence.stages_ahead import StageAhead, measure

pytestmark = pytest.mark.one_backend

FIT = "model.fit(x, y)\n"


def stages(between: str, after: str = FIT, **variables: Any) -> list[tuple[str, float]]:
    found = measure(Script("train.py", 1, source=FIT + between + "\n" + after), variables)
    assert all(isinstance(stage, StageAhead) and stage.line > 1 for stage in found)
    return [(stage.optimizer, stage.rate) for stage in found]


@pytest.mark.parametrize(
    ("between", "variables", "found"),
    [
        ("model.compile(keras.optimizers.Adam(0.1), 'mse')", {}, ("Adam", 0.1)),
        ("model.compile(optimizer=tf.keras.optimizers.SGD(learning_rate=LR * 100))", {"LR": 1e-2}, ("SGD", 1.0)),
        ("model.compile('rmsprop', 'mse')", {}, ("RMSprop", 0.001)),
        ("model.compile(optimizer=Adam(args.lr / 2))", {"args": SimpleNamespace(lr=0.5)}, ("Adam", 0.25)),
        ("model.compile(Adam(self.lr))", {"self.lr": 0.5}, ("Adam", 0.5)),
        ("model.compile(Adam(cfg['fine']['lr']))", {"cfg": {"fine": {"lr": 2}}}, ("Adam", 2.0)),
        ("fine = Adam(10 ** -2)\nmodel.compile(fine)", {"fine": None}, ("Adam", 0.01)),
        ("lr = 0.3\nrate = schedules.CosineDecay(lr, 100)\nmodel.compile(SGD(rate))", {"lr": 9.0}, ("SGD", 0.3)),
        ("rate = CosineDecay(0.0, 9, warmup_target=0.2)\nmodel.compile(SGD(rate))", {}, ("SGD", 0.2)),
        ("model.optimizer.learning_rate = 0.2", {}, ("", 0.2)),
        ("model.optimizer.learning_rate.assign(1e-1 + 0.1)", {}, ("", 0.2)),
    ],
)
def test_a_rate_is_read_where_it_is_a_number(between: str, variables: dict[str, Any], found: tuple[str, float]) -> None:
    (stage,) = stages(between, **variables)
    assert stage == (found[0], pytest.approx(found[1]))


@pytest.mark.parametrize(
    "between",
    [
        "model.compile(Mine(0.1))",
        "model.compile(Adam(rate_of(3)))",
        "model.compile(Adam(0.1) if deep else None)",
        "pass",
    ],
)
def test_what_is_not_a_number_is_not_guessed(between: str) -> None:
    assert stages(between) == []


def test_only_what_another_fit_uses_counts() -> None:
    assert stages("model.compile(Adam(0.1))", after="model.evaluate(x, y)\n") == []


def test_properties_are_not_run() -> None:
    class Settings:
        @property
        def lr(self) -> float:
            raise AssertionError("a property was run")

    assert stages("model.compile(Adam(settings.lr))", settings=Settings()) == []


def test_the_other_branch_and_other_functions_do_not_count(tmp_path: Path) -> None:
    text = """
    def elsewhere(model):
        model.compile(Adam(7.0))
        model.fit(x, y)

    def train(model, fine):
        if not fine:
            model.fit(x, y)
        else:
            model.compile(Adam(5.0))
            model.fit(x, y)
        model.compile(Adam(0.1))
        model.fit(x, y)
    """
    file = tmp_path / "loop.py"
    file.write_text(textwrap.dedent(text))
    (stage,) = measure(Script("train.py", 8, fit_file=str(file)))
    assert (stage.line, stage.rate) == (12, 0.1)


@pytest.mark.parametrize("source", ["def broken(:\n", ""])
def test_a_text_that_does_not_parse_tells_nothing(source: str) -> None:
    assert measure(Script("train.py", 1, source=source)) == ()


def test_a_function_called_again_is_a_stage_with_that_calls_arguments() -> None:
    text = textwrap.dedent("""\
        def train(rate, epochs=2, decay=0.0):
            fine = rate / 2
            model.compile(AdamW(fine, weight_decay=decay), "mse")
            model.fit(x, y, epochs=epochs)

        train(1e-3)
        model.trainable = True
        train(START)
        train(epochs=9, rate=0.4)
    """)
    held = {"rate": 0.02, "epochs": 2, "decay": 0.0, "START": 0.02}
    found = measure(Script("train.py", 4, source=text), held)
    assert [(stage.line, stage.optimizer, stage.rate) for stage in found] == [(9, "AdamW", pytest.approx(0.2))]
