"""A training that cannot begin is one clear error, and leaves everything as it found it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import segnosis as sg
from segnosis.core.errors import ArgumentError, RunError, SegnosisError
from segnosis.jobs.plan import plan as plan_for
from segnosis.training.plan import Plan

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"model": "unett"}, "Did you mean `unet`"),
        ({"losses": {"Dicee": 1.0}}, "Did you mean `Dice`"),
        ({"model_arguments": {"backbone": "resnet5"}}, "Did you mean `resnet50`"),
        ({"model_arguments": {"dpth": 2}}, "dpth"),
        ({"weights": "gone.h5"}, "gone.h5"),
        ({"class_names": ("a", "a", "b", "c")}, "named twice='a'"),
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_followed_leaves_no_run(
    wrong: dict[str, Any], says: str, small_hearts: Path, tmp_path: Path
) -> None:
    plan = Plan(data=str(small_hearts), size=(32, 32), epochs=1, steps_per_epoch=1, **wrong)
    with pytest.raises(SegnosisError, match=says):
        sg.train(plan, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()

    mine = tmp_path / "mine" / "pictures" / "holiday.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"a picture")
    with pytest.raises(SegnosisError, match=says):
        sg.train(plan, out=tmp_path / "mine")
    assert [file for file in (tmp_path / "mine").rglob("*") if file.is_file()] == [mine]


def test_what_is_asked_for_in_vain_is_told_by_the_plan_too(small_hearts: Path) -> None:
    for asked, says in (
        ({"model": "unett"}, "Did you mean `unet`"),
        ({"model": ""}, "no model of this name"),
        ({"backbone": "resnt50"}, "Did you mean `resnet50`"),
        ({"minutes": 1.0, "epochs": 2}, "not by both"),
        ({"minutes": float("inf")}, "positive number"),
    ):
        with pytest.raises(ArgumentError, match=says):
            plan_for(small_hearts, **asked)


def test_a_run_does_not_lie_among_the_files_of_its_data(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (32, 32), number if kind == "images" else number % 2).save(
                tmp_path / "data" / kind / f"{number}.png"
            )
    before = sorted(tmp_path.rglob("*"))
    for out in ("data", "data/masks"):
        with pytest.raises(RunError, match="apart from the data"):
            sg.train(tmp_path / "data", out=tmp_path / out, epochs=1)
    assert sorted(tmp_path.rglob("*")) == before
