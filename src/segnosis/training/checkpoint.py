"""All that exact resume needs, written whole or not at all, and never fewer than one good one on disk."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segnosis.core.errors import RunError
from segnosis.core.run_folder import write_bytes, write_json
from segnosis.training import processes

if TYPE_CHECKING:
    import keras

_KEPT = 2
"""Checkpoints of a name: should the disk damage the newest, the one before it serves."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands: after `epoch` epochs and `step` batches of the next, with every variable it needs.

    Variables include BatchNormalization statistics, dropout's random state, the optimizer's moments, averages, step
    count and pace, and within an epoch the mean loss so far; the data position follows from epoch and step, since
    batches depend on (seed, epoch, index) alone.
    """

    epoch: int
    step: int
    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def save(
    folder: Path, name: str, *, epoch: int, step: int = 0, model: keras.Model, optimizer: Any, facts: dict[str, Any]
) -> Path:
    """Write the variables, then the JSON with their checksum that makes them count, then remove what is too old."""
    buffer = io.BytesIO()
    np.savez(buffer, **_arrays(model, optimizer, within=step > 0))  # type: ignore[arg-type]
    data = buffer.getvalue()
    file = write_bytes(folder / f"{name}-{epoch:05d}-{step:06d}.npz", data)
    entry = {"epoch": epoch, "step": step, "sha256": hashlib.sha256(data).hexdigest(), "facts": facts}
    write_json(file.with_suffix(".json"), entry)
    older = [stem for stem in _stems(folder, name) if stem < file.stem]
    for stem in _stems(folder, name):
        # What is newer was damaged, or this run would have gone on from there.
        if stem > file.stem or stem in older[: -(_KEPT - 1)]:
            (folder / f"{stem}.json").unlink(missing_ok=True)
            (folder / f"{stem}.npz").unlink(missing_ok=True)
    return file


def load(
    folder: Path, name: str, *, last: int | None = None, say: Callable[[str], object] | None = None
) -> Checkpoint | None:
    """The newest good checkpoint `name`, or `None` when the run never reached one.

    Args:
        folder: Where checkpoints lie.
        name: Which kind.
        last: Epoch that it must not be after.
        say: Told of each that is damaged, and therefore passed over.

    Raises:
        RunError: There are checkpoints, and every one of them is damaged.
    """
    damaged = None
    for stem in reversed(_stems(folder, name)):
        if last is not None and stem > f"{name}-{last:05d}-999999":
            continue
        try:
            return _read(folder / stem)
        except RunError as error:
            damaged = damaged or error
            if say is not None:
                say(f"{stem} is damaged and passed over: {error.received['problem']}.")
    if damaged is not None:
        raise damaged
    return None


def restore(checkpoint: Checkpoint, model: keras.Model, optimizer: Any = None) -> None:
    """Put every stored variable back, bit for bit."""
    _assign(checkpoint, _variables(model, optimizer))


def restore_within(checkpoint: Checkpoint, model: keras.Model) -> None:
    """Put back what an epoch has added up before the checkpoint; Keras sets it to zero when an epoch begins."""
    _assign(checkpoint, _sums(model))


def _assign(checkpoint: Checkpoint, variables: list[tuple[str, Any]]) -> None:
    values = [checkpoint.arrays.get(key) for key, _ in variables]
    if not processes.first():  # only the first process has read the file
        values = [np.zeros(variable.shape, variable.dtype) for _, variable in variables]
    for (key, variable), value in zip(variables, values, strict=True):
        if value is None or tuple(value.shape) != tuple(variable.shape):
            raise RunError(
                "A checkpoint continues the model of its own plan.",
                received={"variable": key, "stored": None if value is None else value.shape},
                cure="Resume with the plan.yaml in the run folder, unedited, or start a new run.",
            )
    for (_, variable), value in zip(variables, processes.first_arrays(values), strict=True):
        variable.assign(value)


def _stems(folder: Path, name: str) -> list[str]:
    """Checkpoints that count, the oldest first."""
    return sorted(index.stem for index in folder.glob(f"{name}-*.json"))


def _read(stem: Path) -> Checkpoint:
    index, file = stem.with_suffix(".json"), stem.with_suffix(".npz")
    try:
        entry = json.loads(index.read_text(encoding="utf-8"))
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise _damaged(file, "its checksum does not match")
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        return Checkpoint(entry["epoch"], entry["step"], arrays, entry["facts"])
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(index, str(error)) from error


def _arrays(model: keras.Model, optimizer: Any, *, within: bool) -> dict[str, np.ndarray]:
    from keras import ops

    variables = _variables(model, optimizer) + (_sums(model) if within else [])
    return {key: ops.convert_to_numpy(variable) for key, variable in variables}


def _variables(model: keras.Model, optimizer: Any) -> list[tuple[str, Any]]:
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    kept = [variable for variable in model.variables if id(variable) not in metrics]
    pairs = [(f"model/{i:04d}", variable) for i, variable in enumerate(kept)]
    if optimizer is not None:
        pairs += [(f"optimizer/{i:04d}", variable) for i, variable in enumerate(optimizer.variables)]
    return pairs


def _sums(model: keras.Model) -> list[tuple[str, Any]]:
    variables = [variable for metric in model.metrics for variable in metric.variables]
    return [(f"sum/{i:04d}", variable) for i, variable in enumerate(variables)]


def _damaged(file: Path, problem: str) -> RunError:
    return RunError(
        "A checkpoint must be exactly what was written.",
        received={"file": str(file), "problem": problem},
        cure="The disk or a copy damaged it; start a new run, or restore that file from a backup.",
    )
