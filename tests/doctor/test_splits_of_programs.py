"""Training and validation batches against each other: what is another site, and what is augmentation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from segnosis.doctor.case import Case
from segnosis.doctor.check import find
from segnosis.doctor.evidence.drawn_again import measure as drawn_again
from segnosis.doctor.examine import examine
from segnosis.doctor.pair_patients import batches, scenes
from segnosis.doctor.verdict import AnyVerdict, Finding, Healthy


def split_shift(case: Case) -> AnyVerdict:
    return examine(case, checks=[find("DAT006")]).verdicts[0]


def two_sites(change: Any, **fields: Any) -> Case:
    images, masks = scenes(72, size=32)
    held_out, their_masks = change(images[48:], masks[48:])
    return Case(batches=batches(images[:48], masks[:48]), validation_batches=batches(held_out, their_masks), **fields)


def test_brighter_validation_images_of_a_pipeline_are_suspected() -> None:
    found = split_shift(two_sites(lambda images, masks: (255 - 0.45 * (255 - images), masks)))
    assert isinstance(found, Finding) and found.level == "suspected" and "Brightness" in found.says


@pytest.mark.parametrize("unchanged", [True, False])
def test_a_common_class_that_validation_lacks_is_suspected_unless_augmentation_explains_it(unchanged: bool) -> None:
    images, masks = scenes(72, size=32)
    ids = masks * (1 + (np.arange(32) > 16)).astype("uint8")
    arguments = {"x": images, "validation_data": (images[48:], None)} if unchanged else {}
    case = Case(
        batches=batches(images[:48], ids[:48]),
        validation_batches=batches(images[48:], masks[48:]),
        fit_arguments=arguments,
    )
    found = split_shift(case)
    assert isinstance(found, Finding) == unchanged
    assert not isinstance(found, Finding) or "value 2" in found.says


@pytest.mark.parametrize("gain", [1.15, 0.8])
def test_stronger_contrast_and_larger_objects_may_be_augmentation(gain: float) -> None:
    enlarged = two_sites(lambda images, masks: (images.mean() + gain * (images - images.mean()), masks | (images > 90)))
    assert isinstance(split_shift(enlarged), Healthy)


def test_slices_of_one_patient_are_few_samples() -> None:
    along = np.linspace(150, 190, 24, dtype="float32")[:, None, None]
    assert isinstance(split_shift(two_sites(lambda images, masks: (images + along, masks))), Healthy)


class Batches(keras.utils.PyDataset):
    """Eight batches of noise, each sample maybe mirrored or made brighter."""

    def __init__(self, light: float) -> None:
        super().__init__()
        self.light, self.random = light, np.random.default_rng(0)
        self.x, self.y = np.random.default_rng(1).random((32, 8, 8, 1)), np.eye(8)[None].repeat(32, 0)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(4 * index, 4 * index + 4)
        return self.x[part] * (1 + self.light * self.random.random()), self.y[part]


@pytest.mark.parametrize("light", [0.0, 0.5])
def test_a_second_draw_tells_augmentation(light: float) -> None:
    from segnosis.doctor.batches import draw

    data = Batches(light)
    assert drawn_again(draw(data).batches, {"x": data}).unchanged == (light == 0)
