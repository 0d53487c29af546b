"""Freezing and BatchNormalization: what is fine, and what a patient of two layers cannot show."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from segnosis.doctor.case import Case
from segnosis.doctor.check import find
from segnosis.doctor.evidence.trainable_map import TrainableMap, measure
from segnosis.doctor.examine import Evidence, examine
from segnosis.doctor.patients import squares
from segnosis.doctor.verdict import AnyVerdict, Finding, Healthy, NotApplicable


def verdict(code: str, case: Case) -> AnyVerdict:
    return examine(case, checks=[find(code)]).verdicts[0]


def trunk_and_decoder(*, pretrained: bool = True) -> keras.Model:
    layers = keras.layers
    inner = keras.Input((16, 16, 1))
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="block1_conv")(inner)
    x = layers.BatchNormalization(name="block1_norm")(x)
    trunk = keras.Model(inner, layers.ReLU()(x), name="trunk")
    if pretrained:
        random = np.random.default_rng(0)
        trunk.set_weights([weight + random.random(weight.shape) for weight in trunk.get_weights()])
    image = keras.Input((16, 16, 1))
    x = layers.UpSampling2D()(trunk(image))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="decoder_conv")(x)
    return keras.Model(image, layers.Conv2D(3, 1, activation="softmax", name="head")(x))


def case_of(model: keras.Model) -> Case:
    return Case(model=model, loss="sparse_categorical_crossentropy", optimizer="adam", batches=squares("ids"))


def test_a_pretrained_frozen_trunk_is_fine() -> None:
    model = trunk_and_decoder()
    model.get_layer("trunk").trainable = False
    assert isinstance(verdict("NRM003", case_of(model)), Healthy)
    assert isinstance(verdict("NRM002", case_of(model)), NotApplicable)


def test_a_random_frozen_trunk_is_proven_and_named() -> None:
    model = trunk_and_decoder(pretrained=False)
    model.get_layer("trunk").trainable = False
    found = verdict("NRM003", case_of(model))
    assert isinstance(found, Finding) and found.level == "proven"
    assert found.where == ("trunk/block1_conv",) and "get_layer('trunk')" in found.fix


def test_a_frozen_random_decoder_behind_a_pretrained_trunk_is_proven() -> None:
    model = trunk_and_decoder()
    model.get_layer("decoder_conv").trainable = False
    found = verdict("NRM003", case_of(model))
    assert isinstance(found, Finding) and found.level == "proven" and found.where == ("decoder_conv",)


def test_a_linear_probe_is_fine() -> None:
    model = trunk_and_decoder()
    random = np.random.default_rng(1)
    decoder = model.get_layer("decoder_conv")
    decoder.set_weights([random.random(weight.shape) for weight in decoder.get_weights()])
    for layer in model.layers[:-1]:
        layer.trainable = False
    assert isinstance(verdict("NRM003", case_of(model)), Healthy)


def test_stages_and_kernel_scales_are_told() -> None:
    model = trunk_and_decoder()
    told = Evidence(case_of(model)).get("trainable_map")
    assert isinstance(told, TrainableMap)
    assert [part.stage for part in told.parts] == ["encoder", "encoder", "decoder", "head"]
    assert 0.3 < (told.parts[2].scale or 0) < 2.0


def test_a_seeded_and_a_reloaded_initialisation_are_both_recognised() -> None:
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(32, 3, name="conv")])
    assert measure(model, ()).parts[0].is_drawn
    model.get_layer("conv").kernel.assign(keras.initializers.GlorotUniform(seed=9)((3, 3, 4, 32)))
    assert measure(model, ()).parts[0].is_drawn
    model.get_layer("conv").kernel.assign(keras.ops.ones((3, 3, 4, 32)))
    assert not measure(model, ()).parts[0].is_drawn


def test_usual_momentum_and_an_untrained_model_are_fine() -> None:
    case = replace(case_of(trunk_and_decoder(pretrained=False)), fit_arguments={"epochs": 2, "steps_per_epoch": 4})
    assert isinstance(verdict("NRM001", case), Healthy)


def test_batches_of_two_alike_images_are_fine() -> None:
    case = case_of(trunk_and_decoder(pretrained=False))
    batches = [type(batch)(batch.x[:2], batch.y[:2]) for batch in case.batches or ()]
    assert isinstance(verdict("NRM002", replace(case, batches=batches)), Healthy)


def test_a_score_by_the_name_keras_gives_it_shows_the_shock() -> None:
    history = {"val_binary_io_u": [0.5, 0.6, 0.7, 0.1, 0.1], "learning_rate": [3e-3, 3e-3, 3e-3, 3.0, 3.0]}
    assert isinstance(verdict("NRM004", Case(history=history)), Finding)
