"""TensorBoard event files in the run folder: `tensorboard --logdir RUN`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segnosis.core.run_folder import RunFolder
from segnosis.training.plan import Plan
from segnosis.training.tracking.base import End, held_out, numbers
from segnosis.training.tracking.events import EventFile


def open(folder: RunFolder, *, resume: bool) -> TensorBoard:
    """Event files in `tensorboard/` of the run folder; neither TensorFlow nor TensorBoard is needed to write them."""
    return TensorBoard(resume=resume)


class TensorBoard:
    """Scalars and a picture an epoch, the plan as text, the held-out scores at the end.

    Args:
        resume: Whether the run goes on; what earlier files say of the epochs to come is then void.
    """

    def __init__(self, *, resume: bool) -> None:
        self._resume, self._plan = resume, ""
        self._file: EventFile | None = None
        self._step = 0

    def begin(self, plan: Plan) -> None:
        """The plan, as a table."""
        rows = [f"| {name} | {_cell(value)} | {_cell(reason)} |" for name, value, reason in plan.lines()]
        self._plan = "\n".join(["| decision | value | because |", "| --- | --- | --- |", *rows])

    def epoch(self, line: Mapping[str, Any], folder: RunFolder) -> None:
        """The numbers of the line, and the picture of the epoch."""
        self._step = line["epoch"]
        if self._file is None:
            self._file = EventFile(folder.root / "tensorboard", purge=self._step if self._resume else None)
            self._file.text(0, "plan", self._plan)
        self._file.scalars(self._step, {tag: value for tag, value in numbers(line).items() if tag != "epoch"})
        picture = folder.pictures / f"epoch-{self._step:04d}.png"
        if picture.exists():
            self._file.image(self._step, "validation", picture.read_bytes())

    def finish(self, scores: Mapping[str, Any], folder: RunFolder) -> None:
        """The scores on held-out samples."""
        if self._file is not None:
            self._file.scalars(self._step, held_out(scores))

    def close(self, end: End) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
