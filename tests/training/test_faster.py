"""The cheaper arithmetic of a training step: the same numbers, fewer operations, and nothing of it in a prediction."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import segnosis as sg
from segnosis.losses import CrossEntropy
from segnosis.training import kernels
from segnosis.training.faster import FasterModel
from segnosis.training.optimizer import optimizer
from segnosis.training.plan import Plan
from segnosis.training.recorder import TwoTermModel

pytestmark = pytest.mark.one_backend
SIDE, CLASSES = 32, 3
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", {"width": 4, "depth": 2, "l2": 1e-3}),
    "no normalization": ("unet", {"width": 4, "depth": 2, "normalization": None}),
    "any size": ("unet", {"width": 4, "depth": 2}),
    "nested backbone": ("unet", {"width": 4, "depth": 3, "backbone": "resnet18", "preprocessing": None}),
    "an output per depth": ("unet_plus_plus", {"width": 4, "depth": 2, "deep_supervision": True}),
}


def network(case: str) -> keras.Model:
    name, arguments = NETWORKS[case]
    keras.utils.set_random_seed(0)
    side = None if case == "any size" else SIDE
    return getattr(sg.models, name)((side, side, 3), CLASSES, **arguments)


def batch() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.uniform(-1, 1, (4, SIDE, SIDE, 3)).astype(np.float32)
    return x, draw.integers(0, CLASSES, (4, SIDE, SIDE)).astype(np.int32)


def stepped(model: Any, made: Any) -> tuple[float, list[np.ndarray]]:
    """Loss of a step, and by how much it changed each variable, momentum and statistics included."""
    model.compile(made, CrossEntropy(), jit_compile=False)
    before = [np.array(variable) for variable in model.weights]
    loss = model.train_on_batch(*batch(), return_dict=True)["loss"]
    return float(loss), [np.array(v) - b for v, b in zip(model.weights, before, strict=True)]


@pytest.mark.parametrize(("case", "products"), [*((case, False) for case in NETWORKS), ("any size", True)])
def test_a_step_is_that_of_keras(case: str, products: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Which kernels learn by products depends on their size, and those here are small.
    monkeypatch.setattr(kernels, "by_products", lambda *_: products)
    found = []
    for kind in (TwoTermModel, FasterModel):
        made = network(case)
        # The changes are the gradients, and what BatchNormalization remembers.
        found.append(stepped(kind(made.input, made.output), keras.optimizers.SGD(1.0)))
    (loss, changes), (same_loss, same_changes) = found
    assert same_loss == pytest.approx(loss, rel=1e-5)
    largest = max(float(np.abs(change).max()) for change in changes)
    assert largest > 0
    for change, same in zip(changes, same_changes, strict=True):
        np.testing.assert_allclose(same, change, rtol=0, atol=1e-2 * np.abs(change).max() + 1e-4 * largest)


WINDOWS: dict[str, dict[str, Any]] = {
    "3×3": {"kernel_size": 3},
    "dilated": {"kernel_size": 3, "dilation_rate": 2},
    "strided": {"kernel_size": 3, "strides": 2, "padding": "valid"},
    "a pixel": {"kernel_size": 1},
    "a pixel, strided": {"kernel_size": 1, "strides": 2},
    "even": {"kernel_size": (2, 4)},
}


@pytest.mark.skipif(not kernels.available(), reason="the operations are TensorFlow's, on a CPU")
@pytest.mark.parametrize("window", WINDOWS)
def test_a_kernel_learns_by_products_what_keras_teaches_it(window: str) -> None:
    import tensorflow as tf

    draw = np.random.default_rng(0)
    x = tf.constant(draw.normal(size=(2, 7, 9, 3)).astype(np.float32))
    layer = keras.layers.Conv2D(5, use_bias=False, **{"padding": "same", **WINDOWS[window]})
    y = layer(x)
    weight = tf.constant(draw.normal(size=y.shape).astype(np.float32))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        expected = tf.reduce_sum(layer(x) * weight)
        same = kernels.convolution(
            x, layer.kernel.value, strides=layer.strides, padding=layer.padding, dilation=layer.dilation_rate
        )
        found = tf.reduce_sum(same * weight)
    np.testing.assert_allclose(same, y, rtol=1e-5, atol=1e-5)
    for variable in (x, layer.kernel.value):
        wanted = np.array(tape.gradient(expected, variable))
        np.testing.assert_allclose(tape.gradient(found, variable), wanted, rtol=1e-4, atol=1e-4)


def test_the_step_changes_what_a_prediction_reads() -> None:
    made = network("nested backbone")
    model = FasterModel(made.input, made.output)
    before = made.predict_on_batch(batch()[0])
    stepped(model, keras.optimizers.SGD(0.1))
    np.testing.assert_array_equal(model.predict_on_batch(batch()[0]), made.predict_on_batch(batch()[0]))
    assert np.abs(made.predict_on_batch(batch()[0]) - before).max() > 0


def test_frozen_layers_stay_as_they_are() -> None:
    made = network("unet")
    for layer in made.layers:
        layer.trainable = "encoder" not in layer.name
    frozen = [np.array(weight) for layer in made.layers if not layer.trainable for weight in layer.weights]
    stepped(FasterModel(made.input, made.output), keras.optimizers.SGD(1.0))
    after = [np.array(weight) for layer in made.layers if not layer.trainable for weight in layer.weights]
    assert frozen
    assert all(np.array_equal(a, b) for a, b in zip(frozen, after, strict=True))


def test_a_half_precision_step_learns_alike() -> None:
    found = []
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for kind in (TwoTermModel, FasterModel):
            made = network("unet")
            found.append(stepped(kind(made.input, made.output), keras.optimizers.SGD(1.0)))
    finally:
        keras.config.set_dtype_policy("float32")
    (loss, changes), (same_loss, same_changes) = found
    assert same_loss == pytest.approx(loss, rel=0.02)
    a, b = (np.concatenate([change.ravel() for change in each]) for each in (changes, same_changes))
    assert a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) > 0.9  # bfloat16 has eight bits


def test_adam_in_one_pass_is_that_of_keras() -> None:
    plan = Plan(data="", schedule="constant", learning_rate=0.01, weight_decay=0.1, clip_norm=None)
    start, draw = [np.ones((3, 3, 2, 4), np.float32), np.ones(4, np.float32)], np.random.default_rng(0)
    gradients = [[draw.normal(size=v.shape).astype(np.float32) for v in start] for _ in range(4)]
    found = []
    for made in (optimizer(plan, steps=10), keras.optimizers.AdamW(0.01, weight_decay=0.1)):
        variables = [keras.Variable(value, name=f"v{index}") for index, value in enumerate(start)]
        for step in gradients:
            made.apply([keras.ops.convert_to_tensor(gradient) for gradient in step], variables)
        found.append([np.array(variable) for variable in variables])
    for same, value in zip(*found, strict=True):
        np.testing.assert_allclose(same, value, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not kernels.available(), reason="the operations are TensorFlow's, on a CPU")
def test_a_half_precision_step_writes_less() -> None:
    def written(kind: Any) -> int:
        """Bytes that the operations of a whole step write: a measure of time that no other program disturbs."""
        import tensorflow as tf

        made = network("unet")
        model = kind(made.input, made.output)
        model.compile(optimizer(Plan(data=""), steps=1), CrossEntropy(), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
        graph = tf.function(model.train_step).get_concrete_function(batch()).graph
        graphs = [graph, *(function.graph for function in graph._functions.values() if hasattr(function, "graph"))]
        outputs = [o for g in graphs for node in g.get_operations() for o in node.outputs if o.dtype.is_floating]
        return sum(o.dtype.size * o.shape.num_elements() for o in outputs if o.shape.is_fully_defined())

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found, plain = written(FasterModel), written(TwoTermModel)
    finally:
        keras.config.set_dtype_policy("float32")
    assert found < 0.6 * plain, (found, plain)


@pytest.mark.skipif(not kernels.available(), reason="the operations are TensorFlow's, on a CPU")
@pytest.mark.parametrize(("case", "share"), [("unet", 0.85), ("an output per depth", 0.85)])
def test_a_step_multiplies_less(case: str, share: float) -> None:
    def multiplications(kind: Any) -> int:
        import tensorflow as tf

        made = network(case)
        model = kind(made.input, made.output)
        forward = tf.function(lambda x: model(x, training=True)).get_concrete_function(batch()[0])
        total = 0
        for node in forward.graph.get_operations():
            if node.type in ("Conv2D", "Conv2DBackpropInput"):
                # Of both the larger map is `big`; every pixel of the smaller one meets the whole kernel.
                maps = [node.outputs[0].shape, node.inputs[0 if node.type == "Conv2D" else 2].shape]
                small = min(maps, key=lambda shape: shape[1] * shape[2])
                total += int(small[0] * small[1] * small[2]) * int(np.prod(node.inputs[1].shape))
        return total

    assert multiplications(FasterModel) < share * multiplications(TwoTermModel)
