"""Loops that apply gradients themselves: what they train on and what they differentiate, found by running them."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

from segnosis.doctor import script as script_module
from segnosis.doctor.case import Case
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.script import diagnose_script

pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the loops use its tape"),
]

HEAD = """
import keras, numpy as np, tensorflow as tf
x = np.random.default_rng(0).uniform(0, 255, (20, 8, 8, 1)).astype("float32")
y = (x > 128).astype("float32")
inputs = keras.Input((8, 8, 1))
model = keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs))
optimizer = keras.optimizers.Adam()
seen = []

def entropy(truth, guess):
    return -tf.reduce_mean(truth * tf.math.log(guess) + (1 - truth) * tf.math.log(1 - guess))

def step(images, masks):
    with tf.GradientTape() as tape:
        guess = model(images / 255.0, training=True)
        loss = entropy(masks, guess) + 0.5 * tf.reduce_mean(tf.abs(masks - guess))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss
"""

LOOPS = {
    "of a data set": """
        for epoch in range(3):
            for number, (images, masks) in enumerate(tf.data.Dataset.from_tensor_slices((x, y)).batch(5)):
                step(images, masks)
        """,
    "traced": """
        step = tf.function(step)
        def main(data, epochs):
            for epoch in range(epochs):
                for batch in data:
                    step(batch["image"], batch["mask"])
        main(tf.data.Dataset.from_tensor_slices({"image": x, "mask": y}).batch(5), 2)
        """,
    "of a generator function": """
        def batches():
            for start in range(0, 20, 5):
                yield x[start:start + 5], y[start:start + 5]
        for images, masks in batches():
            print("going on"); step(images, masks)
        """,
    "of a class": """
        class Trainer:
            def __init__(self, data):
                self.data = data
            def fit(self):
                for k, (images, masks) in enumerate(self.data):
                    step(images, masks)
                return self
        Trainer([(x[k:k + 5], y[k:k + 5]) for k in range(0, 20, 5)]).fit()
        """,
}


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    cases: list[Case] = []

    def examine(case: Case, **_: object) -> Diagnosis:
        cases.append(case)
        return Diagnosis(())

    monkeypatch.setattr(script_module, "examine", examine)
    monkeypatch.chdir(tmp_path)
    return cases


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_tells_its_data_and_its_loss(
    examined: list[Case], loop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("train.py").write_text(HEAD + textwrap.dedent(LOOPS[loop]))
    outcome = diagnose_script("train.py")
    (case,) = examined
    assert "what it differentiates" in outcome.message
    rows = np.concatenate([batch.x for batch in case.batches])
    assert rows.shape == (20, 8, 8, 1) and rows.max() <= 1  # as the model is given them, not as they are stored
    truth = np.concatenate([batch.y for batch in case.batches])
    assert np.array_equal(truth, (rows * 255 > 128).astype("float32"))
    guess = np.full((2, 8, 8, 1), 0.25, "float32")
    y_true = np.ones((2, 8, 8, 1), "float32")
    assert float(case.loss(y_true, guess)) == pytest.approx(np.log(4) + 0.5 * 0.75, rel=1e-5)
    assert capsys.readouterr().out.count("going on") <= 1  # what is run again says nothing


@pytest.mark.parametrize(
    ("again", "expected"),
    [("", ("conv2d",)), ("optimizer.apply_gradients(zip(gradients, model.layers[1].trainable_variables))", None)],
)
def test_layers_left_out_of_the_only_step_are_told(
    examined: list[Case], again: str, expected: tuple[str, ...] | None
) -> None:
    head = HEAD.replace(
        'keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs)',
        'keras.layers.Conv2D(1, 1, activation="sigmoid")(keras.layers.Conv2D(2, 1, name="conv2d")(inputs))',
    ).replace("model.trainable_variables", "model.layers[-1].trainable_variables")
    Path("train.py").write_text(head.replace("    return loss\n", f"    {again}\n    return loss\n") + "\nstep(x, y)\n")
    diagnose_script("train.py")
    (case,) = examined
    assert case.left_out == expected


def test_samples_of_a_generator_that_has_begun_are_left_to_the_program(examined: list[Case]) -> None:
    Path("train.py").write_text(
        HEAD
        + textwrap.dedent("""
        feed = ((x[k:k + 5], y[k:k + 5]) for k in range(0, 20, 5))
        for images, masks in feed:
            step(images, masks)
        """)
    )
    outcome = diagnose_script("train.py")
    assert "what it differentiates" not in outcome.message
    assert len(list(sys.modules["__main__"].__dict__.get("feed", range(3)))) == 3


NESTED = """
    steps = len(x) // 4
    def batches(count):
        for k in range(count):
            yield x[4 * k:4 * k + 4], y[4 * k:4 * k + 4]
    for epoch in range(7):
        {inner}
            {body}
"""


@pytest.mark.parametrize("body", ["step(x[4 * k:4 * k + 4], y[4 * k:4 * k + 4])", "model.train_on_batch(x[:4], y[:4])"])
@pytest.mark.parametrize(
    ("inner", "plan"),
    [
        ("for k in range(steps):", {"epochs": 7, "steps_per_epoch": 5}),
        ("for k, _ in enumerate(list(range(0, 20, 4))):", {"epochs": 7, "steps_per_epoch": 5}),
        ("for k, (a, b) in enumerate(batches(3)):", {}),
        ("while (k := int(optimizer.iterations)) < 5:", {}),
        ("optimizer.learning_rate = 0.1 / (1 + epoch)\n        for k in range(steps):", {}),
    ],
)
def test_nested_loops_tell_how_long_they_train(
    examined: list[Case], inner: str, plan: dict[str, int], body: str
) -> None:
    ready = "model.compile(optimizer, keras.losses.BinaryCrossentropy())\n"
    Path("train.py").write_text(HEAD + ready + textwrap.dedent(NESTED.format(inner=inner, body=body)))
    diagnose_script("train.py")
    if "while" in inner and "train_on_batch" in body:  # the program ended there: it made all the steps it ever will
        plan = {"epochs": 1, "steps_per_epoch": 5}
    assert examined[0].fit_arguments == plan
