"""`Sum` against the slow references of its parts, and what it shares among them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

import segnosis as sg
from segnosis.core.errors import ArgumentError
from segnosis.losses import pixels

IDS = np.array([[[0, 1, 255], [2, 1, 0]], [[0, 0, 1], [1, 255, 1]]])
LOGITS = np.random.default_rng(0).normal(size=(*IDS.shape, 3)).astype("float32")
WEIGHT = np.random.default_rng(1).uniform(0.5, 2.0, IDS.shape)


def references(stem):
    file = Path(__file__).parents[1] / "references" / f"{stem}.py"
    spec = importlib.util.spec_from_file_location(stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expected(logits):
    exp = np.exp(logits.astype("float64"))
    arguments = np.eye(256)[IDS][..., :3], exp / exp.sum(-1, keepdims=True), WEIGHT * (IDS != 255), np.ones(3)
    cross_entropy = references("losses_pixelwise").cross_entropy(*arguments)
    return 2.0 * cross_entropy + 0.5 * references("losses_region").dice(*arguments, per_image=True)


def summed():
    parts = [sg.losses.CrossEntropy(ignore_class=255), sg.losses.Dice(ignore_class=255, per_image=True)]
    return sg.losses.Sum(parts, weights=[2.0, 0.5])


def test_equals_the_references_of_its_parts():
    value = float(summed()(IDS, LOGITS, WEIGHT.astype("float32")))
    assert value == pytest.approx(expected(LOGITS), rel=1e-5)


@pytest.mark.parametrize("order", [1, -1])
def test_parts_cost_the_same_in_any_company(order):
    parts = [
        sg.losses.CrossEntropy(ignore_class=255, label_smoothing=0.1),
        sg.losses.Dice(ignore_class=255, squared=True),
        sg.losses.Focal(ignore_class=255),
        sg.losses.Boundary(ignore_class=255),
        sg.losses.Tversky(ignore_class=255),
    ][::order]
    alone = sum(float(part(IDS, LOGITS)) for part in parts)
    assert float(sg.losses.Sum(parts)(IDS, LOGITS)) == pytest.approx(alone, rel=1e-5)
    nested = sg.losses.Sum([sg.losses.Sum(parts[:2]), sg.losses.Sum(parts[2:])])
    assert float(nested(IDS, LOGITS)) == pytest.approx(alone, rel=1e-5)


def test_parts_share_one_soft_max(monkeypatch):
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return truth_and_mass(*arguments)

    truth_and_mass = pixels.truth_and_mass
    monkeypatch.setattr(pixels, "truth_and_mass", counted)
    sg.losses.Sum([sg.losses.Dice(), sg.losses.CrossEntropy(), sg.losses.Tversky()])(IDS % 3, LOGITS)
    assert len(calls) == 1


def test_parts_may_read_the_truth_differently():
    parts = [sg.losses.CrossEntropy(ignore_class=255), sg.losses.Dice(ignore_class=-1)]
    ids = np.where(IDS == 255, 0, IDS)
    alone = sum(float(part(ids, LOGITS)) for part in parts)
    assert float(sg.losses.Sum(parts)(ids, LOGITS)) == pytest.approx(alone, rel=1e-6)
    assert np.isnan(float(sg.losses.Sum(parts)(IDS, LOGITS)))  # 255 is no class to the second


def test_config_round_trip():
    loss = summed()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()
    assert float(again(IDS, LOGITS)) == float(loss(IDS, LOGITS))


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        (([],), r"losses=\[\]"),
        ((["dice"],), r"losses=\['str'\]"),
        (([sg.losses.Dice()], [1.0, 2.0]), r"weights=\[1\.0, 2\.0\]"),
    ],
)
def test_wrong_arguments(arguments, received):
    with pytest.raises(ArgumentError, match=rf".+\. Received: {received}\. [A-Z].+\."):
        sg.losses.Sum(*arguments)
