"""The doctor on a finished or unfinished run."""

from __future__ import annotations

from pathlib import Path

from segnosis.core.errors import RunError, SegnosisError
from segnosis.core.run_folder import RunFolder, read_json
from segnosis.doctor.check_data import check_data
from segnosis.doctor.diagnose_run import diagnose_run
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.jobs.run import data_of
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan


def diagnose(run: str | Path, *, listener: Listener | None = None) -> Diagnosis:
    """Diagnose a run of ours, also one made yesterday on another machine.

    What its data showed is taken from the run; a run that stopped before its diagnosis is examined on its data, where
    that is still in its place.

    Args:
        run: Run folder.
        listener: Who is told of the progress.
    """
    listener, folder = listener or Listener(), RunFolder(Path(run))
    if not folder.plan.exists():
        raise RunError(
            "`segnosis diagnose` takes a Python script, or a folder made by `segnosis train`.",
            received={"run": str(run)},
            cure="Name one of these; for a folder of images and masks there is `segnosis check`.",
        )
    plan = Plan.load(folder.plan)
    if folder.diagnosis.exists():
        checked = Diagnosis.from_json(read_json(folder.diagnosis))
    else:
        checked = _from_data(plan, listener)
    return diagnose_run(folder, checked=checked, progress=listener.step)


def _from_data(plan: Plan, listener: Listener) -> Diagnosis:
    try:
        dataset = data_of(plan)
    except SegnosisError as error:
        listener.say(f"the data cannot be looked at: {error}")
        return Diagnosis(())
    return check_data(dataset, progress=listener.step)
