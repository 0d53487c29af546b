"""Which epoch's weights a run keeps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from segnosis.core.run_folder import RunFolder
from segnosis.training import checkpoint
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan
from segnosis.training.recorder import Recorder


def _kept(folder: Path, monkeypatch: pytest.MonkeyPatch, schedule: str, dice: list[float], *, stop: int = 0) -> int:
    """The best epoch of ten that would score `dice`; with `stop` the run is resumed after that many."""
    monkeypatch.setattr(checkpoint, "save", lambda *args, **kwargs: None)
    plan = Plan(data="hearts", epochs=10, schedule=schedule)  # type: ignore[arg-type]
    recorder = None
    for epoch, value in enumerate(dice):
        if recorder is None or epoch == stop:
            recorder = Recorder(
                plan, RunFolder(folder), [], class_names=("b", "a"), ignore_class=None, listener=Listener()
            )
            steps = SimpleNamespace(_iterations=0, pace=(0.0, 1 / len(_DICE)), gradient_norm=0.0, learning_rate=0.0)
            steps.use_ema = False
            recorder.set_model(SimpleNamespace(optimizer=steps))
            recorder.set_params({"steps": 1})
            monkeypatch.setattr(recorder, "_penalties", lambda rest: {})
        scores = dict.fromkeys(("mean_iou", "mean_dice", "foreground_iou", "foreground_dice"), value)
        monkeypatch.setattr(recorder, "validate", lambda found=scores, **_: ({**found, "per_class": {}}, 0.5))
        recorder.on_epoch_begin(epoch)
        recorder.model.optimizer._iterations = epoch + 1
        recorder.on_epoch_end(epoch, {"loss": 1.0, "data_loss": 1.0})
    assert recorder is not None
    return recorder.best_epoch


_DICE = [0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.75]


@pytest.mark.parametrize("stop", [0, 5, 9])
def test_an_annealed_run_keeps_the_best_of_its_small_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    assert _kept(tmp_path, monkeypatch, "cosine", _DICE, stop=stop) == 9


def test_a_run_stopped_before_its_small_steps_keeps_the_best_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _kept(tmp_path, monkeypatch, "cosine", _DICE[:6]) == 2


def test_a_constant_rate_keeps_the_best_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _kept(tmp_path, monkeypatch, "constant", _DICE) == 2
