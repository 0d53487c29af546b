"""A run as `segnosis train` leaves it, but for the training: what is done with a model does not need a good one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segnosis import data
from segnosis.core.run_folder import RunFolder, write_json
from segnosis.data import phantom
from segnosis.doctor import diagnose
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.evidence import rate_trials
from segnosis.training.plan import Plan


@pytest.fixture(scope="module", autouse=True)
def no_trials_of_the_rate() -> Iterator[None]:
    """Two hundred steps to ask whether a few could have learned more: what `tests/doctor` is for."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rate_trials, "_PATIENCE", 0.0)
        yield


@pytest.fixture(scope="module")
def no_examination() -> Iterator[None]:
    """Runs that the doctor does not look at when they are over, which takes as long as all the rest."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(diagnose, "diagnose", lambda *args, **settings: Diagnosis(()))
        yield


@pytest.fixture(scope="session")
def small_hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom.write(tmp_path_factory.mktemp("small") / "hearts", subjects=4, size=40, slices=3)


@pytest.fixture(scope="session")
def untrained(small_hearts: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A `Run` on hearts, its network as it was born."""
    import keras

    from segnosis.jobs.run import Run
    from segnosis.training import build

    dataset = data.open(small_hearts)
    folder = RunFolder(tmp_path_factory.mktemp("untrained") / "run")
    plan = Plan(
        data=str(small_hearts), model_arguments={"width": 4, "depth": 2}, preprocessing="standardize", size=(32, 32)
    )
    plan.save(folder.plan)
    write_json(folder.fingerprint, data.fingerprint(dataset).to_json())
    keras.utils.set_random_seed(0)
    build.model(plan, channels=1, num_classes=4).save(folder.model)
    split = {
        name: list(part.ids) for name, part in zip(("train", "validation", "test"), data.split(dataset), strict=True)
    }
    per_class = {name: {"iou": None, "dice": None, "pixels": 0} for name in dataset.spec.class_names}
    write_json(folder.scores, {"mean_iou": None, "per_class": per_class, "split": split})
    return Run(folder.root)
