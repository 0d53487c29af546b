from __future__ import annotations

import keras
import numpy as np
import pytest

from segnosis import models
from segnosis.core.errors import ArgumentError

X = np.random.default_rng(0).random((4, 8, 8, 1), "float32") * 9
Y = np.random.default_rng(1).integers(0, 2, (4, 8, 8)).astype("int32")


@pytest.fixture
def model() -> keras.Model:
    return models.unet((8, 8, 1), 2, width=4, depth=2)


@pytest.fixture
def nested() -> keras.Model:
    """A network within a model within a model, with a layer of its own behind."""
    inner = models.unet((8, 8, 1), 4, width=4, depth=1)
    image = keras.Input((8, 8, 1))
    middle = keras.Model(image, keras.layers.BatchNormalization(name="after")(inner(image)), name="backbone")
    image = keras.Input((8, 8, 1))
    return keras.Model(image, keras.layers.Conv2D(2, 1, name="head")(middle(image)))


def test_no_byte_of_a_nested_backbone_moves_while_the_head_learns(nested: keras.Model) -> None:
    models.freeze(nested, "backbone")
    _compile(nested)
    before = _bytes(nested)
    nested.fit(X, Y, epochs=2, batch_size=2, verbose=0)
    moved = {path for path, value in _bytes(nested).items() if value != before[path]}
    assert moved == {"head/kernel", "head/bias"}


def test_freezing_a_model_in_training_takes_effect_at_once(nested: keras.Model) -> None:
    _compile(nested)
    nested.fit(X, Y, verbose=0)
    changed = models.freeze(nested, "unet")
    assert changed.recompiled
    assert "Compiled again" in str(changed)
    before = _bytes(nested)
    nested.fit(X, Y, verbose=0)
    moved = {path for path, value in _bytes(nested).items() if value != before[path]}
    assert moved == {
        "head/kernel",
        "head/bias",
        *(f"backbone/after/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")),
    }
    models.unfreeze(nested, "encoder1")
    before = _bytes(nested)
    nested.fit(X, Y, verbose=0)
    moved = {path for path, value in _bytes(nested).items() if value != before[path]}
    assert "backbone/unet/encoder1_conv1/kernel" in moved
    assert not any("decoder" in path for path in moved)


def test_compiling_again_keeps_loss_metrics_settings_and_steps(model: keras.Model) -> None:
    seen: list[int] = []

    def own_loss(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        seen.append(1)
        return keras.ops.mean(keras.ops.square(y_pred))

    rate = keras.optimizers.schedules.PolynomialDecay(0.1, 10)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss=own_loss, metrics=["accuracy"])
    model.fit(X, Y[..., None], batch_size=2, verbose=0)
    models.freeze(model, "encoder")
    count = len(seen)
    assert int(model.optimizer.iterations) == 2
    assert float(model.optimizer.momentum) == 0.9
    assert set(model.fit(X, Y[..., None], batch_size=2, verbose=0).history) == {"loss", "accuracy"}
    assert len(seen) > count
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1 * (1 - 4 / 10), rel=1e-3)


def test_a_model_that_was_not_compiled_stays_so(model: keras.Model) -> None:
    assert not models.freeze(model, "encoder").recompiled
    assert not model.compiled


def test_names_match_by_whole_words() -> None:
    image = keras.Input((4,))
    x = image
    for name in ("encoder1_conv1", "encoder1_conv2", "encoder10_conv1", "encoders"):
        x = keras.layers.Dense(1, name=name)(x)
    model = keras.Model(image, x)
    assert models.freeze(model, "encoder1").layers == ("encoder1_conv1", "encoder1_conv2")
    assert models.freeze(model, "encoder1_conv").layers == ("encoder1_conv1", "encoder1_conv2")
    assert models.freeze(model, "encoder").layers == ("encoder1_conv1", "encoder1_conv2", "encoder10_conv1")
    assert models.freeze(model, "encoders").layers == ("encoders",)


def test_a_function_chooses_layers(model: keras.Model) -> None:
    changed = models.freeze(model, lambda layer: isinstance(layer, keras.layers.BatchNormalization))
    assert len(changed.layers) == 10
    assert changed.weights == 4 * 2 * (4 + 8 + 16 + 8 + 4)


@pytest.mark.parametrize(
    ("which", "cure"), [("encodr", "Did you mean `encoder`"), ("zzz", "Known: "), ("", "Known: "), ("enc", "encoder")]
)
def test_an_unknown_name_changes_nothing_and_suggests(model: keras.Model, which: str, cure: str) -> None:
    with pytest.raises(ArgumentError, match=cure):
        models.freeze(model, "head", which)
    assert all(layer.trainable for layer in model.layers)


def test_unfreezing_in_stages_from_the_end(model: keras.Model) -> None:
    models.freeze(model, "encoder")
    stage = models.unfreeze(model, "encoder", last=4, keep_statistics=True)
    assert stage.layers == ("encoder3_conv1", "encoder3_conv2")
    frozen = {layer.name for layer in model.layers if layer.weights and not layer.trainable}
    assert {"encoder3_norm1", "encoder2_conv2"} <= frozen
    models.unfreeze(model, "encoder")
    assert all(layer.trainable for layer in model.layers)


@pytest.mark.parametrize("last", [0, -1, 1.5, True])
def test_stages_have_one_layer_or_more(model: keras.Model, last: int) -> None:
    with pytest.raises(ArgumentError, match="Received: last="):
        models.unfreeze(model, "encoder", last=last)


def test_thawing_a_part_of_a_model_frozen_as_a_whole(nested: keras.Model) -> None:
    nested.get_layer("backbone").trainable = False
    models.unfreeze(nested, "after")
    assert {weight.path.split("/")[-2] for weight in nested.trainable_weights} == {"after", "head"}


def test_the_summary_adds_up_and_tells_frozen_from_learning(nested: keras.Model) -> None:
    models.freeze(nested, "backbone")
    lines = models.trainable_summary(nested).splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines if not line.startswith("─")}
    assert cells["head"] == ["Conv2D", "10", "–"]
    assert cells["backbone/after"] == ["BatchNormalization", "–", "8", "8", "stored"]
    assert (
        len(cells)
        == 2 + sum(bool(layer.weights) for layer in nested.get_layer("backbone").get_layer("unet").layers) + 2
    )
    total = sum(int(cell.replace(",", "")) for cell in cells["all"])
    assert total == nested.count_params()
    assert len({len(line) for line in lines if line.startswith("─")}) == 1


def _compile(model: keras.Model) -> None:
    model.compile(keras.optimizers.Adam(0.01), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def _bytes(model: keras.Model, above: str = "") -> dict[str, bytes]:
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= _bytes(layer, f"{above}{layer.name}/")
        else:
            for weight, value in zip(layer.weights, layer.get_weights(), strict=True):
                found[f"{above}{layer.name}/{weight.name}"] = value.tobytes()
    return found
