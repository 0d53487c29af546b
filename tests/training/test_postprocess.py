"""Post-processing: what each step does, and that only what helps is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segnosis.training.postprocess import Postprocessing, Steps, choose


def _certain(mask: np.ndarray, classes: int = 2, sure: float = 0.9) -> np.ndarray:
    """Probabilities whose best class is `mask`."""
    rest = (1 - sure) / (classes - 1)
    return np.where(np.arange(classes) == mask[..., None], sure, rest)


def test_the_largest_piece_is_that_of_the_volume() -> None:
    mask = np.zeros((3, 8, 8), int)
    mask[:, 1:4, 1:4] = 1
    mask[1, 6:8, 6:8] = 1
    expected = mask.copy()
    expected[1, 6:8, 6:8] = 0
    found = Postprocessing({1: Steps(largest=True)}).mask(_certain(mask))
    assert np.array_equal(found, expected)


def test_holes_are_filled_but_not_with_other_classes_inside() -> None:
    mask = np.ones((1, 7, 7), int)
    mask[0, 2:5, 2:5] = 0
    mask[0, 3, 3] = 2
    found = Postprocessing({1: Steps(fill=True)}).mask(_certain(mask, 3))
    assert np.array_equal(found[0] == 2, mask[0] == 2)
    assert not (found == 0).any()


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_a_threshold_is_the_probability_at_which_a_class_wins(threshold: float) -> None:
    probability = np.linspace(0.05, 0.95, 19)
    found = Postprocessing({1: Steps(threshold=threshold)}).decide(np.stack([1 - probability, probability], -1))
    clear = np.abs(probability - threshold) > 1e-6
    assert np.array_equal((found == 1)[clear], (probability > threshold)[clear])


def test_json_round_trip() -> None:
    made = Postprocessing({1: Steps(0.4, True, False), 3: Steps(fill=True)})
    assert Postprocessing.from_json(made.to_json()) == made


class _Data:
    """Two images with one disc each, as a data set."""

    def __init__(self, masks: list[np.ndarray]) -> None:
        self.masks = masks

    class spec:  # noqa: N801
        num_classes = 2

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> Any:
        class Sample:
            image, mask, id = self.masks[index], self.masks[index], str(index)

        return Sample

    def volume_of(self, index: int) -> None:
        return None


class _Guess:
    """Predicts the mask it is shown, wrong in a way of its own."""

    def __init__(self, wrong: Any) -> None:
        self.probabilities = lambda image: wrong(_certain(image))


def _discs() -> Any:
    rows, columns = np.mgrid[:40, :40]
    return _Data([((rows - 20) ** 2 + (columns - c) ** 2 < 100).astype(np.uint8) for c in (15, 22)])


def test_only_what_raises_the_score_is_chosen() -> None:
    def speck(p: np.ndarray) -> np.ndarray:
        p = p.copy()
        p[1:4, 1:4] = 0.1, 0.9
        return p

    def hole(p: np.ndarray) -> np.ndarray:
        p = p.copy()
        p[18:22, 16:20] = 0.9, 0.1
        return p

    def timid(p: np.ndarray) -> np.ndarray:
        return np.stack([1 - 0.5 * p[..., 1], 0.5 * p[..., 1]], -1)

    data: Any = _discs()
    for wrong, expected in (
        (lambda p: p, {}),
        (speck, {1: Steps(largest=True)}),
        (hole, {1: Steps(fill=True)}),
        (timid, {1: Steps(threshold=0.3)}),
    ):
        predictor: Any = _Guess(wrong)
        assert choose([(predictor, data)]).steps == expected
