"""`sg.diagnose`: what it reads from the model, from data of every form, and from what the user adds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import segnosis as sg
from segnosis.core.errors import ArgumentError, DataError
from segnosis.doctor import diagnose as diagnose_module
from segnosis.doctor.augmentation import joint_augmentation
from segnosis.doctor.capture import ignore_class_of
from segnosis.doctor.case import Case
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.evidence import heads, label_space
from segnosis.doctor.examine import Evidence
from segnosis.doctor.history import read_history
from segnosis.doctor.stored import stored_pairs

X = np.random.default_rng(0).random((6, 8, 8, 1)).astype("float32")
Y = (X[..., 0] > 0.5).astype("int32")


def net(channels: int = 2) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(channels, 3, padding="same")])


@pytest.fixture
def case_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Case]:
    seen: list[Case] = []

    def examine(case: Case) -> Diagnosis:
        seen.append(case)
        return Diagnosis(())

    monkeypatch.setattr(diagnose_module, "examine", examine)

    def run(*args: Any, **given: Any) -> Case:
        sg.diagnose(*args, **given)
        return seen[-1]

    return run


def test_compiled_state_is_read_and_overridden(case_of: Callable[..., Case]) -> None:
    model = net()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile("adam", loss, metrics=["accuracy"], weighted_metrics=["mse"])
    case = case_of(model, (X, Y, np.ones((6, 8, 8))), (X[:2], Y[:2]))
    assert case.loss is loss and case.ignore_class == 255 and Evidence(case).get("label_space").num_classes == 2
    assert case.metrics == ["accuracy", "mse"] and case.optimizer is model.optimizer
    assert case.batches[0].sample_weight.shape == (6, 8, 8) and len(case.validation_batches[0].x) == 2
    other = case_of(model, (X, Y), loss="mse", optimizer="sgd", ignore_class=0, num_classes=9)
    assert (other.loss, type(other.optimizer).__name__, other.ignore_class, other.num_classes) == ("mse", "SGD", 0, 9)


def test_a_generator_and_a_dict_of_outputs(case_of: Callable[..., Case]) -> None:
    inputs = keras.Input((8, 8, 1), name="image")
    model = keras.Model(inputs, {"mask": keras.layers.Conv2D(3, 1, name="mask")(inputs)})
    case = case_of(model, ((X, {"mask": Y}) for _ in range(2)), loss={"mask": "sparse_categorical_crossentropy"})
    assert case.batches[0].y["mask"].shape == (6, 8, 8) and Evidence(case).get("label_space").num_classes == 3


def test_raw_files_are_read_one_at_a_time(case_of: Callable[..., Case], tmp_path: Path) -> None:
    images, masks = [], []
    for index in range(3):
        images.append(tmp_path / f"{index}.jpg")
        masks.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(np.full((8, 8, 3), index, "uint8")).save(images[-1])
        palette = Image.fromarray(np.full((8, 8), index, "uint8"))
        palette.putpalette(list(range(256)) * 3)
        palette.save(masks[-1])
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    pairs = list(case_of(net(), (X, Y), raw=(images, masks)).pairs)
    assert [int(pair.mask.max()) for pair in pairs] == [0, 1, 2] and pairs[0].image.shape == (8, 8, 3)
    assert pairs[1].image is None and "1.jpg" in pairs[1].error and pairs[2].error is None


def test_raw_that_does_not_pair_is_refused() -> None:
    with pytest.raises(ArgumentError, match="one mask per image"):
        stored_pairs((X, Y[:2]))
    with pytest.raises(ArgumentError, match="two things"):
        stored_pairs(X)


def test_wrong_arguments_are_refused_with_the_cure() -> None:
    with pytest.raises(ArgumentError, match=r"keras\.Model"):
        sg.diagnose("model.keras", (X, Y))
    with pytest.raises(ArgumentError, match='"static", "probe" or "train"'):
        sg.diagnose(net(), (X, Y), budget="cheap")


def test_a_history_in_every_form(tmp_path: Path) -> None:
    model = net()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    log = tmp_path / "log.csv"
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[keras.callbacks.CSVLogger(str(log), separator=";")])
    for form in (history, history.history, str(log), log):
        np.testing.assert_allclose(read_history(form)["loss"], history.history["loss"])
    assert read_history(None) is None
    with pytest.raises(DataError, match="CSVLogger"):
        read_history(tmp_path / "gone.csv")
    with pytest.raises(ArgumentError, match=r"model\.fit"):
        read_history(3)


def test_the_ignored_class_is_found_however_the_loss_keeps_it() -> None:
    def own(y_true: Any, y_pred: Any, ignore_class: int = 0) -> Any:
        return y_true

    sparse = partial(keras.losses.SparseCategoricalCrossentropy, ignore_class=7)
    assert ignore_class_of(sparse()) == 7
    assert ignore_class_of({"a": "mse", "b": sparse()}) == 7
    assert ignore_class_of(partial(own, ignore_class=4)) == 4
    assert ignore_class_of(sg.losses.Sum([sg.losses.Dice(ignore_class=255)])) == 255
    assert ignore_class_of("mse") is None and ignore_class_of(None) is None


def test_classes_are_told_from_the_head() -> None:
    inputs = keras.Input((8, 8, 1))
    two = keras.Model(inputs, [keras.layers.Conv2D(5, 1)(inputs), keras.layers.Conv2D(1, 1)(inputs)])
    spaces = [label_space.measure(heads=heads.measure(model)) for model in (net(4), net(1), two)]
    assert [(space.num_classes, space.said_by) for space in spaces] == [(4, "head"), (2, "head"), (5, "head")]


def test_a_list_in_the_program_says_what_the_classes_are_called() -> None:
    variables = {"CLASSES": ["ground", "tree", "house"], "class_weights": [1.0, 2.0, 2.0], "labels": ["a.png", "b.png"]}
    told, spare = (label_space.measure(heads=heads.measure(net(count)), variables=variables) for count in (3, 4))
    assert (told.said_by, told.name(2)) == ("`CLASSES`", "2 (house)")
    assert (spare.said_by, spare.num_classes, spare.name(2)) == ("head", 4, "2")


def test_an_augmentation_in_every_form() -> None:
    image, mask = np.arange(64.0).reshape(8, 8, 1).astype("float32"), np.arange(64).reshape(8, 8)
    flip = keras.layers.RandomFlip("horizontal", seed=1)
    moved, with_it = joint_augmentation(flip)(image, mask)
    np.testing.assert_array_equal(moved[..., 0].astype(int), with_it.astype(int))
    noise = keras.layers.GaussianNoise(1.0, seed=1)
    changed, same = joint_augmentation(noise)(image, mask)
    assert not np.array_equal(changed, image) and np.array_equal(same, mask)
    as_dict = joint_augmentation(lambda image, mask: {"image": image + 1, "mask": mask})
    assert float(as_dict(image, mask)[0].min()) == 1.0


def test_a_model_that_is_not_built_is_built_as_fit_would(case_of: Callable[..., Case]) -> None:
    model = keras.Sequential([keras.layers.Conv2D(2, 1)])
    assert case_of(model, (X, Y)).model is model and model.built
    broken = keras.Sequential([keras.layers.Conv2D(2, 9)])
    case = case_of(broken, (X, Y))
    assert case.model is None and isinstance(case.extra["build_error"], ValueError)
