"""What is predicted for a run's review."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segnosis as sg
from segnosis.data import phantom
from segnosis.training.assess import reviewed
from segnosis.training.evaluate import evaluate

pytestmark = pytest.mark.one_backend


class Nothing:
    """Predicts the background everywhere."""

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.eye(4, dtype=np.float32)[0], (*image.shape[:2], 4))


def test_no_sample_is_reviewed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = sg.data.open(phantom.write(tmp_path / "hearts", subjects=3, size=24, slices=4))
    monkeypatch.setattr("segnosis.training.assess._REVIEWED", 3)
    assert reviewed(data[6:], data[:6]).ids == data.ids[6::2]
    assert reviewed(data[4:9], data[:6]).ids == data.ids[6:9], "those that are scored anyway are left out"
    same = reviewed(data[:6], data[:6])
    assert len(same) == 0, "with too few groups the same samples choose the epoch and are scored"
    assert evaluate(Nothing(), same, measures=("doubts",))["doubts"] is None
