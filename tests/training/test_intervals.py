"""Intervals and comparisons agree with plain loops over resampled images, and hold what they promise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from segnosis.training.intervals import HEADLINES, compare, holm, intervals
from segnosis.training.scores import from_counts

pytestmark = pytest.mark.one_backend
NAMES = ("background", "cell", "spot")


def _counts(images: int, seed: int, skill: float = 0.7) -> np.ndarray:
    """Counts of images of 400 pixels; `spot` is in every second one."""
    rng = np.random.default_rng(seed)
    out = np.zeros((images, 3, 3), np.int64)
    for image, row in enumerate(out):
        true = rng.multinomial(400, [0.7, 0.2, 0.1] if image % 2 else [0.8, 0.2, 0.0])
        row[:, 0] = rng.binomial(true, skill)
        row[:, 1] = true
        row[:, 2] = row[:, 0] + rng.binomial(40, 0.3, 3) * (true > 0)
    return out


def test_the_bootstrap_is_that_of_a_loop_over_groups() -> None:
    counts, groups = _counts(9, 0), ["a", "a", "b", "c", "c", "c", "d", "e", "e"]
    found = intervals(counts, groups, NAMES, resamples=400, seed=5)
    assert found is not None and found["groups"] == 5
    drawn = np.random.default_rng(5).multinomial(5, [0.2] * 5, size=400)
    scores: dict[str, list[float]] = {name: [] for name in (*HEADLINES, "cell", "spot", "per image")}
    for weights in drawn:
        chosen = [
            image
            for weight, name in zip(weights, "abcde", strict=True)
            for image in [i for i, group in enumerate(groups) if group == name] * weight
        ]
        said = from_counts(counts[chosen].sum(axis=0), NAMES)
        for name in HEADLINES:
            scores[name].append(said[name])
        for name in ("cell", "spot"):
            scores[name].append(said["per_class"][name]["iou"])
        each = [from_counts(counts[image], NAMES)["per_class"]["spot"]["dice"] for image in chosen]
        known = [value for value in each if value is not None]
        scores["per image"].append(float(np.mean(known)) if known else np.nan)

    def limits(values: list[float]) -> list[float]:
        known = [value for value in values if value is not None and not np.isnan(value)]
        return list(np.quantile(known, [0.025, 0.975]))

    for name in HEADLINES:
        assert found[name] == pytest.approx(limits(scores[name])), name
    for name in ("cell", "spot"):
        assert found["per_class"][name]["iou"] == pytest.approx(limits(scores[name]))
    assert found["per_class"]["spot"]["dice_per_image"] == pytest.approx(limits(scores["per image"]))


def test_groups_of_alike_images_make_intervals_wider() -> None:
    one = _counts(6, 1, skill=0.5) * np.array([1, 1, 1])
    one[:3] = _counts(3, 2, skill=0.95)
    copies = np.repeat(one, 10, axis=0)
    apart = intervals(copies, [str(i) for i in range(60)], NAMES)
    together = intervals(copies, [str(i // 10) for i in range(60)], NAMES)
    assert apart is not None and together is not None
    width = [np.ptp(found["foreground_dice"]) for found in (apart, together)]
    assert width[1] > 2 * width[0]


def test_one_group_has_no_interval_and_an_absent_class_none_of_its_own() -> None:
    counts = _counts(4, 3)
    assert intervals(counts, ["a"] * 4, NAMES) is None
    counts[:, 2] = 0
    found = intervals(counts, list("abcd"), NAMES)
    assert found is not None and found["per_class"]["spot"]["dice"] is None
    assert found["foreground_dice"] == found["per_class"]["cell"]["dice"]


def test_the_permutation_test_tries_every_exchange_of_few_groups() -> None:
    first, second, groups = _counts(6, 4), _counts(6, 5, skill=0.8), list("aabbcd")
    said = compare(first, second, groups, NAMES)["foreground_dice"]

    def difference(swapped: tuple[int, ...]) -> float:
        swap = np.array([swapped["abcd".index(group)] for group in groups], bool)[:, None, None]
        after, before = np.where(swap, first, second), np.where(swap, second, first)
        return (
            from_counts(after.sum(0), NAMES)["foreground_dice"] - from_counts(before.sum(0), NAMES)["foreground_dice"]
        )

    observed = difference((0, 0, 0, 0))
    all_of_them = [difference(swapped) for swapped in itertools.product((0, 1), repeat=4)]
    extreme = np.mean([abs(value) >= abs(observed) - 1e-12 for value in all_of_them])
    assert said["difference"] == pytest.approx(observed)
    assert said["p_value"] == pytest.approx(extreme)
    assert said["low"] <= said["difference"] <= said["high"]


def test_a_run_does_not_differ_from_itself_and_a_better_one_does() -> None:
    first, groups = _counts(30, 6), [str(number) for number in range(30)]
    same = compare(first, first, groups, NAMES)["mean_iou"]
    assert same["difference"] == 0.0 and same["p_value"] == 1.0
    second = first.copy()
    second[:, 1:, 0] = second[:, 1:, 1]
    better = compare(first, second, groups, NAMES)
    assert better["mean_iou"]["p_value"] < 0.01 and better["mean_iou"]["low"] > 0
    assert better["dice of cell"]["difference"] > 0


def test_holm_is_the_step_down_of_its_definition() -> None:
    values = [0.04, 0.001, 0.02, 0.5]
    order = np.argsort(values)
    expected, worst = [0.0] * 4, 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (4 - rank) * values[place]))
        expected[place] = worst
    assert holm(values) == pytest.approx(expected)
