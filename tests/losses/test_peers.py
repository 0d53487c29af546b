"""Agreement with other people's losses where the definitions coincide; the docstrings name where they do not."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

import numpy as np
import pytest

import segnosis as sg

torch = pytest.importorskip("torch", reason="the peers are torch losses")


@pytest.fixture(scope="module")
def monai():
    return pytest.importorskip("monai.losses", reason="MONAI is not installed; see benchmarks/requirements.txt")


@pytest.fixture(scope="module")
def smp():
    name = "segmentation_models_pytorch"
    spec = importlib.util.find_spec(name)
    if spec is None:
        pytest.skip(f"{name} is not installed; see benchmarks/requirements.txt")
    package = types.ModuleType(name)  # its own `__init__` wants torchvision, its losses do not
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules.setdefault(name, package)
    return importlib.import_module(f"{name}.losses")


@pytest.fixture(scope="module")
def batch():
    draw = np.random.default_rng(0)
    ids = np.concatenate([np.arange(4)[None].repeat(36, 1).reshape(1, 12, 12)] * 2)
    return ids, draw.normal(size=(2, 12, 12, 4)).astype("float32")


def agree(ours, theirs):
    np.testing.assert_allclose(float(ours), float(theirs), rtol=2e-5)


def channels_first(batch):
    ids, logits = batch
    return torch.tensor(ids), torch.tensor(np.moveaxis(logits, -1, 1).copy())


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("squared", [False, True])
def test_dice_is_monais(monai, batch, per_image, squared):
    y, z = channels_first(batch)
    theirs = monai.DiceLoss(softmax=True, to_onehot_y=True, batch=not per_image, squared_pred=squared)(z, y[:, None])
    agree(sg.losses.Dice(per_image=per_image, squared=squared)(*batch), theirs)


def test_jaccard_is_monais(monai, batch):
    y, z = channels_first(batch)
    theirs = monai.DiceLoss(softmax=True, to_onehot_y=True, batch=True, jaccard=True)(z, y[:, None])
    agree(sg.losses.Jaccard()(*batch), theirs)


def test_tversky_is_monais(monai, batch):
    y, z = channels_first(batch)
    theirs = monai.TverskyLoss(softmax=True, to_onehot_y=True, batch=True, alpha=0.2, beta=0.6)(z, y[:, None])
    agree(sg.losses.Tversky(alpha=0.2, beta=0.6)(*batch), theirs)


def test_generalized_dice_is_monais(monai, batch):
    y, z = channels_first(batch)
    theirs = monai.GeneralizedDiceLoss(softmax=True, to_onehot_y=True, batch=True, smooth_nr=0, smooth_dr=0)(
        z, y[:, None]
    )
    agree(sg.losses.GeneralizedDice()(*batch), theirs)


def test_focal_is_monais_times_the_classes(monai, batch):
    y, z = channels_first(batch)
    theirs = monai.FocalLoss(use_softmax=True, to_onehot_y=True, gamma=2.0)(z, y[:, None])
    agree(sg.losses.Focal(gamma=2.0)(*batch), 4 * float(theirs))  # MONAI averages over classes too


def test_cross_entropy_is_torchs(batch):
    y, z = channels_first(batch)
    y = torch.where(y == 3, 255, y)
    theirs = torch.nn.functional.cross_entropy(z, y, ignore_index=255, label_smoothing=0.1)
    agree(sg.losses.CrossEntropy(ignore_class=255, label_smoothing=0.1)(y.numpy(), batch[1]), theirs)


@pytest.mark.parametrize("name", ["Dice", "Jaccard"])
def test_region_losses_are_smps(smp, batch, name):
    y, z = channels_first(batch)
    agree(getattr(sg.losses, name)(smooth=0.0)(*batch), getattr(smp, f"{name}Loss")("multiclass")(z, y))


def test_tversky_is_smps(smp, batch):
    y, z = channels_first(batch)
    theirs = smp.TverskyLoss("multiclass", alpha=0.2, beta=0.6)(z, y)
    agree(sg.losses.Tversky(alpha=0.2, beta=0.6, smooth=0.0)(*batch), theirs)


@pytest.mark.parametrize("per_image", [False, True])
def test_lovasz_is_smps(smp, batch, per_image):
    y, z = channels_first(batch)
    agree(sg.losses.Lovasz(per_image=per_image, absent="skip")(*batch), smp.LovaszLoss("multiclass", per_image)(z, y))
