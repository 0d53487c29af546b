"""The three programs this project comes from, in other words: each gets its whole answer, in order."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.evidence import rate_trials
from segnosis.doctor.script import diagnose_script

STORIES = Path(__file__).parents[2] / "benchmarks" / "doctor" / "stories"


@pytest.fixture(autouse=True)
def on_a_busy_machine_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of the learning rate are not given up for want of wall time."""
    monkeypatch.setattr(rate_trials, "_WALL", 600.0)
    monkeypatch.setattr(rate_trials, "_PATIENCE", 120.0)


def told(name: str, *arguments: str) -> Diagnosis:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the program's own
        outcome = diagnose_script(STORIES / name, arguments)
    (diagnosis,) = outcome.diagnoses
    return diagnosis


def in_order(diagnosis: Diagnosis, *codes: str) -> bool:
    """Whether the first of `codes` is the cause and the others follow, whatever stands between."""
    found = [finding.code for finding in diagnosis.findings]
    places = [found.index(code) for code in codes if code in found]
    return len(places) == len(codes) and places == sorted(places) and diagnosis.cause == diagnosis.findings[places[0]]


@pytest.mark.one_backend
@pytest.mark.parametrize("feed", ["own", "keras"])
def test_lesions_move_away_from_their_masks_under_two_softmaxes_and_much_decay(feed: str) -> None:
    diagnosis = told("lesions_unet_plus_plus.py", "--feed", feed)
    assert in_order(diagnosis, "PRE005", "HED001", "LOS003")
    decay = next(finding for finding in diagnosis.findings if finding.code == "LOS003")
    assert decay.measured["added_share"] > 0.5 and decay.measured["printed_loss"] > 1  # why is the loss above 1?


@pytest.mark.one_backend
def test_hearts_have_one_hot_masks_for_a_sparse_loss() -> None:
    assert in_order(told("cardiac_unet.py"), "LAB007")


@pytest.mark.one_backend
def test_hearts_answered_half_way_keep_their_softmax_and_their_tiny_rate() -> None:
    diagnosis = told("cardiac_unet.py", "half-way")
    assert {"HED001", "OPT002"} <= {finding.code for finding in diagnosis.findings}


@pytest.mark.one_backend
def test_photographs_hold_void_a_second_softmax_and_a_rate_that_moves_nothing() -> None:
    pytest.importorskip("tensorflow")
    diagnosis = told("voc_deeplab.py")
    assert in_order(diagnosis, "LAB002", "HED001", "OPT002")
    assert not {"HED001", "OPT002"} & diagnosis.folded  # void explains neither
