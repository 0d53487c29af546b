"""PyTorch's names in safetensors: features and logits are those that PyTorch computes; a pickle is never opened."""

from __future__ import annotations

import pickle

import keras
import numpy as np
import pytest
from tests.references import resnet_torch as reference

import segnosis as sg
from segnosis.core.errors import ArgumentError, DataError
from segnosis.models import backbones
from segnosis.models.weights.mapping import WeightsError

pytest.importorskip("torch", reason="the reference computes with PyTorch")
save_file = pytest.importorskip("safetensors.numpy").save_file


def run(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray] | np.ndarray:
    """Without compiling: each network is used once or twice."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(x, training=False))


def images(*shape: int) -> np.ndarray:
    """Scaled already, as the references want them."""
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_s_resnet_computes_what_pytorch_computes(name, tmp_path):
    state = reference.resnet_state(name)
    classifier = {"fc.weight": np.zeros((1000, 512), "float32"), "fc.bias": np.zeros(1000, "float32")}
    save_file({**state, **classifier}, tmp_path / "resnet.safetensors")
    pixels = keras.Input((None, None, 3))
    model = keras.Model(pixels, backbones.pyramid(name, pixels, preprocessing=False))
    loaded = sg.models.load_weights(model, tmp_path / "resnet.safetensors", only="backbone")
    assert (loaded.format, loaded.weights) == ("torchvision", model.count_params())
    x = images(1, 64, 75, 3)
    ours = run(model, x)
    for level, expected in enumerate(reference.resnet_levels(name, state, x), start=1):
        np.testing.assert_allclose(ours[f"P{level}"], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["resnet34"])
def test_segmentation_models_pytorch_s_unet_computes_what_pytorch_computes(name, tmp_path):
    state = reference.smp_unet_state(name, num_classes=3)
    save_file(state, tmp_path / "unet.safetensors")
    model = sg.models.unet((64, 96, 3), num_classes=3, width=16, backbone=name, preprocessing=None, head_kernel=3)
    loaded = sg.models.load_weights(model, tmp_path / "unet.safetensors")
    assert (loaded.format, loaded.weights) == ("smp_unet", model.count_params())
    assert "10 batch normalizations took the file's epsilon" in str(loaded)
    x = images(1, 64, 96, 3)
    expected = reference.smp_unet_logits(name, state, x)
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-3, atol=1e-3)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(
        run(keras.models.load_model(tmp_path / "model.keras"), x), expected, rtol=1e-3, atol=1e-3
    )


def test_a_head_of_another_shape_is_told(tmp_path):
    save_file(reference.smp_unet_state("resnet18", num_classes=3), tmp_path / "unet.safetensors")
    model = sg.models.unet((64, 64, 3), num_classes=3, width=16, backbone="resnet18")
    with pytest.raises(WeightsError, match="1 of another shape") as error:
        sg.models.load_weights(model, tmp_path / "unet.safetensors")
    assert error.value.misshapen == {"segmentation_head.0.weight": ((3, 3, 16, 3), (1, 1, 16, 3))}
    assert "head_kernel=3" in str(error.value)
    assert sg.models.load_weights(model, tmp_path / "unet.safetensors", only="backbone").format == "smp_unet"


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_pickle_is_never_opened_whatever_its_name(name, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"never from a pickle.*safetensors"):
        sg.models.load_weights(_small(), tmp_path / name)


def test_pytorch_s_own_file_is_a_pickle_in_a_zip(tmp_path):
    import torch

    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    for format in (None, "torchvision"):
        with pytest.raises(DataError, match="never from a pickle"):
            sg.models.load_weights(_small(), tmp_path / "weights.pt", format=format)


def test_a_file_that_only_begins_like_a_pickle_is_no_pickle(tmp_path):
    path, state = tmp_path / "resnet.safetensors", {"conv1.weight": np.zeros(1), "layer1.0.conv1.weight": np.zeros(1)}
    starts = set()
    model = _small()
    for length in range(0, 256, 8):
        save_file(state, path, metadata={"note": "x" * length})
        starts.add(path.read_bytes()[:1])
        with pytest.raises(WeightsError):
            sg.models.load_weights(model, path)
    assert b"\x80" in starts


def test_files_that_are_no_weights_are_told(tmp_path):
    with pytest.raises(DataError, match="missing"):
        sg.models.load_weights(_small(), tmp_path / "nowhere.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(DataError, match=r"of no known format.*`torchvision`"):
        sg.models.load_weights(_small(), tmp_path / "text.safetensors")
    with pytest.raises(DataError, match="safetensors file is whole"):
        sg.models.load_weights(_small(), tmp_path / "text.safetensors", format="torchvision")
    with pytest.raises(ArgumentError, match="Did you mean `torchvision`"):
        sg.models.load_weights(_small(), tmp_path / "text.safetensors", format="torch_vision")


def _small() -> keras.Model:
    return sg.models.unet((32, 32, 1), num_classes=2, width=4, depth=1)
