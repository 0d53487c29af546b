"""All that exact resume needs, written whole or not at all, and never fewer than one good one on disk."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segnosis.core.errors import RunError
from segnosis.core.run_folder import write_bytes, write_json

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands: after `epoch` epochs, with every variable of model and optimizer.

    Variables include BatchNormalization statistics, dropout's random state and the optimizer's moments and step
    count; the data position follows from the epoch, since batches depend on (seed, epoch, index) alone.
    """

    epoch: int
    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def save(folder: Path, name: str, *, epoch: int, model: keras.Model, optimizer: Any, facts: dict[str, Any]) -> Path:
    """Write `name.npz` and its checksum; the JSON beside it is written last and makes it count."""
    arrays = _arrays(model, optimizer)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    data = buffer.getvalue()
    file = write_bytes(folder / f"{name}-{epoch:05d}.npz", data)
    write_json(
        folder / f"{name}.json",
        {"epoch": epoch, "file": file.name, "sha256": hashlib.sha256(data).hexdigest(), "facts": facts},
    )
    for old in folder.glob(f"{name}-*.npz"):
        if old != file:
            old.unlink(missing_ok=True)
    return file


def load(folder: Path, name: str) -> Checkpoint | None:
    """The checkpoint `name`, or `None` when the run never reached one; a damaged one is an error that says so."""
    index = folder / f"{name}.json"
    if not index.exists():
        return None
    try:
        entry = json.loads(index.read_text(encoding="utf-8"))
        data = (folder / Path(entry["file"]).name).read_bytes()
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(index, str(error)) from error
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise _damaged(folder / entry["file"], "its checksum does not match")
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return Checkpoint(entry["epoch"], {key: stored[key] for key in stored.files}, entry["facts"])


def restore(checkpoint: Checkpoint, model: keras.Model, optimizer: Any = None) -> None:
    """Put every stored variable back, bit for bit."""
    for key, variable in _variables(model, optimizer):
        value = checkpoint.arrays.get(key)
        if value is None or tuple(value.shape) != tuple(variable.shape):
            raise RunError(
                "A checkpoint continues the model of its own plan.",
                received={"variable": key, "stored": None if value is None else value.shape},
                cure="Resume with the plan.yaml in the run folder, unedited, or start a new run.",
            )
        variable.assign(value)


def _arrays(model: keras.Model, optimizer: Any) -> dict[str, np.ndarray]:
    from keras import ops

    return {key: ops.convert_to_numpy(variable) for key, variable in _variables(model, optimizer)}


def _variables(model: keras.Model, optimizer: Any) -> list[tuple[str, Any]]:
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    kept = [variable for variable in model.variables if id(variable) not in metrics]
    pairs = [(f"model/{i:04d}", variable) for i, variable in enumerate(kept)]
    if optimizer is not None:
        pairs += [(f"optimizer/{i:04d}", variable) for i, variable in enumerate(optimizer.variables)]
    return pairs


def _damaged(file: Path, problem: str) -> RunError:
    return RunError(
        "A checkpoint must be exactly what was written.",
        received={"file": str(file), "problem": problem},
        cure="The disk or a copy damaged it; start a new run, or restore that file from a backup.",
    )
