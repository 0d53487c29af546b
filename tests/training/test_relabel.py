"""Masks of other orders and names are scored as the classes they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segnosis as sg
from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import ArgumentError
from segnosis.training.evaluate import evaluate
from segnosis.training.relabel import Relabel

pytestmark = pytest.mark.one_backend
OURS = ("background", "liver", "tumour")


def _spec(*names: str, ignore: int | None = None) -> DatasetSpec:
    return DatasetSpec("voc", "", names, 1, ignore_class=ignore, values={10 * k: k for k in range(len(names))})


def test_other_orders_fewer_classes_and_capitals_are_matched_by_name() -> None:
    assert Relabel.by_name(OURS, _spec("background", "Tumour", "liver")).ids == (0, 2, 1)
    assert Relabel.by_name(OURS, _spec("background", "tumour")).ids == (0, 2)


def test_names_nobody_gave_are_taken_in_their_order_and_told() -> None:
    relabel = Relabel.by_name(OURS, _spec("background", "class 3", "class 7"))
    assert relabel.ids == (0, 1, 2)
    assert "class 3 is liver" in relabel.says and "--map" in relabel.says
    exchanged = Relabel.by_name(OURS, _spec("background", "class 1", "class 2"), {"10": "tumour", "20": "liver"})
    assert exchanged.ids == (0, 2, 1) and "--map" not in exchanged.says
    assert Relabel.by_name(OURS, _spec(*OURS)).says == ""


def test_classes_are_mapped_merged_and_left_out_as_told() -> None:
    spec = _spec("background", "core", "edema", "stent", ignore=255)
    told = {"core": "tumour", "20": "Tumour", "stent": "ignore"}
    relabel = Relabel.by_name(OURS, spec, told)
    mask = np.array([[0, 1, 2], [3, 255, 7]], np.uint8)
    assert relabel.truth(mask).tolist() == [[0, 2, 2], [-1, -1, -1]]


@pytest.mark.parametrize(
    ("names", "told", "says"),
    [
        (("background", "spleen"), {}, "spleen"),
        (("background", "core"), {"core": "tumor"}, "Did you mean `tumour`"),
        (("background", "core"), {"99": "tumour"}, "99"),
        (("background", "class 1"), {}, 'ignore=class 1'),
    ],
)  # fmt: skip
def test_a_class_of_no_name_is_one_clear_error(names: tuple[str, ...], told: dict[str, str], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        Relabel.by_name(OURS, _spec(*names), told)


class _Knows:
    """Predicts what is drawn in the image: its brightness is the class id of the run."""

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[image[..., 0] // 100]


def test_masks_in_another_order_score_as_if_in_ours(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        drawn = rng.integers(0, 3, (30 + number, 24)).astype(np.uint8)
        for kind, picture in (("images", 100 * drawn), ("masks", np.array([0, 2, 1], np.uint8)[drawn])):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / kind / f"{number}.png")
    data = sg.data.open(tmp_path, class_names=("background", "tumour", "liver"))
    scores = evaluate(_Knows(), data, relabel=Relabel.by_name(OURS, data.spec))
    assert scores["mean_iou"] == 1.0 and tuple(scores["per_class"]) == OURS
    assert scores["resampled"] == "image" and scores["intervals"]["groups"] == 3
    assert evaluate(_Knows(), data)["mean_iou"] < 0.7
