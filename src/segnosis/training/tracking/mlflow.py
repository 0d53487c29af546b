"""MLflow: parameters, metrics an epoch and the report as an artifact, on the server `MLFLOW_TRACKING_URI` names."""

from __future__ import annotations

import importlib.util
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from segnosis.core.errors import MissingPackageError
from segnosis.core.run_folder import RunFolder, read_json, write_json
from segnosis.training.plan import Plan
from segnosis.training.tracking.base import End, held_out, numbers

_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_LONGEST = 500
"""Characters of a parameter's value that every server takes."""
_FORBIDDEN = re.compile(r"[^\w\-. :/]")


def open(folder: RunFolder, *, resume: bool) -> MLflow:
    """A run on the server of `MLFLOW_TRACKING_URI`, in the experiment of `MLFLOW_EXPERIMENT_NAME` or `segnosis`."""
    if importlib.util.find_spec("mlflow") is None:
        raise MissingPackageError("mlflow", purpose="recording a run on an MLflow server", extra="mlflow")
    # Left to itself MLflow tries a dead server for many minutes; what the user sets wins.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    return MLflow(folder, resume=resume)


class MLflow:
    """A run on an MLflow server; which, `mlflow.json` in the run folder notes, and a resumed run goes on with it.

    Args:
        folder: The run.
        resume: Whether it goes on.
    """

    def __init__(self, folder: RunFolder, *, resume: bool) -> None:
        self._folder, self._note = folder, folder.root / "mlflow.json"
        self._resume = resume and self._note.exists()
        self._client: Any = None
        self._plan: Plan | None = None
        self._run = ""

    def begin(self, plan: Plan) -> None:
        """Make the run, or find it again; the plan is its parameters."""
        self._plan = plan
        self._connect(plan)

    def _connect(self, plan: Plan) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        client = MlflowClient()
        if self._resume:
            self._run = read_json(self._note)["run_id"]
            client.update_run(self._run, status="RUNNING")
        else:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "segnosis")
            found = client.get_experiment_by_name(name)
            experiment = found.experiment_id if found is not None else client.create_experiment(name)
            made = client.create_run(experiment, run_name=self._folder.root.resolve().name)
            self._run = made.info.run_id
            write_json(self._note, {"run_id": self._run, "experiment": name})
            self._resume = True  # it is there now, whatever fails after this
            values = [Param(name, str(value)[:_LONGEST]) for name, value in plan.model_dump(mode="json").items()]
            client.log_batch(self._run, params=values)
        self._client = client

    def epoch(self, line: Mapping[str, Any], folder: RunFolder) -> None:
        """The numbers of the line, the epoch as their step."""
        self._log({name: value for name, value in numbers(line).items() if name != "epoch"}, line["epoch"])

    def finish(self, scores: Mapping[str, Any], folder: RunFolder) -> None:
        """The scores on held-out samples; report, plan and scores as artifacts."""
        self._log(held_out(scores), sum(1 for _ in folder.epochs()))
        for file in (folder.report, folder.plan, folder.scores):
            self._client.log_artifact(self._run, str(file))

    def close(self, end: End) -> None:
        """How the run ended."""
        if self._client is not None:
            self._client.set_terminated(self._run, status=_STATUS[end])

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        if self._client is None and self._plan is not None:  # the server was down when the run began
            self._connect(self._plan)
        now = int(1000 * time.time())
        metrics = [Metric(_FORBIDDEN.sub("_", name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)
