"""Pictures of findings: plain values that survive JSON, drawn with everything escaped."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segnosis.doctor import pair_patients
from segnosis.doctor.case import Case
from segnosis.doctor.check import find
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.examine import examine
from segnosis.doctor.shown import bars, files_side_by_side, parts, tiles
from segnosis.report.finding_pictures import draw


def test_shares_are_of_all_values_though_the_rare_are_left_out() -> None:
    picture = bars("t", {"after": {float(value): 1 for value in range(100)} | {255.0: 100}})
    shares = picture["groups"]["after"]  # type: ignore[index]
    assert shares["255"] == 0.5 and len(shares) == 12


@pytest.mark.parametrize(
    "picture",
    [
        bars("<b>", {"<i>": {0.0: 1}}),
        parts("<b>", {"<i>": 1.0, "data": 3.0}),
        tiles("<b>", [{"<i>": np.eye(8)}]),
        {"kind": "of a later version", "title": "<b>"},
    ],
)
def test_what_is_drawn_is_escaped_and_plain(picture: dict[str, object]) -> None:
    assert json.loads(json.dumps(picture)) == picture
    drawn = draw(picture)
    assert "<b>" not in drawn and "<i>" not in drawn
    assert bool(drawn) == (picture["kind"] != "of a later version")


def test_a_thumbnail_is_a_small_picture_of_the_mask() -> None:
    (row,) = tiles("t", [{"mask": np.kron(np.array([[0, 7]], "uint8"), np.ones((300, 200), "uint8"))}])["rows"]  # type: ignore[misc]
    with Image.open(io.BytesIO(base64.b64decode(row["mask"]))) as picture:
        assert max(picture.size) == 96 and len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) >= 2


def test_mispaired_files_are_shown_side_by_side(tmp_path: Path) -> None:
    for name in ("image", "mask"):
        Image.fromarray(np.eye(16, dtype="uint8")).save(tmp_path / f"{name}.png")
    image, mask = str(tmp_path / "image.png"), str(tmp_path / "mask.png")
    (picture,) = files_side_by_side("t", [{"image": image, "its mask": mask}, {"image": image, "its mask": "gone.png"}])
    assert [list(row) for row in picture["rows"]] == [["image", "its mask"]]  # type: ignore[attr-defined]


def test_masks_in_255_are_counted_before_and_behind_the_pipeline() -> None:
    images, masks = pair_patients.scenes(8)
    batches = pair_patients.batches(images, (masks * 255.0).astype("float32")[..., None])
    case = Case(pairs=pair_patients.pairs(images, masks), batches=batches, num_classes=1)
    diagnosis = examine(case, checks=[find("LAB003")])
    (picture,) = diagnosis.findings[0].pictures
    groups = picture["groups"]
    assert list(groups["as stored"]) == ["0", "1"] and list(groups["behind your pipeline"]) == ["0", "255"]  # type: ignore[index]
    again = Diagnosis.from_json(json.loads(json.dumps(diagnosis.to_json())))
    assert again.findings[0].pictures == diagnosis.findings[0].pictures
