"""The callback: what it counts by itself, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from segnosis.doctor import watch as watch_module
from segnosis.doctor.autodiff import model_gradients
from segnosis.doctor.case import Batch, Case
from segnosis.doctor.check import Check
from segnosis.doctor.random_state import to_host
from segnosis.doctor.verdict import Finding, Healthy, Verdict
from segnosis.doctor.watch import Watch, history_checks

X = np.random.default_rng(0).random((12, 16, 16, 1)).astype("float32")
Y = (X[..., 0] > 0.5).astype("int32")


def net(channels: int = 2, activation: str | None = None, l2: float = 0.01) -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Conv2D(8, 3, padding="same", activation="relu", kernel_regularizer=keras.regularizers.L2(l2)),
        keras.layers.Dropout(0.2),
        keras.layers.Conv2D(channels, 1, activation=activation),
    ]
    return keras.Sequential([keras.Input((16, 16, 1)), *layers])


def fitted(watch: Watch | None, model: keras.Model | None = None, y: Any = Y, **options: Any) -> keras.Model:
    model = model or net()
    channels = model.output_shape[-1]
    loss: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if channels > 1 else "binary_crossentropy"
    model.compile(keras.optimizers.Adam(0.01), loss)
    callbacks = [] if watch is None else [watch]
    options = {"epochs": 3, "verbose": 0, "batch_size": 4, **options}
    model.fit(X, y, callbacks=callbacks, **options)
    return model


def slow_dice(truth: np.ndarray, guess: np.ndarray, index: int) -> float:
    pairs = [(int(t), int(g)) for t, g in zip(truth.ravel(), guess.ravel(), strict=True) if t >= 0]
    both = sum(t == index and g == index for t, g in pairs)
    return 2 * both / (sum(t == index for t, _ in pairs) + sum(g == index for _, g in pairs))


def test_the_loss_is_split_into_its_two_parts(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch(printing=False)
    model = fitted(watch, epochs=2, verbose=2)
    kernel = to_host(model.layers[0].kernel)
    history = watch.history
    np.testing.assert_allclose(np.add(history["data_loss"], history["regularization"]), history["loss"], rtol=1e-5)
    assert abs(history["regularization"][-1] - 0.01 * float((kernel**2).sum())) < 0.02
    assert "data_loss" in capsys.readouterr().out


def test_without_a_regularizer_the_printed_line_is_keras_own() -> None:
    watch = Watch()
    fitted(watch, net(l2=0.0))
    assert "regularization" not in watch.history and "data_loss" not in watch.history


def test_training_is_bit_identical_with_and_without_it() -> None:
    plain, watched = fitted(None), fitted(Watch(validation=(X, Y)))
    for left, right in zip(plain.variables, watched.variables, strict=True):
        np.testing.assert_array_equal(to_host(left), to_host(right))


@pytest.mark.parametrize("writing", ["ids", "one-hot", "binary", "ignored"])
def test_dice_is_counted_from_class_ids(writing: str) -> None:
    model, target, truth = net(), Y, Y[:8].copy()
    ignore = None
    if writing == "one-hot":
        target = np.eye(2, dtype="float32")[Y]
    elif writing == "binary":
        model, target = net(1, "sigmoid"), Y[..., None].astype("float32")
    elif writing == "ignored":
        target, ignore = Y.copy(), 255
        target[:, :3] = truth[:, :3] = 255
        truth = np.where(truth == 255, -1, truth)
    watch = Watch(validation=(X, target), ignore_class=ignore)
    watch.set_model(model)
    watch.set_params({"epochs": 1})
    model.compile("sgd", "binary_crossentropy" if writing == "binary" else _loss(writing, ignore))
    watch.on_train_begin()
    watch.on_epoch_begin(0)
    watch.on_epoch_end(0, {"loss": 1.0})
    output = to_host(model(X[:8], training=False))
    guess = (output[..., 0] > 0.5) if writing == "binary" else output.argmax(-1)
    for index in (0, 1):
        expected = slow_dice(truth, guess.astype(int), index)
        assert watch.history[f"dice_{index}"] == [pytest.approx(expected)]


def _loss(writing: str, ignore: int | None) -> Any:
    if writing == "one-hot":
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=ignore)


def test_scoring_keeps_to_its_share_of_the_time() -> None:
    watch = Watch(validation=(X, Y))
    fitted(watch, epochs=30)
    scored = [value is not None for value in watch.history["foreground_dice"]]
    assert scored[0] and scored[-1] and sum(scored) < 30
    assert len(watch.history["loss"]) == 30 and len(scored) == 30


def test_pictures_are_drawn_only_into_a_given_folder(tmp_path: Path) -> None:
    fitted(Watch(validation=(X, Y), out=tmp_path / "pictures"), epochs=1)
    (picture,) = (tmp_path / "pictures").iterdir()
    assert picture.name == "epoch-0001.png"
    with Image.open(picture) as image:
        assert image.size == (4 * 192 + 3 * 4, 4 * 192 + 3 * 4)


def test_an_update_ratio_of_a_frozen_rate_is_zero() -> None:
    watch, model = Watch(), net()
    model.compile(keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, verbose=0, callbacks=[watch])
    assert watch.history["update_ratio"] == [0.0] and watch.history["learning_rate"] == [0.0]


def test_the_gradient_ratio_is_what_adam_remembers_of_the_gradient() -> None:
    """After one step Adam's mean square, freed of its start, is the square of that one gradient."""
    watch, model = Watch(), net(l2=0.0)
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.layers[1].rate = 0.0
    before = [to_host(kernel) for kernel in model.trainable_variables if len(kernel.shape) > 1]
    found = model_gradients(model, X, lambda y_pred: model.loss(Y, y_pred)).data
    model.fit(X, Y, batch_size=12, verbose=0, callbacks=[watch])
    gradients = [gradient for gradient in found if gradient is not None and gradient.ndim > 1]
    expected = [np.sqrt(np.mean(g**2) / np.mean(w**2)) for g, w in zip(gradients, before, strict=True)]
    assert watch.history["gradient_ratio"] == [pytest.approx(np.median(expected), rel=0.02)]


def test_an_optimizer_that_remembers_no_squares_has_no_gradient_ratio() -> None:
    watch, model = Watch(), net()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0, callbacks=[watch])
    assert watch.history["gradient_ratio"] == [None]


def _flat(history: dict[str, list[float]]) -> Verdict:
    if len(history["loss"]) < 2:
        return Healthy(measured={"epochs": 1})
    return Finding(says="Two epochs have passed.", measured={"epochs": len(history["loss"])}, fix="Wait.")


def test_it_speaks_once_as_soon_as_it_is_certain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check = Check("OUT001", "two-epochs", "error", ("history",), (), {}, (), _flat, watch_module)
    monkeypatch.setattr(watch_module, "history_checks", lambda dearest="history": [check])
    monkeypatch.setattr(watch_module, "_SHARE", 1e9)
    watch = Watch()
    fitted(watch)
    assert capsys.readouterr().out.count("OUT001 two-epochs: Two epochs have passed.") == 1
    assert watch.diagnosis is not None and watch.diagnosis.findings[0].measured == {"epochs": 3}


def test_checks_that_read_a_history_are_found_by_what_they_need() -> None:
    for check in history_checks():
        assert check.needs or check.wants


def test_after_training_it_looks_at_what_the_training_left() -> None:
    """Statistics that hardly moved from their start: the model is right in training mode and wrong in prediction."""
    x = 40 + 5 * X
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.BatchNormalization(momentum=0.999),
            keras.layers.Conv2D(2, 1, kernel_initializer=keras.initializers.HeNormal(seed=0)),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss)
    batches = [Batch(x[k : k + 4], Y[k : k + 4]) for k in (0, 4, 8)]
    case = Case(model=model, loss=loss, optimizer=model.optimizer, batches=batches)
    watch = Watch(case=case, printing=False)
    model.fit(x, Y, batch_size=4, epochs=20, verbose=0, callbacks=[watch])
    assert watch.diagnosis is not None
    assert "NRM001" in {finding.code for finding in watch.diagnosis.findings}
