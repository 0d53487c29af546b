"""What every architecture promises, on every backend. A new file in `segnosis/models` is tested here without a word."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from segnosis import models
from segnosis.core import discovery
from segnosis.core.errors import ArgumentError

NAMES = discovery.names("segnosis.models")
TINY = {"width": 4, "depth": 2, "backbone": "mobilenet_v2"}
WORDS = ("upsampling", "normalization", "activation", "backbone", "preprocessing")
# The same shapes throughout: JAX compiles an initializer for each one.
CHANNELS, CLASSES = 2, 3
# What a person without segnosis writes.
_ANSWERS = """
import sys, pathlib, keras, numpy as np
folder = pathlib.Path(sys.argv[1])
model = keras.models.load_model(folder / "model.keras", compile=False)
np.save(folder / "logits.npy", keras.ops.convert_to_numpy(model(np.load(folder / "images.npy"), training=False)))
assert "segnosis" not in sys.modules
"""


@pytest.fixture(params=NAMES)
def build(request: pytest.FixtureRequest) -> Callable[..., keras.Model]:
    """The architecture, as small as its arguments allow."""
    return _tiny(request.param)


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest) -> keras.Model:
    """The architecture after one step on images of an odd size, its encoder frozen."""
    model = _tiny(request.param)((None, None, CHANNELS), CLASSES)
    model.before = _weights(model)
    model.frozen = models.freeze(model, "backbone" if _has_backbone(model) else "encoder").layers
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    y = np.random.default_rng(1).integers(0, CLASSES, (2, 21, 38)).astype("int32")
    model.first_loss = float(model.train_on_batch(_images(), y))
    return model


def test_logits_cover_every_pixel_of_an_odd_image(trained: keras.Model) -> None:
    logits = trained.predict_on_batch(_images())
    assert logits.shape == (2, 21, 38, CLASSES)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert logits.std() > 0


def test_a_fixed_size_is_known_in_advance(build: Callable[..., keras.Model]) -> None:
    assert build((32, 64, CHANNELS), CLASSES).output.shape == (None, 32, 64, CLASSES)


def test_layers_are_stock_and_named(trained: keras.Model) -> None:
    for path, layer in _leaves(trained):
        assert type(layer).__module__.startswith("keras."), path
        assert not re.match(rf"{type(layer).__name__}(_\d+)?$", layer.name.replace("_", "", 1), re.IGNORECASE), path


def test_a_step_moves_what_is_not_frozen_and_no_byte_of_what_is(trained: keras.Model) -> None:
    assert np.isfinite(trained.first_loss)
    after = _weights(trained)
    moved = {path for path, value in after.items() if value != trained.before[path]}
    frozen = {path for path in after if path.rsplit("/", 1)[0] in trained.frozen}
    assert frozen, "nothing was frozen"
    assert any("moving_variance" in path for path in frozen), "no BatchNormalization among the frozen layers"
    assert not moved & frozen
    kernels = {path for path in after.keys() - frozen if path.endswith("kernel")}
    assert kernels <= moved


def test_a_saved_model_opens_with_plain_keras(trained: keras.Model, tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    trained.save(file)
    assert b"segnosis" not in zipfile.ZipFile(file).read("config.json")
    opened = keras.models.load_model(file, compile=False)
    np.testing.assert_allclose(opened.predict_on_batch(_images()), trained.predict_on_batch(_images()), atol=1e-5)


def test_a_saved_model_says_the_same_on_another_backend(trained: keras.Model, tmp_path: Path) -> None:
    # torch opens a network at once; TensorFlow and JAX held against it are held against each other.
    other = "tensorflow" if keras.backend.backend() == "torch" else "torch"
    pytest.importorskip(other)
    trained.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", _images())
    subprocess.run(
        [sys.executable, "-c", _ANSWERS, str(tmp_path)], env={**os.environ, "KERAS_BACKEND": other}, check=True
    )
    ours, theirs = trained.predict_on_batch(_images()), np.load(tmp_path / "logits.npy")
    # Of large logits float32 has fewer digits behind the point.
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1.0, float(np.abs(ours).max())), rtol=0)


def test_logits_are_float32_in_mixed_precision(build: Callable[..., keras.Model], mixed_bfloat16: None) -> None:
    model = build((None, None, CHANNELS), CLASSES)
    # The backend itself has worked out this dtype, tracing the graph.
    assert [output.dtype for output in model.outputs] == ["float32"]
    assert any(layer.compute_dtype == "bfloat16" for _, layer in _leaves(model))


@pytest.mark.parametrize("keyword", WORDS)
def test_an_unknown_word_is_named_and_corrected(build: Callable[..., keras.Model], keyword: str) -> None:
    if keyword not in inspect.signature(build.__wrapped__).parameters:  # type: ignore[attr-defined]
        pytest.skip(f"has no `{keyword}`")
    with pytest.raises(ArgumentError, match=rf"Received: {keyword}='mobilenet_v22'\. (Did you mean|Known)"):
        build((32, 32, 1), 2, **{keyword: "mobilenet_v22"})


@pytest.mark.parametrize("num_classes", [-1, 0, 2.0, True, None])
def test_classes_are_counted_from_one(build: Callable[..., keras.Model], num_classes: Any) -> None:
    with pytest.raises(ArgumentError, match="num_classes"):
        build((32, 32, 1), num_classes)


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, None), (0, 32, 1), (32.0, 32, 1), 32])
def test_a_wrong_shape_is_refused(build: Callable[..., keras.Model], shape: Any) -> None:
    with pytest.raises(ArgumentError, match="input_shape"):
        build(shape, 2)


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


def _tiny(name: str) -> Callable[..., keras.Model]:
    function = getattr(models, name)
    parameters = inspect.signature(function).parameters
    small = {key: value for key, value in TINY.items() if key in parameters}
    if small.get("backbone") and parameters["backbone"].default is None:
        del small["backbone"]

    def build(*args: Any, **arguments: Any) -> keras.Model:
        return function(*args, **{**small, **arguments})

    build.__wrapped__ = function  # type: ignore[attr-defined]
    return build


def _images() -> np.ndarray:
    return np.random.default_rng(0).random((2, 21, 38, CHANNELS), "float32")


def _has_backbone(model: keras.Model) -> bool:
    return any(layer.name == "backbone" for layer in model.layers)


def _leaves(model: keras.Model, above: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer, f"{above}{layer.name}/")
        else:
            yield f"{above}{layer.name}", layer


def _weights(model: keras.Model) -> dict[str, bytes]:
    return {
        f"{path}/{weight.name}": value.tobytes()
        for path, layer in _leaves(model)
        for weight, value in zip(layer.weights, layer.get_weights(), strict=True)
    }
