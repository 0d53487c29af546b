"""Transfer learning from the command line: published weights, grey images, a backbone that stays frozen at first."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from tests.references import resnet_torch as reference

from segnosis.cli.main import main
from segnosis.core.errors import ArgumentError
from segnosis.data import phantom
from segnosis.training import build, planner, stages
from segnosis.training.plan import Plan

pytestmark = pytest.mark.filterwarnings("ignore:.*os.fork.*:DeprecationWarning")
ASKED = {"backbone": "resnet18", "weights": "resnet18.safetensors"}


def test_the_command_line_plans_a_pretrained_backbone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hearts = phantom.write(tmp_path / "hearts", subjects=6, size=32, slices=1)
    with pytest.raises(SystemExit) as left:
        main(["plan", str(hearts), "--backbone", "resnet18", "--weights", "my file.safetensors", "--epochs", "30"])
    assert not left.value.code
    lines = capsys.readouterr().out.splitlines()
    assert {"weights: my file.safetensors", "weights_into: backbone", "preprocessing: backbone"} <= set(lines)
    assert "frozen: {backbone: 3}" in lines


def test_colour_weights_in_a_grey_model_of_a_plan(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.numpy").save_file
    state = reference.resnet_state("resnet18")
    save_file({**state, "fc.weight": np.zeros((1000, 512), "float32")}, tmp_path / "resnet18.safetensors")
    asked = {**ASKED, "weights": str(tmp_path / "resnet18.safetensors")}
    plan = planner.changed(Plan(data="x", intensity=(0.0, 1000.0), model_arguments={"width": 2}), **asked)
    model = build.model(plan, channels=1, num_classes=3)
    said = build.load_weights(plan, model)
    assert "resnet18.safetensors (torchvision). The first layer's weights were summed over 3 colours" in said
    assert stages.begin(stages.stages(plan)[0], model).startswith("Frozen 40 layers")
    assert not model.get_layer("backbone").trainable_weights

    model.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras", compile=False)
    backbone = opened.get_layer("backbone")
    first = state["conv1.weight"].transpose(2, 3, 1, 0).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(backbone.get_layer("conv1").get_weights()[0], first, rtol=1e-6)
    statistics = backbone.get_layer("layer4_block2_conv2_norm").get_weights()
    for ours, name in zip(statistics, ("weight", "bias", "running_mean", "running_var"), strict=True):
        np.testing.assert_array_equal(ours, state[f"layer4.1.bn2.{name}"])
    # Black to white as ImageNet's mean and deviation have them, averaged over colours, for a grey picture.
    scaled = keras.ops.convert_to_numpy(opened.get_layer("preprocess")(np.array([[[[0.0]], [[1000.0]]]], "float32")))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(scaled.ravel(), [(-mean / deviation).mean(), ((1 - mean) / deviation).mean()], rtol=1e-4)


def test_what_a_pretrained_backbone_brings_into_a_plan() -> None:
    plan = planner.changed(Plan(data="x", epochs=40, model_arguments={"width": 16, "depth": 4}), **ASKED)
    assert plan.model_arguments == {"width": 16, "backbone": "resnet18"}
    assert (plan.weights_into, plan.preprocessing, plan.frozen) == ("backbone", "backbone", {"backbone": 4})
    assert plan.reasons["frozen"]


def test_weights_without_a_backbone_fill_the_whole_model() -> None:
    plan = planner.changed(Plan(data="x"), weights="mine.weights.h5")
    assert (plan.weights, plan.weights_into, plan.frozen) == ("mine.weights.h5", "model", {})
    assert build.backbone(Plan(data="x", model="deeplab_v3_plus")) == "xception65"


def test_a_backbone_that_does_not_exist_is_told() -> None:
    with pytest.raises(ArgumentError, match="Did you mean `resnet1"):
        planner.changed(Plan(data="x"), backbone="resnet19", weights="w")
    with pytest.raises(ArgumentError, match="Did you mean `resnet1"):
        build.model(Plan(data="x", model_arguments={"backbone": "resnet19"}), channels=3, num_classes=2)
