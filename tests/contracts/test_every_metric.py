"""What every metric keeps to, on every backend. A new one is found by itself, and brings its loop reference along."""

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
from segnosis.metrics.base import SegmentationMetric
from segnosis.metrics.confusion import ConfusionMetric, ExactCounts
from segnosis.metrics.surface import SurfaceMetric

IGNORE, CLASSES = 255, 4
UNITS = discovery.names("segnosis.metrics")
VARIANTS = {
    "include_background": [True, False],
    "class_id": [1, 3],
    "width": [2],
    "bins": [4],
    "tolerance": [1.5],
    "spacing": [(0.5, 2.0)],
}


def metric_class(unit: str) -> type[SegmentationMetric]:
    wanted = unit.replace("_", "")
    return next(getattr(sg.metrics, name) for name in dir(sg.metrics) if name.lower() == wanted)


def make(unit: str, **args) -> SegmentationMetric:
    needs_class = "class_id" in inspect.signature(metric_class(unit).__init__).parameters
    return metric_class(unit)(CLASSES, **{**({"class_id": 2} if needs_class else {}), "ignore_class": IGNORE, **args})


def variants(unit: str) -> list[dict]:
    parameters = inspect.signature(metric_class(unit).__init__).parameters
    return [{}] + [{name: value} for name, values in VARIANTS.items() if name in parameters for value in values]


CASES = [
    pytest.param(unit, args, id=f"{unit}-{args}")
    for unit in UNITS
    for args in variants(unit)
    if "class_id" not in inspect.signature(metric_class(unit).__init__).parameters or "class_id" in args
]
every_metric = pytest.mark.parametrize("unit", UNITS)
# Scipy works on the host, so these have no compiled form.
ON_DEVICE = [unit for unit in UNITS if not issubclass(metric_class(unit), SurfaceMetric)]
on_device = pytest.mark.parametrize("unit", ON_DEVICE)
BEST_IS_ZERO = ("expected_calibration_error", "hausdorff_distance_95")


def build(unit: str, args: dict) -> SegmentationMetric:
    return metric_class(unit)(CLASSES, ignore_class=IGNORE, **args)


def reference(unit: str):
    for path in sorted(Path(__file__).parents[1].joinpath("references").glob("metrics_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, unit):
            return getattr(module, unit)
    raise AssertionError(f"tests/references/metrics_*.py has no loop reference named {unit}")


def batch(images=3, *, seed=0):
    """Blocks of class ids with an ignored row, class 3 nowhere; predictions that are right more often than not."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, 3, (images, 4, 5)).repeat(2, axis=1).repeat(2, axis=2)
    logits = 2 * np.eye(CLASSES)[ids] + draw.normal(size=(*ids.shape, CLASSES))
    logits[..., 3] -= 20
    ids[:, 3] = IGNORE
    return ids, logits.astype("float32")


def softmax(logits):
    exp = np.exp(np.asarray(logits, "float64") - np.max(logits, axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def number(value) -> float:
    return float(ops.convert_to_numpy(value))


def result_of(metric, *args) -> float:
    metric.reset_state()
    metric.update_state(*args)
    return number(metric.result())


def expected_of(unit, args, ids, logits, keep):
    options = dict(args)
    if "include_background" in options:
        options["skip_background"] = not options.pop("include_background")
    prob = softmax(logits)
    return reference(unit)(ids, logits.argmax(-1), keep, CLASSES, prob=prob, **options)


@pytest.mark.parametrize(("unit", "args"), CASES)
def test_equals_loop_reference_over_partial_batches(unit, args):
    ids, logits = batch()
    metric = build(unit, args)
    metric.update_state(ids[:2], logits[:2])
    metric.update_state(ids[2:], logits[2:])
    assert number(metric.result()) == pytest.approx(expected_of(unit, args, ids, logits, ids != IGNORE), rel=1e-5)
    metric.reset_state()
    metric.update_state(ids, logits)
    assert number(metric.result()) == pytest.approx(expected_of(unit, args, ids, logits, ids != IGNORE), rel=1e-5)


@every_metric
def test_weight_zero_is_not_counted(unit):
    ids, logits = batch()
    metric = make(unit)
    assert result_of(metric, ids, logits, np.array([1.0, 0.0, 0.5])) == pytest.approx(
        result_of(metric, ids[[0, 2]], logits[[0, 2]]), rel=1e-6
    )
    weight = np.random.default_rng(0).integers(0, 2, ids.shape)
    masked = np.where(weight == 0, IGNORE, ids)
    assert result_of(metric, ids, logits, weight) == pytest.approx(result_of(metric, masked, logits), rel=1e-6)


@every_metric
def test_every_way_to_write_a_batch_scores_the_same(unit):
    ids, logits = batch()
    expected = result_of(make(unit), ids, logits)
    one_hot = np.eye(256)[ids][..., :CLASSES]
    stained = np.where((ids == IGNORE)[..., None], IGNORE, one_hot)
    for y_true in (ids[..., None], ids.astype("uint8"), ids.astype("float32"), one_hot, stained):
        assert result_of(make(unit), y_true, logits) == pytest.approx(expected, rel=1e-6)
    assert result_of(make(unit, from_logits=False), ids, softmax(logits).astype("float32")) == pytest.approx(
        expected, rel=1e-5
    )
    if unit != "expected_calibration_error":  # which needs scores
        assert result_of(make(unit), ids, logits.argmax(-1)) == pytest.approx(expected, rel=1e-6)


@every_metric
@pytest.mark.parametrize("from_logits", [True, False])
def test_one_channel_is_the_second_of_two_classes(unit, from_logits):
    ids, logits = batch()
    ids = np.where(ids == IGNORE, IGNORE, ids % 2)
    two = np.concatenate([np.zeros_like(logits[..., :1]), logits[..., :1]], axis=-1)
    args = {"class_id": 1} if "class_id" in inspect.signature(metric_class(unit).__init__).parameters else {}

    def metric():
        return metric_class(unit)(2, ignore_class=IGNORE, from_logits=from_logits, **args)

    single = two[..., 1:] if from_logits else softmax(two)[..., 1:].astype("float32")
    both = two if from_logits else softmax(two).astype("float32")
    assert result_of(metric(), ids, single) == pytest.approx(result_of(metric(), ids, both), rel=1e-5)


@every_metric
def test_perfect_prediction_scores_best(unit):
    ids, logits = batch()
    perfect = 60.0 * np.eye(256)[ids][..., :CLASSES]
    best = result_of(make(unit), ids, perfect)
    worse = result_of(make(unit), ids, logits)
    assert best == pytest.approx(0.0 if unit in BEST_IS_ZERO else 1.0, abs=1e-6)
    assert worse > best if unit in BEST_IS_ZERO else worse < best


@every_metric
def test_ignored_pixels_change_nothing(unit):
    ids, logits = batch()
    expected = result_of(make(unit), ids, logits)
    logits[ids == IGNORE] = 50 * np.eye(CLASSES)[3]
    assert result_of(make(unit), ids, logits) == expected


@every_metric
def test_nothing_counted_is_a_number(unit):
    ids, logits = batch()
    metric = make(unit)
    assert number(metric.result()) == 0.0
    assert result_of(metric, np.full_like(ids, IGNORE), logits) == 0.0
    if hasattr(metric, "per_class"):
        assert metric.per_class() == (None,) * CLASSES


@every_metric
def test_class_that_does_not_occur_has_no_score(unit):
    metric = make(unit)
    if not hasattr(metric, "per_class"):
        pytest.skip("has no score per class")
    result_of(metric, *batch())
    scores = metric.per_class()
    assert scores[3] is None
    assert all(isinstance(score, float) for score in scores[1:3])


@on_device
def test_same_when_compiled_and_never_off_the_device(unit):
    ids, logits = batch()
    expected = result_of(make(unit), ids, logits)
    metric = make(unit)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.function(metric.update_state, jit_compile=True)(ids, tf.constant(logits))
        value = tf.function(metric.result, jit_compile=True)()
    elif backend == "jax":
        import jax

        state = jax.jit(metric.stateless_update_state)([v.value for v in metric.variables], ids, logits)
        value = jax.jit(metric.stateless_result)(state)
    else:
        import torch

        torch._dynamo.reset()
        with torch.no_grad():
            torch.compile(metric.update_state, backend="eager")(torch.tensor(ids), torch.tensor(logits))
            value = metric.result()
    assert number(value) == pytest.approx(expected, rel=1e-5)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"


@on_device
def test_half_precision_scores(unit):
    ids, logits = batch()
    half = ops.cast(logits, "bfloat16")
    full = ops.cast(half, "float32")
    assert result_of(make(unit), ids, half) == pytest.approx(result_of(make(unit), ids, full), rel=1e-6)


def test_all_in_one_fit():
    ids, _ = batch()
    metrics = [make(unit) for unit in ON_DEVICE]
    model = keras.Sequential([keras.Input((8, 10, 1)), keras.layers.Conv2D(CLASSES, 1)])
    model.compile("sgd", loss=sg.losses.CrossEntropy(ignore_class=IGNORE), metrics=metrics, jit_compile=False)
    x = np.random.default_rng(0).normal(size=(*ids.shape, 1)).astype("float32")
    history = model.fit(x, ids, batch_size=2, verbose=0).history  # the last batch is a partial one
    assert {metric.name for metric in metrics} <= set(history)
    model.evaluate(x, ids, batch_size=2, verbose=0)
    confusion = next(metric for metric in metrics if metric.name == "mean_iou").confusion()
    assert confusion.sum() == (ids != IGNORE).sum()
    assert confusion.dtype == np.int64


@pytest.mark.parametrize(("unit", "args"), CASES)
def test_config_round_trip(unit, args):
    metric = build(unit, args)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert set(metric.get_config()) == set(inspect.signature(type(metric).__init__).parameters) - {"self"}


@every_metric
def test_illegal_class_id_is_never_silent(unit):
    ids, logits = batch()
    metric = make(unit, ignore_class=None)  # so 255 was declared by nobody
    if unit in ON_DEVICE:
        assert np.isnan(result_of(metric, ids, logits))
    if isinstance(metric, ConfusionMetric):
        with pytest.raises(ArgumentError, match="Received: pixels with another id=30"):
            metric.confusion()
    if isinstance(metric, SurfaceMetric):
        with pytest.raises(ArgumentError, match=r"Received: class ids=\[255\]"):
            metric.update_state(ids, logits)


@every_metric
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"num_classes": -3}, "num_classes"),
        ({"num_classes": 2.5}, "num_classes"),
        ({"num_classes": None}, "num_classes"),
        ({"num_classes": "four"}, "num_classes"),
        ({"ignore_class": 1}, "ignore_class"),
        ({"ignore_class": 255.5}, "ignore_class"),
        ({"ignore_class": "void"}, "ignore_class"),
    ],
)
def test_wrong_arguments(unit, arguments, name):
    more = {"class_id": 1} if "class_id" in inspect.signature(metric_class(unit).__init__).parameters else {}
    with pytest.raises(ArgumentError, match=rf"`{name}`.*Received: {name}=.+\. [A-Z].+\."):
        metric_class(unit)(**{"num_classes": 3, **more, **arguments})


@every_metric
def test_every_parameter_refuses_what_it_cannot_be(unit):
    for name in set(inspect.signature(metric_class(unit).__init__).parameters) & set(VARIANTS) - {"include_background"}:
        for wrong in (-1.5, float("nan"), "much", (0.0, 1.0)):
            with pytest.raises(ArgumentError, match=rf"`{name}` .*Received: {name}=.+\. [A-Z].+\."):
                make(unit, **{name: wrong})


@every_metric
def test_wrong_shapes(unit):
    ids, logits = batch()
    for y_true, y_pred in ((np.eye(5)[ids % 5], logits), (ids[:, :-1], logits), (ids, logits[..., :3])):
        with pytest.raises(ArgumentError, match=r"Received: .*shape="):
            make(unit).update_state(y_true, y_pred)


def test_counts_stay_exact_beyond_what_one_word_holds():
    metric = keras.metrics.Mean()
    counts = ExactCounts(metric, 2, "counts")
    for _ in range(9):
        counts.add(ops.convert_to_tensor(np.array([2**31 - 2**24 - 1, 1], "int32")))
    assert counts.exact().tolist() == [9 * (2**31 - 2**24 - 1), 9]
    assert number(counts.on_device()[0]) == pytest.approx(9 * (2**31 - 2**24 - 1), rel=1e-7)
