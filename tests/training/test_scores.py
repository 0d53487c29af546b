"""Scores agree with a plain loop, and ignored pixels count for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from segnosis.training.scores import confusion, from_confusion


def test_confusion_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.choice([0, 1, 2, 3, 255], (7, 9)), rng.integers(0, 4, (7, 9))
    expected = np.zeros((4, 4), int)
    for t, g in zip(truth.ravel(), guess.ravel(), strict=True):
        if t != 255:
            expected[t, g] += 1
    assert (confusion(truth, guess, 4, 255) == expected).all()


def test_an_ignored_class_inside_the_range_is_left_out() -> None:
    assert confusion(np.array([0, 1, 2]), np.array([0, 1, 2]), 3, 2).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_iou_and_dice_by_set_arithmetic() -> None:
    rng = np.random.default_rng(1)
    truth, guess = rng.integers(0, 3, 500), rng.integers(0, 3, 500)
    scores = from_confusion(confusion(truth, guess, 3, None), ["a", "b", "c"])
    for index, name in enumerate("abc"):
        both = np.sum((truth == index) & (guess == index))
        either = np.sum((truth == index) | (guess == index))
        assert scores["per_class"][name]["iou"] == pytest.approx(both / either)
        assert scores["per_class"][name]["dice"] == pytest.approx(
            2 * both / (np.sum(truth == index) + np.sum(guess == index))
        )
    assert scores["foreground_iou"] == pytest.approx(np.mean([scores["per_class"][n]["iou"] for n in "bc"]))
    assert scores["pixel_accuracy"] == pytest.approx(np.mean(truth == guess))


def test_a_class_neither_present_nor_predicted_has_no_score() -> None:
    scores = from_confusion(confusion(np.array([0, 1]), np.array([0, 1]), 3, None), ["a", "b", "c"])
    assert scores["per_class"]["c"]["iou"] is None
    assert scores["mean_iou"] == 1.0


def test_a_class_predicted_but_absent_counts_as_zero() -> None:
    scores = from_confusion(confusion(np.array([0, 0]), np.array([0, 1]), 2, None), ["a", "b"])
    assert scores["foreground_dice"] == 0.0
