"""Each measure against an independent count, on images made for it; ignored pixels count for nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

import segnosis as sg
from segnosis.training.measures.base import Scored, measures
from segnosis.training.measures.boundaries import WIDTHS, Boundaries
from segnosis.training.measures.calibration import BINS, Calibration
from segnosis.training.measures.doubts import Doubts, merged
from segnosis.training.measures.objects import Objects, match

pytestmark = pytest.mark.one_backend
NAMES = ("background", "cell", "spot")


def _scored(seed: int, size: tuple[int, int] = (40, 52), *, ignored: bool = True) -> Scored:
    """Blobs of three classes, and a prediction that is right in most of them."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(3, *size)), (0, 3, 3))
    truth = (fields + np.array([0.05, 0, 0])[:, None, None]).argmax(axis=0).astype(np.int32)
    logits = 60 * (fields + ndimage.gaussian_filter(rng.normal(size=(3, *size)), (0, 2, 2)) * 0.4)
    probabilities = np.exp(logits - logits.max(axis=0))
    probabilities = np.moveaxis(probabilities / probabilities.sum(axis=0), 0, -1).astype(np.float32)
    if ignored:
        truth[rng.random(size) < 0.05] = -1
    return Scored(f"{seed}", f"{seed}", truth, probabilities.argmax(axis=-1).astype(np.int32), probabilities)


def test_every_measure_gives_plain_json_and_nothing_of_nothing() -> None:
    for name, measure in measures(NAMES).items():
        assert measure.result() is None, name
        measure.add(_scored(0))
        measure.add(_scored(1, (31, 20)))
        json.dumps(measure.result(), allow_nan=False)
    assert list(measures(NAMES, ("doubts",))) == ["doubts"]


def test_boundaries_are_counted_as_the_metric_counts_them() -> None:
    samples = [_scored(seed) for seed in range(3)]
    measure = Boundaries(NAMES)
    for sample in samples:
        measure.add(sample)
    for entry, width in zip(measure.result() or (), WIDTHS, strict=True):
        metric = sg.metrics.BoundaryIoU(num_classes=3, width=width, ignore_class=255)
        for sample in samples:
            metric.update_state(np.where(sample.truth < 0, 255, sample.truth)[None], sample.guess[None])
        assert list(entry["per_class"].values()) == pytest.approx(list(metric.per_class()))
        assert entry["mean_iou"] == pytest.approx(float(metric.result()))
        low, high = entry["intervals"]["foreground_iou"]
        assert low <= entry["foreground_iou"] <= high


def test_calibration_is_that_of_the_metric_and_of_a_loop() -> None:
    samples = [_scored(seed) for seed in range(2)]
    measure, metric = Calibration(NAMES), sg.metrics.ExpectedCalibrationError(3, ignore_class=255, from_logits=False)
    sums = np.zeros((BINS, 3))
    for sample in samples:
        measure.add(sample)
        metric.update_state(np.where(sample.truth < 0, 255, sample.truth)[None], sample.probabilities[None])
        for truth, prob in zip(sample.truth.ravel(), sample.probabilities.reshape(-1, 3), strict=True):
            if truth >= 0 and prob.argmax() > 0:
                at = min(BINS - 1, max(0, int(np.ceil(prob.max() * BINS)) - 1))
                sums[at] += 1, truth == prob.argmax(), prob.max()
    said = measure.result() or {}
    assert said["error"] == pytest.approx(float(metric.result()), abs=1e-5)
    assert said["foreground_error"] == pytest.approx(np.abs(sums[:, 1] - sums[:, 2]).sum() / sums[:, 0].sum())
    assert sum(b["all"]["pixels"] for b in said["bins"]) == sum((s.truth >= 0).sum() for s in samples)


def test_a_perfectly_calibrated_model_is_called_so_in_the_foreground_too() -> None:
    rng = np.random.default_rng(0)
    foreground = rng.random((400, 400)).astype(np.float32)
    probabilities = np.stack([1 - foreground, foreground], axis=-1)
    truth = (rng.random((400, 400)) < foreground).astype(np.int32)
    measure = Calibration(("background", "cell"))
    measure.add(Scored("a", "a", truth, probabilities.argmax(axis=-1).astype(np.int32), probabilities))
    said = measure.result() or {}
    assert said["error"] < 0.02 and said["foreground_error"] < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_objects_are_matched_as_a_loop_would(seed: int) -> None:
    sample = _scored(seed, ignored=False)
    true, guess = sample.truth == 1, sample.guess == 1
    facts = match(true, guess, np.ones_like(true))
    around = np.ones((3, 3))
    at_true, count = ndimage.label(true, around)
    at_guess, guesses = ndimage.label(guess, around)
    mine: dict[int, list[int]] = {k: [] for k in range(count + 1)}
    for g in range(1, guesses + 1):
        shared = np.bincount(at_true[at_guess == g], minlength=count + 1)[1:]
        # Of equal shares any may be the owner; such a draw would have to be settled as the code settles it.
        assert shared.max(initial=0) == 0 or (shared == shared.max()).sum() == 1
        mine[int(shared.argmax()) + 1 if shared.max(initial=0) else 0].append(g)
    area, dice, recall = [], [], []
    for t in range(1, count + 1):
        belongs = np.isin(at_guess, mine[t])
        area.append((at_true == t).sum())
        dice.append(2 * (belongs & (at_true == t)).sum() / (area[-1] + belongs.sum()))
        recall.append(((at_true == t) & guess).sum() / area[-1])
    assert sorted(facts.area) == sorted(area)
    assert sorted(facts.dice) == pytest.approx(sorted(dice))
    assert sorted(facts.recall) == pytest.approx(sorted(recall))
    assert facts.invented == len(mine[0])


def test_small_objects_missed_are_told_from_large_ones_found() -> None:
    truth = np.zeros((64, 64), np.int32)
    guess = truth.copy()
    for number, side in enumerate((2, 2, 6, 6, 12, 12)):
        top, left = 2 + 30 * (number % 2), 2 + 20 * (number // 2)
        truth[top : top + side, left : left + side] = 1
        if side > 2:
            guess[top : top + side, left : left + side] = 1
    guess[60:62, 60:62] = 1
    probabilities = np.eye(2, dtype=np.float32)[guess]
    measure = Objects(("background", "cell"))
    measure.add(Scored("a", "a", truth, guess, probabilities))
    said = (measure.result() or {})["cell"]
    assert said["objects"] == 6 and said["invented"] == 1
    assert said["small"] == {"objects": 2, "area": [4, 4], "found": 0.0, "recall": 0.0, "dice": 0.0}
    assert said["medium"] == {"objects": 2, "area": [36, 36], "found": 1.0, "recall": 1.0, "dice": 1.0}
    assert said["large"]["dice"] == 1.0


def test_what_an_ignored_rim_cuts_off_an_object_is_not_invented() -> None:
    truth = np.zeros((12, 12), np.int32)
    truth[3:9, 3:9] = -1  # the rim
    truth[4:8, 4:8] = 1
    guess = np.zeros_like(truth)
    guess[2:8, 4:8] = 1  # crosses the rim, and reaches one row beyond
    guess[11, 11] = 1
    measure = Objects(("background", "car"))
    measure.add(Scored("a", "a", truth, guess, np.eye(2, dtype=np.float32)[guess]))
    said = (measure.result() or {})["car"]
    assert said["objects"] == 1 and said["invented"] == 1 and said["small"]["found"] == 1.0


def test_objects_of_one_size_are_one_third() -> None:
    truth = np.zeros((20, 20), np.int32)
    truth[2:4, 2:4] = truth[10:12, 10:12] = 1
    measure = Objects(("background", "cell"))
    measure.add(Scored("a", "a", truth, truth, np.eye(2, dtype=np.float32)[truth]))
    said = (measure.result() or {})["cell"]
    assert said["small"]["objects"] == 2 and "medium" not in said and "large" not in said


def test_a_forgotten_object_is_doubted_and_a_ragged_contour_is_not() -> None:
    drawn = np.zeros((40, 40), np.int32)
    drawn[5:15, 5:15] = drawn[22:32, 20:34] = 1
    sure = (0.01 + 0.98 * np.eye(2))[drawn].astype(np.float32)
    forgotten, ragged, ignored = drawn.copy(), drawn.copy(), drawn.copy()
    forgotten[22:32, 20:34] = 0
    ragged[4, 5:15] = ragged[22:32, 34] = 1
    ignored[22:32, 20:34] = -1
    measure = Doubts(("background", "cell"))
    for name, truth in (("right", drawn), ("forgotten", forgotten), ("ragged", ragged), ("ignored", ignored)):
        measure.add(Scored(name, name, truth, drawn, sure))
    said = measure.result() or {}
    assert said["looked_at"] == 4
    (row,) = said["listed"]
    assert row["id"] == "forgotten" and row["box"] == [22, 20, 10, 14] and row["pixels"] == 140
    assert row["mask_says"] == "background" and row["model_says"] == "cell"
    assert row["share"] == pytest.approx(140 / 1600) and row["confidence"] == pytest.approx(0.99)
    both = merged({"held-out": said, "validation": None, "more": said}) or {}
    assert [row["part"] for row in both["listed"]] == ["held-out", "more"]
    assert both["looked_at"] == {"held-out": 4, "more": 4}


def test_an_unsure_model_doubts_nothing() -> None:
    truth = np.zeros((20, 20), np.int32)
    unsure = np.broadcast_to(np.float32([0.3, 0.7]), (20, 20, 2))
    measure = Doubts(("background", "cell"))
    measure.add(Scored("a", "a", truth, np.ones_like(truth), np.asarray(unsure)))
    assert (measure.result() or {})["listed"] == []
