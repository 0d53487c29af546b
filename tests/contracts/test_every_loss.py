"""What every loss keeps to, on every backend. A new one is found by itself, and brings its loop reference along."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import segnosis as sg
from segnosis.core import discovery
from segnosis.core.errors import ArgumentError
from segnosis.losses.base import SegmentationLoss

IGNORE = 255
UNITS = [name for name in discovery.names("segnosis.losses") if name != "sum"]
# Values that a parameter of this name is tried with, in whatever loss has it.
VARIANTS = {
    "per_image": [True],
    "squared": [True],
    "absent": ["skip", "smooth"],
    "smooth": [1.0],
    "label_smoothing": [0.1],
    "gamma": [1.5],
    "alpha": [0.9],
    "k": [0.35],
    "radius": [2],
    "iterations": [1],
}


def loss_class(unit: str) -> type[SegmentationLoss]:
    wanted = unit.replace("_", "")
    return next(getattr(sg.losses, name) for name in dir(sg.losses) if name.lower() == wanted)


def variants(unit: str) -> list[dict]:
    parameters = inspect.signature(loss_class(unit).__init__).parameters
    tried = [{name: value} for name, values in VARIANTS.items() if name in parameters for value in values]
    return [{}, *(args for args in tried if _is_accepted(unit, args))]


def _is_accepted(unit: str, args: dict) -> bool:
    try:
        loss_class(unit)(**args)
    except ArgumentError:  # `absent` has fewer choices in some losses
        return False
    return True


CASES = [pytest.param(unit, args, id=f"{unit}-{args}") for unit in UNITS for args in variants(unit)]
every_loss = pytest.mark.parametrize("unit", UNITS)


def reference(unit: str):
    for path in sorted(Path(__file__).parents[1].joinpath("references").glob("losses_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, unit):
            return getattr(module, unit)
    raise AssertionError(f"tests/references/losses_*.py has no loop reference named {unit}")


def batch(shape=(2, 5, 6), classes=3, *, seed=0, ignore=True):
    """Class ids with an ignored patch, class 2 absent from the first image, and logits."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, classes, shape)
    ids[0] %= classes - 1
    if ignore:
        ids[:, 0, 1:3] = IGNORE
    return ids, draw.normal(size=(*shape, classes)).astype("float32")


def one_hot(ids, classes=3):
    return np.eye(256)[ids][..., :classes]


def softmax(logits):
    exp = np.exp(np.asarray(logits, "float64") - np.max(logits, axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def value_and_gradient(loss, y_true, y_pred, sample_weight=None):
    """Value, and gradient with respect to `y_pred`, as numpy; the one place here that knows the backends."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(y_pred)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(y_true, x, sample_weight)
        gradient = tape.gradient(value, x)
    elif backend == "jax":
        import jax

        # Not compiled as a whole: single operations of one shape are compiled once for all tests.
        value, gradient = jax.value_and_grad(lambda x: loss(y_true, x, sample_weight))(y_pred)
    else:
        import torch

        x = torch.tensor(y_pred, requires_grad=True)
        value = loss(y_true, x, sample_weight)
        (gradient,) = torch.autograd.grad(value, x)
    return float(ops.convert_to_numpy(value)), np.array(ops.convert_to_numpy(gradient), dtype="float64")


def compiled(loss):
    """The loss as one compiled graph; a formula that looks at values cannot become one."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(loss, jit_compile=True)
    if backend == "jax":
        import jax

        return jax.jit(loss)
    import torch

    torch._dynamo.reset()
    return torch.compile(loss, backend="eager", fullgraph=True)  # captures the graph, without a C++ compiler


@pytest.mark.parametrize(("unit", "args"), CASES)
def test_equals_loop_reference_in_value_and_gradient(unit, args):
    slow = reference(unit)
    ids, logits = batch()
    class_weights = np.array([0.5, 2.0, 1.0])
    draw = np.random.default_rng(1)
    weight = draw.uniform(0.5, 2.0, ids.shape) * (draw.uniform(size=ids.shape) < 0.9)
    loss = loss_class(unit)(ignore_class=IGNORE, class_weights=class_weights.tolist(), **args)

    def expected(z):
        return slow(one_hot(ids), softmax(z), weight * (ids != IGNORE), class_weights, **args)

    value, gradient = value_and_gradient(loss, ids, logits, weight.astype("float32"))
    assert value == pytest.approx(expected(logits), rel=2e-5, abs=1e-6)
    for _ in range(3):
        way = draw.normal(size=logits.shape)
        step = 1e-5
        slope = (expected(logits + step * way) - expected(logits - step * way)) / (2 * step)
        assert (gradient * way).sum() == pytest.approx(slope, rel=1e-3, abs=1e-5)


@every_loss
def test_volumes(unit):
    ids, logits = batch((2, 3, 4, 3))
    loss = loss_class(unit)(ignore_class=IGNORE)
    weight = (ids != IGNORE).astype("float64")
    expected = reference(unit)(one_hot(ids), softmax(logits), weight, np.ones(3))
    assert float(loss(ids, logits)) == pytest.approx(expected, rel=2e-5)


@every_loss
def test_every_way_to_write_a_batch_costs_the_same(unit):
    ids, logits = batch()
    make = loss_class(unit)
    loss, of_prob = make(ignore_class=IGNORE), make(ignore_class=IGNORE, from_logits=False)
    expected = float(loss(ids, logits))
    stained = one_hot(ids)
    stained[ids == IGNORE] = IGNORE  # one-hot masks whose padding was written as 255
    for y_true in (ids[..., None], ids.astype("uint8"), ids.astype("float32"), one_hot(ids), stained):
        assert float(loss(y_true, logits)) == pytest.approx(expected, rel=1e-5)
    assert float(of_prob(ids, softmax(logits).astype("float32"))) == pytest.approx(expected, rel=1e-4)
    assert float(make(ignore_class=IGNORE, class_weights=[1, 1, 1])(ids, logits)) == pytest.approx(expected, rel=1e-6)
    assert float(loss(ids, logits, np.ones(len(ids)))) == pytest.approx(expected, rel=1e-6)


@every_loss
@pytest.mark.parametrize("from_logits", [True, False])
def test_one_channel_is_the_second_of_two_classes(unit, from_logits):
    ids, logits = batch()
    ids, logits = np.where(ids == IGNORE, IGNORE, ids % 2), logits[..., :1]
    two = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    loss = loss_class(unit)(ignore_class=IGNORE, from_logits=from_logits)
    single = logits if from_logits else softmax(two)[..., 1:]
    both = two if from_logits else softmax(two)
    assert float(loss(ids, single)) == pytest.approx(float(loss(ids, both)), rel=1e-5)


@every_loss
def test_perfect_prediction_costs_least(unit):
    ids, _ = batch()
    loss = loss_class(unit)(ignore_class=IGNORE)
    perfect, gradient = value_and_gradient(loss, ids, (40 * one_hot(ids)).astype("float32"))
    assert perfect == pytest.approx(0.0, abs=1e-5)
    assert np.isfinite(gradient).all()
    for seed in range(3):
        assert float(loss(ids, batch(seed=seed)[1])) > perfect + 1e-3
    of_prob = loss_class(unit)(ignore_class=IGNORE, from_logits=False)
    assert float(of_prob(ids, one_hot(ids).astype("float32"))) == pytest.approx(0.0, abs=1e-5)


@every_loss
@pytest.mark.parametrize("nonsense", [50.0, np.inf, np.nan])
def test_ignored_pixels_change_neither_value_nor_gradient(unit, nonsense):
    ids, logits = batch()
    loss = loss_class(unit)(ignore_class=IGNORE)
    value, gradient = value_and_gradient(loss, ids, logits)
    logits[ids == IGNORE] = nonsense
    same_value, same_gradient = value_and_gradient(loss, ids, logits)
    assert same_value == value
    np.testing.assert_array_equal(same_gradient, gradient)
    assert not gradient[ids == IGNORE].any()
    assert gradient[ids != IGNORE].any()


@every_loss
def test_weight_zero_leaves_out(unit):
    ids, logits = batch()
    loss = loss_class(unit)(ignore_class=IGNORE)
    plain = loss_class(unit)()
    as_weight = float(plain(np.where(ids == IGNORE, 0, ids), logits, (ids != IGNORE).astype("float32")))
    assert as_weight == pytest.approx(float(loss(ids, logits)), rel=1e-5)
    alone = float(loss(ids[1:], logits[1:]))
    for weight in ([0.0, 1.0], [[0.0], [1.0]]):
        assert float(loss(ids, logits, np.array(weight))) == pytest.approx(alone, rel=1e-5)


@every_loss
def test_nothing_kept_costs_nothing(unit):
    ids, logits = batch()
    value, gradient = value_and_gradient(loss_class(unit)(ignore_class=IGNORE), np.full_like(ids, IGNORE), logits)
    assert value == pytest.approx(0.0, abs=1e-6)
    assert not gradient.any()


@every_loss
def test_permuting_classes_permutes_their_parts(unit):
    ids, logits = batch()
    order = np.array([2, 0, 1])
    new_ids = np.where(ids == IGNORE, IGNORE, np.argsort(order)[ids % 3])
    for k in range(3):
        part = loss_class(unit)(ignore_class=IGNORE, class_weights=np.eye(3)[order[k]].tolist())
        same = loss_class(unit)(ignore_class=IGNORE, class_weights=np.eye(3)[k].tolist())
        assert float(same(new_ids, logits[..., order])) == pytest.approx(float(part(ids, logits)), rel=1e-5, abs=1e-7)


@every_loss
def test_false_positives_on_an_absent_class_cost(unit):
    ids = np.zeros((2, 5, 6), dtype="int32")
    ids[:, 2:4] = 1  # class 2 is nowhere
    right = (12 * one_hot(ids)).astype("float32")
    wrong = right.copy()
    wrong[:, 0, :, 2] += 13.0
    loss = loss_class(unit)()
    value, gradient = value_and_gradient(loss, ids, wrong)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert value > float(loss(ids, right)) + 1e-3
    assert (gradient[:, 0, :, 2] > 0).any()  # a step down takes probability away from the absent class


@every_loss
def test_same_when_compiled(unit):
    ids, logits = batch()
    ids, logits = ops.convert_to_tensor(ids), ops.convert_to_tensor(logits)
    loss = loss_class(unit)(ignore_class=IGNORE)
    assert float(compiled(loss)(ids, logits)) == pytest.approx(float(loss(ids, logits)), rel=1e-5)


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_scores(unit, dtype):
    ids, logits = batch()
    loss = loss_class(unit)(ignore_class=IGNORE)
    half = ops.cast(100 * logits, dtype)
    value = loss(ids, half)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(float(loss(ids, ops.cast(half, "float32"))), rel=1e-6)
    assert np.isfinite(float(value))


@pytest.mark.parametrize(("unit", "args"), CASES)
def test_config_round_trip(unit, args):
    loss = loss_class(unit)(ignore_class=IGNORE, class_weights=[1.0, 2.0, 3.0], **args)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert set(loss.get_config()) == set(inspect.signature(type(loss).__init__).parameters) - {"self"}
    assert all(getattr(loss, name) == value for name, value in args.items())


@every_loss
def test_deep_supervision_trains_a_step(unit):
    ids, _ = batch((2, 8, 8))
    image = keras.Input((None, None, 1))
    outputs = [keras.layers.Conv2D(3, size, padding="same", name=f"depth{size}")(image) for size in (1, 3)]
    model = keras.Model(image, outputs)
    model.compile("sgd", loss=loss_class(unit)(ignore_class=IGNORE), jit_compile=False)
    before = [w.copy() for w in model.get_weights()]
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    history = model.fit(x, [ids, ids], batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    changed = [np.abs(a - b).max() > 0 for a, b in zip(before, model.get_weights(), strict=True)]
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert changed[0] and changed[2]  # the kernels of both heads


@every_loss
def test_illegal_class_id_is_never_silent(unit):
    ids, logits = batch()  # holds 255, which nobody declared
    assert np.isnan(float(loss_class(unit)()(ids, logits)))


@every_loss
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"class_weights": [1.0, -1.0, 1.0]}, "class_weights"),
        ({"class_weights": [0.0, 0.0, 0.0]}, "class_weights"),
        ({"class_weights": [1.0, 2.0]}, "class_weights"),
        ({"ignore_class": 1}, "ignore_class"),
        ({"ignore_class": 25.5}, "ignore_class"),
        ({"ignore_class": "void"}, "ignore_class"),
        ({"class_weights": [1.0, float("nan"), 1.0]}, "class_weights"),
        ({"class_weights": [1.0, "two", 1.0]}, "class_weights"),
        ({"class_weights": 2.0}, "class_weights"),
    ],
)
def test_wrong_arguments(unit, arguments, name):
    ids, logits = batch(ignore=False)
    with pytest.raises(ArgumentError, match=rf"`{name}`.*Received: {name}=.+\. [A-Z].+\."):
        loss_class(unit)(**arguments)(ids, logits)


@every_loss
def test_every_parameter_refuses_what_it_cannot_be(unit):
    for name, parameter in inspect.signature(loss_class(unit).__init__).parameters.items():
        if isinstance(parameter.default, str):  # a name is misspelt: the right one is suggested
            with pytest.raises(ArgumentError, match=rf"`{name}` .*Did you mean `{parameter.default}`\?"):
                loss_class(unit)(**{name: parameter.default[:-1] + "x"})
        elif isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool):
            for wrong in (-1.5, float("nan"), "much", None):
                with pytest.raises(ArgumentError, match=rf"`{name}` .*Received: {name}=.+\. [A-Z].+\."):
                    loss_class(unit)(**{name: wrong})


@every_loss
def test_wrong_shapes(unit):
    ids, logits = batch(ignore=False)
    loss = loss_class(unit)()
    for y_true in (np.eye(4)[ids], ids[:, :-1], ids[0]):
        with pytest.raises(ArgumentError, match=r"Received: y_true.shape="):
            loss(y_true, logits)
    with pytest.raises(ArgumentError, match=r"Received: sample_weight.shape="):
        loss(ids, logits, np.ones((2, 6)))
