"""A plan is one YAML file that a person can edit, and a wrong edit is one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from segnosis.core.errors import ArgumentError, DataError
from segnosis.training.plan import Plan


def test_a_plan_survives_its_file_with_its_reasons(tmp_path: Path) -> None:
    plan = Plan(data="hearts of oak", size=(96, 128), class_weights=(1.0, 2.5), reasons={"size": "they are small"})
    read = Plan.load(plan.save(tmp_path / "plan.yaml"))
    assert read.model_dump() == plan.model_dump()
    assert read.reasons == plan.reasons


def test_reasons_stand_above_their_line() -> None:
    lines = Plan(data="x", reasons={"batch_size": "it fits"}).to_yaml().splitlines()
    assert lines[lines.index("batch_size: 8") - 1] == "# it fits"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("batchsize: 4", "Did you mean `batch_size`?"),
        ("batch_size: 0", "batch_size=0."),
        ("schedule: cosin", "schedule='cosin'."),
        ("learning_rate: -1", "learning_rate=-1."),
        ("size: [1, 2, 3]", "`size`"),
        ("size: [0, 64]", "size.0=0."),
        ("window: [64, 0]", "window.1=0."),
        ("losses: {}", "losses={}."),
        ("losses: {Dice: -1}", "losses.Dice=-1."),
        ("losses: {Dice: .nan}", "losses.Dice=nan."),
        ("class_weights: [1, -2]", "class_weights.1=-2."),
        ("learning_rate: .inf", "learning_rate=inf."),
        ("minutes: .inf", "minutes=inf."),
        ("epochs: 99999999999", "epochs=99999999999."),
    ],
)
def test_a_wrong_line_names_file_value_and_cure(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(f"data: x\n{line}\n")
    with pytest.raises(DataError) as caught:
        Plan.load(file)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "data: [", "data: \x00"])
def test_what_is_no_mapping_is_no_plan(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(DataError):
        Plan.load(file)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ArgumentError, match="`data`"):
        Plan()


def test_a_tag_in_a_plan_runs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(f"data: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'touched'}]\n")
    with pytest.raises(DataError):
        Plan.load(file)
    assert not (tmp_path / "touched").exists()
