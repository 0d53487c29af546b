"""Agreement with torchmetrics and MONAI where the definitions coincide; the docstrings name where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

import segnosis as sg

torch = pytest.importorskip("torch", reason="the peers are torch metrics")
WANTED = "is not installed; see benchmarks/requirements.txt"


@pytest.fixture(scope="module")
def batch():
    """Blobs of class ids; predictions are the same blobs, some of them shifted or spoilt."""
    draw = np.random.default_rng(0)
    ids = draw.integers(0, 3, (4, 4, 4)).repeat(4, axis=1).repeat(4, axis=2)
    logits = 2.0 * np.eye(3)[np.roll(ids, 1, axis=1)] + draw.normal(size=(*ids.shape, 3))
    return ids, logits.astype("float32")


def value(metric, *batch):
    metric.update_state(*batch)
    return float(ops.convert_to_numpy(metric.result()))


def test_mean_iou_and_ignored_pixels_are_torchmetrics(batch):
    classification = pytest.importorskip("torchmetrics.classification", reason=f"torchmetrics {WANTED}")
    ids, logits = batch[0].copy(), batch[1]
    ids[:, :2] = 255
    theirs = classification.MulticlassJaccardIndex(3, ignore_index=255)
    theirs.update(torch.tensor(logits.argmax(-1)), torch.tensor(ids))
    assert value(sg.metrics.MeanIoU(3, ignore_class=255), ids, logits) == pytest.approx(
        float(theirs.compute()), rel=1e-5
    )


def test_mean_dice_is_torchmetrics_macro_f1(batch):
    classification = pytest.importorskip("torchmetrics.classification", reason=f"torchmetrics {WANTED}")
    ids, logits = batch
    theirs = classification.MulticlassF1Score(3, average="macro")(torch.tensor(logits.argmax(-1)), torch.tensor(ids))
    assert value(sg.metrics.MeanDice(3), ids, logits) == pytest.approx(float(theirs), rel=1e-5)


def test_calibration_error_is_torchmetrics(batch):
    classification = pytest.importorskip("torchmetrics.classification", reason=f"torchmetrics {WANTED}")
    ids, logits = batch
    theirs = classification.MulticlassCalibrationError(3, n_bins=15, norm="l1")
    theirs.update(torch.tensor(np.moveaxis(logits, -1, 1).copy()), torch.tensor(ids))
    ours = value(sg.metrics.ExpectedCalibrationError(3), ids, logits)
    assert ours == pytest.approx(float(theirs.compute()), rel=1e-4)


def channels_first(ids):
    return torch.tensor(np.moveaxis(np.eye(3)[ids], -1, 1))


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI warns of a call of its own
@pytest.mark.parametrize("spacing", [None, (0.5, 2.0)])
def test_surface_distances_are_monais(batch, spacing):
    metrics = pytest.importorskip("monai.metrics", reason=f"MONAI {WANTED}")
    ids, logits = batch
    pred, true = channels_first(logits.argmax(-1)), channels_first(ids)
    hausdorff = metrics.compute_hausdorff_distance(pred, true, percentile=95, spacing=spacing)
    ours = value(sg.metrics.HausdorffDistance95(3, spacing=spacing), ids, logits)
    assert ours == pytest.approx(float(hausdorff.mean()), rel=1e-5)
    surface = metrics.compute_surface_dice(pred, true, class_thresholds=[1.0, 1.0], spacing=spacing)
    ours = value(sg.metrics.NormalizedSurfaceDistance(3, tolerance=1.0, spacing=spacing), ids, logits)
    assert ours == pytest.approx(float(surface.mean()), rel=1e-5)
