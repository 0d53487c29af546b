from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from segnosis import losses, models
from segnosis.core import discovery

X = np.random.default_rng(0).random((2, 16, 16, 1), "float32")
Y = np.random.default_rng(1).integers(0, 3, (2, 16, 16)).astype("int32")
LESIONS = {"upsampling": "transposed", "normalization": None, "dropout": 0.5, "l2": 1e-4}


def test_the_published_lesion_network_to_the_last_parameter_and_layer() -> None:
    model = models.unet_plus_plus((96, 96, 1), 2, **LESIONS)
    assert model.count_params() == 9_041_634
    assert len(model.layers) == 86
    # He initialization has variance 2 / fan-in, so a kernel's squares sum to 2 × filters (3×3 and 1×1), or to
    # 4 × filters where Keras counts the filters of a transposed one as its inputs and there are twice as many.
    filters = (32, 64, 128, 256, 512)
    convolutions = sum(2 * 2 * count * width for count, width in zip((5, 4, 3, 2, 1), filters, strict=True))
    transposed = sum(4 * count * width for count, width in zip((4, 3, 2, 1), filters[:4], strict=True))
    expected = 1e-4 * (convolutions + transposed + 2 * 2)
    assert expected == pytest.approx(1.0629, abs=2e-4)
    assert keras.ops.convert_to_numpy(sum(model.losses)) == pytest.approx(expected, abs=0.01)


def test_its_variant_of_five_softmaxes_can_be_rebuilt() -> None:
    heads = models.unet_plus_plus((96, 96, 1), 2, **LESIONS, deep_supervision=True)
    for layer in heads.layers:
        if layer.name.startswith("head"):
            layer.activation = keras.activations.softmax
    network = keras.models.clone_model(heads)  # the graph anew, soft-max inside the four heads
    fifth = keras.layers.Conv2D(2, 1, activation="softmax", kernel_regularizer=keras.regularizers.L2(1e-4))
    model = keras.Model(network.inputs, fifth(keras.layers.Concatenate()(network.outputs)))
    assert model.count_params() == 9_041_850
    assert len(model.layers) == 91


def test_nested_units_see_all_before_them_on_their_level() -> None:
    model = models.unet_plus_plus((32, 32, 1), 2, width=4, depth=3)
    channels = {
        layer.name: layer.output.shape[-1] for layer in model.layers if isinstance(layer, keras.layers.Concatenate)
    }
    assert channels == {  # j + 1 features of the level's width, then the up-sampled ones from below
        "decoder1_1_concat": 4 + 8,
        "decoder1_2_concat": 8 + 8,
        "decoder1_3_concat": 12 + 8,
        "decoder2_1_concat": 8 + 16,
        "decoder2_2_concat": 16 + 16,
        "decoder3_1_concat": 16 + 32,
    }


def test_one_output_per_depth() -> None:
    model = models.unet_plus_plus((None, None, 1), 2, width=4, depth=3, deep_supervision=True)
    assert model.output_names == ["head1_crop", "head2_crop", "head3_crop"]
    logits = model.predict_on_batch(np.random.default_rng(0).random((2, 19, 12, 1), "float32"))
    assert [one.shape for one in logits] == [(2, 19, 12, 2)] * 3
    assert not np.allclose(logits[0], logits[2])


@pytest.mark.parametrize("name", discovery.names("segnosis.losses"))
def test_every_loss_averages_over_the_depths_in_one_line(name: str, deep: keras.Model) -> None:
    loss = _default(name)
    deep.compile("sgd", loss=[loss] * 2, loss_weights=[1 / 2] * 2, run_eagerly=True)  # compiling costs seconds each
    averaged = np.mean([keras.ops.convert_to_numpy(loss(Y, logits)) for logits in deep(X)])
    before = _heads(deep)
    seen = deep.train_on_batch(X, [Y] * 2, return_dict=True)["loss"]
    assert float(seen) == pytest.approx(averaged, rel=1e-4)
    assert all((old != new).any() for old, new in zip(before, _heads(deep), strict=True))


def test_fit_takes_the_mask_once_per_depth(deep: keras.Model) -> None:
    deep.compile("adam", loss=[losses.Dice()] * 2, loss_weights=[1 / 2] * 2)
    before = _heads(deep)
    deep.fit(X, [Y] * 2, validation_data=(X, [Y] * 2), verbose=0)
    assert all((old != new).any() for old, new in zip(before, _heads(deep), strict=True))


def test_a_backbone_without_the_half_resolution_serves_every_head() -> None:
    image = keras.Input((None, None, 3))
    quarter = keras.layers.Conv2D(4, 4, 4)(image)
    backbone = keras.Model(image, {"P2": quarter, "P3": keras.layers.Conv2D(8, 2, 2)(quarter)})
    model = models.unet_plus_plus((None, None, 3), 2, width=4, depth=3, backbone=backbone, deep_supervision=True)
    assert [one.shape for one in model.predict_on_batch(np.zeros((1, 9, 17, 3), "float32"))] == [(1, 9, 17, 2)] * 3


@pytest.fixture(scope="module")
def deep() -> keras.Model:
    # Without normalization, logits in training are those of inference.
    return models.unet_plus_plus((16, 16, 1), 3, width=2, depth=2, normalization=None, deep_supervision=True)


def _heads(model: keras.Model) -> list[np.ndarray]:
    return [weight for head in ("head1", "head2") for weight in model.get_layer(head).get_weights()]


def _default(name: str) -> Any:
    module = discovery.load("segnosis.losses", name)
    loss = next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, keras.losses.Loss) and value.__module__ == module.__name__
    )
    return loss([losses.Dice(), losses.CrossEntropy()]) if name == "sum" else loss()
