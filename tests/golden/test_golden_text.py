"""What a person reads, word for word. `make golden` writes it anew; the change is reviewed as a diff, never edited."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.report.conftest import sick
from typer.testing import CliRunner

import segnosis as sg
from segnosis.cli.main import application
from segnosis.core import discovery
from segnosis.data import phantom
from segnosis.data.fingerprint import FingerprintScan
from segnosis.doctor.check import Check, all_checks
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.examine import examine
from segnosis.doctor.verdict import Finding, Healthy
from segnosis.report import diagnosis_text
from segnosis.training import machine, planner

FOLDER = Path(__file__).parent
pytestmark = pytest.mark.one_backend


def help_of(*words: str) -> str:
    return CliRunner().invoke(application(), [*words, "--help"], env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"}).stdout


def plan_of_hearts() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "precision", lambda: ("float32", "the machine of this test is nobody's"))
        patch.setattr(machine, "batch_size", lambda least: (least, "nor is its speed"))
        patch.setattr(machine, "on_cpu", lambda: True)
        with tempfile.TemporaryDirectory() as folder:
            dataset = sg.data.open(phantom.write(folder, subjects=6, size=64, slices=4))
            scan = FingerprintScan(dataset)
            for pair in dataset.pairs():
                scan.add(pair)
        return planner.plan(scan.result(), data="hearts", training_samples=16, minutes=6.0).to_yaml()


def finding_of(check: Check) -> str:
    case = check.module.sick()
    return diagnosis_text.render(Diagnosis(examine(case, checks=[check]).verdicts))


def told_by_files_alone(check: Check) -> bool:
    """Whether only integers and pixels lie behind a finding, no network: every machine says the same."""
    case = check.module.sick()
    return check.code[:3] in ("DAT", "LAB") and case.model is None


HEALTHY = Diagnosis((Healthy({"images": 12}, code="DAT004", name="broken-images"),))
SUSPECTED = Diagnosis(
    (Finding("7 of 9 images are dark.", {"dark": 7}, "Look.", level="suspected", severity="warning", code="DAT009"),)
)
TEXTS: dict[str, Callable[[], str]] = {
    "help/segnosis.txt": help_of,
    **{
        f"help/{name.rstrip('_')}.txt": partial(help_of, name.rstrip("_").replace("_", "-"))
        for name in discovery.names("segnosis.cli")
    },
    "plan/hearts.yaml": plan_of_hearts,
    "diagnosis/every-kind-of-verdict.txt": lambda: diagnosis_text.render(sick()),
    "diagnosis/healthy.txt": lambda: diagnosis_text.render(HEALTHY),
    "diagnosis/suspected.txt": lambda: diagnosis_text.render(SUSPECTED),
    "diagnosis/nothing.txt": lambda: diagnosis_text.render(Diagnosis(())),
    **{
        f"finding/{check.code}-{check.name}.txt": partial(finding_of, check)
        for check in all_checks()
        if told_by_files_alone(check)
    },
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_as_reviewed(name: str, request: pytest.FixtureRequest) -> None:
    file, text = FOLDER / name, TEXTS[name]().rstrip("\n") + "\n"
    if request.config.getoption("--regenerate"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return
    golden = file.read_text(encoding="utf-8") if file.exists() else ""
    changes = difflib.unified_diff(golden.splitlines(), text.splitlines(), "reviewed", "now", lineterm="")
    assert text == golden, f"{name} changed; if that is meant: make golden\n" + "\n".join(changes)


def test_no_text_is_left_over(request: pytest.FixtureRequest) -> None:
    left_over = {file for file in FOLDER.glob("*/*") if file.suffix in (".txt", ".yaml")} - {FOLDER / n for n in TEXTS}
    if request.config.getoption("--regenerate"):
        for file in left_over:
            file.unlink()
        return
    assert not left_over, "no test makes these any more; make golden removes them"
