"""What the lists of a pipeline put beside each other is told by the names in them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from segnosis.doctor.case import Case
from segnosis.doctor.check import all_checks
from segnosis.doctor.evidence import Unavailable, held_sources, paired_names
from segnosis.doctor.evidence.paired_names import PairedNames
from segnosis.doctor.examine import examine
from segnosis.doctor.pair_patients import batches, scenes
from segnosis.doctor.verdict import Finding

pytestmark = pytest.mark.one_backend

IMAGES = [f"data/images/{number}.jpg" for number in range(1, 33)]
MASKS = [f"data/masks/{number}_mask.png" for number in range(1, 33)]


def measure(given: dict[str, Any], variables: dict[str, Any] | None = None) -> PairedNames:
    return paired_names.measure(held_sources.measure(given), variables)


@pytest.mark.parametrize(("masks", "wrong"), [(MASKS, 0), (sorted(MASKS), 32), ([*MASKS[1:], MASKS[0]], 32)])
def test_lists_of_one_object_are_held_against_each_other(masks: list[str], wrong: int) -> None:
    held = SimpleNamespace(files=IMAGES, labels=masks)
    assert measure({"x": held}).wrong == wrong
    assert measure({"x": SimpleNamespace(pairs=list(zip(IMAGES, masks, strict=True)))}).wrong == wrong
    assert measure({"x": tf.data.Dataset.from_tensor_slices((IMAGES, masks)).batch(2)}).wrong == wrong
    found = measure({"x": np.zeros((4, 8, 8, 1))}, {"image_files": IMAGES, "mask_files": masks})
    assert found.by_variables and found.wrong == wrong


@pytest.mark.parametrize("others", [MASKS[:20], [f"data/masks/of_{n + 100}.png" for n in range(32)], IMAGES[::-1]])
def test_lists_of_other_samples_are_no_pairs(others: list[str]) -> None:
    with pytest.raises(Unavailable):
        measure({"x": SimpleNamespace(files=IMAGES, labels=others)})


def verdict(held: SimpleNamespace, order: np.ndarray, noise: float) -> Finding | None:
    images, masks = scenes(32)
    images = images + np.random.default_rng(0).normal(0, noise, images.shape)
    case = Case(batches=batches(images, masks[order]), fit_arguments={"x": held})
    checks = [check for check in all_checks() if check.code == "DAT001"]
    found = examine(case, checks=checks).verdicts[0]
    return found if isinstance(found, Finding) else None


def test_names_decide_where_pixels_cannot() -> None:
    apart = SimpleNamespace(files=IMAGES, labels=[*MASKS[1:], MASKS[0]])
    hidden = verdict(apart, np.roll(np.arange(32), -1), noise=3000.0)
    assert hidden is not None and "2_mask.png stands beside 1.jpg" in hidden.says
    assert verdict(apart, np.arange(32), noise=0.0) is None  # the pairs fit: the lists are not read place by place
