"""Intervals and comparisons against slow references, and against what statistics says they must do."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import segnosis as sg
from segnosis.core.errors import ArgumentError
from segnosis.metrics.statistics import bootstrap_interval, paired_comparison

SCORES = [0.2, 0.5, 0.9, 0.4]


def every_resample(scores):
    """Means of all the samples with replacement there are, which random ones approach."""
    return [np.mean(drawn) for drawn in itertools.product(scores, repeat=len(scores))]


def every_swap(first, second):
    """Two-sided p-value over all the ways to swap the two results of an image."""
    difference = [b - a for a, b in zip(first, second, strict=True)]
    observed = abs(sum(difference))
    swapped = [
        abs(sum(sign * d for sign, d in zip(signs, difference, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(difference))
    ]
    return np.mean([value >= observed - 1e-12 for value in swapped])


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_interval_is_that_of_all_resamples(confidence):
    value, low, high = bootstrap_interval(SCORES, confidence=confidence, resamples=4000)
    expected = np.quantile(every_resample(SCORES), [(1 - confidence) / 2, (1 + confidence) / 2])
    assert value == pytest.approx(0.5)
    np.testing.assert_allclose([low, high], expected, atol=0.03)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    draw = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        _, low, high = bootstrap_interval(draw.beta(4, 2, 40), confidence=0.9, resamples=200, seed=seed)
        covered += low <= 4 / 6 <= high
    assert 0.8 < covered / 200 < 0.97  # 0.9, with its spread over 200 trials and a little optimism for 40 images


def test_equal_images_leave_nothing_to_doubt():
    assert bootstrap_interval([0.7] * 5) == pytest.approx((0.7, 0.7, 0.7))


def test_whole_groups_are_drawn():
    twins = np.repeat(SCORES, 5)  # five alike images of each patient are no more evidence than one
    patients = np.repeat(["a", "b", "c", "d"], 5)
    grouped = bootstrap_interval(twins, groups=patients, resamples=4000)
    alone = bootstrap_interval(twins, resamples=4000)
    np.testing.assert_allclose(grouped, bootstrap_interval(SCORES, resamples=4000), atol=0.03)
    assert alone.high - alone.low < 0.7 * (grouped.high - grouped.low)


def test_any_statistic_of_confusion_matrices():
    matrices = np.array([[[8, 2], [0, 0]], [[5, 0], [1, 4]], [[6, 1], [1, 2]]])
    metric = sg.metrics.MeanIoU(2)

    def iou(chosen):
        return float(np.mean(metric.scores_of(chosen.sum(axis=0))))

    value, low, high = bootstrap_interval(matrices, statistic=iou, resamples=2000)
    assert value == pytest.approx(np.mean([19 / 24, 6 / 11]))  # of the whole data set, not a mean over images
    all_of_them = [iou(matrices[list(chosen)]) for chosen in itertools.product(range(3), repeat=3)]
    # 3 images have 27 resamples, so that the least and the largest value are each more likely than 2.5 %.
    assert (low, high) == pytest.approx((min(all_of_them), max(all_of_them)))


def test_seed_decides():
    assert bootstrap_interval(SCORES, seed=3) == bootstrap_interval(SCORES, seed=3)
    assert bootstrap_interval(SCORES, seed=3, resamples=50) != bootstrap_interval(SCORES, seed=4, resamples=50)


def test_p_value_is_that_of_all_swaps():
    draw = np.random.default_rng(1)
    first = draw.uniform(size=8)
    second = first + draw.normal(0.1, 0.15, 8)
    comparison = paired_comparison(first, second, resamples=4000)
    assert comparison.difference == pytest.approx(np.mean(second - first))
    assert comparison.p_value == pytest.approx(every_swap(first, second), abs=0.04)


def test_interval_of_a_difference_is_that_of_all_resamples():
    gain = np.array([0.1, 0.3, -0.2, 0.2])
    _, low, high, _ = paired_comparison(SCORES, SCORES + gain, resamples=4000)
    np.testing.assert_allclose([low, high], np.quantile(every_resample(gain), [0.025, 0.975]), atol=0.03)


def test_comparison_the_other_way_round_is_its_mirror():
    first, second = np.array(SCORES), np.array([0.3, 0.5, 0.7, 0.8])
    one, other = paired_comparison(first, second), paired_comparison(second, first)
    assert other.difference == -one.difference
    np.testing.assert_allclose([other.low, other.high], [-one.high, -one.low], atol=1e-9)
    assert other.p_value == one.p_value


def test_a_run_against_itself_is_no_different():
    assert paired_comparison(SCORES, SCORES) == (0.0, 0.0, 0.0, 1.0)


def test_pairing_finds_a_small_steady_gain_among_images_that_differ_widely():
    first = np.linspace(0.1, 0.9, 20)
    gain = paired_comparison(first, first + 0.01)
    assert (gain.low, gain.high) == pytest.approx((0.01, 0.01))
    assert gain.p_value < 0.01  # 2 of 2 to the power of 20 swaps are as extreme


def test_runs_that_do_not_differ_are_seldom_called_different():
    draw = np.random.default_rng(2)
    called = 0
    for seed in range(200):
        first, second = draw.normal(0.7, 0.1, (2, 15))
        called += paired_comparison(first, second, resamples=100, seed=seed).p_value <= 0.05
    assert called / 200 < 0.12  # 0.05 and its spread


def test_groups_are_swapped_whole():
    first, gain = np.zeros(20), np.repeat([0.1, 0.1, 0.1, 0.1], 5)
    patients = np.repeat([1, 2, 3, 4], 5)
    assert paired_comparison(first, gain, groups=patients).p_value == pytest.approx(2 / 2**4, abs=0.03)
    assert paired_comparison(first, gain).p_value < 0.01


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        ({"confidence": 1.5}, "confidence=1.5"),
        ({"confidence": 0}, "confidence=0"),
        ({"resamples": 0}, "resamples=0"),
        ({"groups": ["a", "b"]}, r"len\(groups\)=2"),
        ({"groups": ["a"] * 4}, "groups=1"),
    ],
)
def test_wrong_arguments(arguments, received):
    sentences = rf".+\. Received: .*{received}.*\. [A-Z].+\."
    with pytest.raises(ArgumentError, match=sentences):
        bootstrap_interval(SCORES, **arguments)
    with pytest.raises(ArgumentError, match=sentences):
        paired_comparison(SCORES, SCORES, **arguments)


def test_too_few_images_and_runs_on_other_images():
    with pytest.raises(ArgumentError, match=r"Received: groups=1\. "):
        bootstrap_interval([0.5])
    with pytest.raises(ArgumentError, match=r"Received: first.shape=\(4,\), second.shape=\(3,\)\. "):
        paired_comparison(SCORES, SCORES[:3])
