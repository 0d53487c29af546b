"""A run folder as the report reads it, and how its pictures and colours come into a page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import DataError
from segnosis.core.run_folder import RunFolder, read_json
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.report import page
from segnosis.training.pictures import palette
from segnosis.training.plan import Plan

_IN_A_LINE = frozenset({"epoch", "best", "regularization", "dice", "iou", "seconds", "data_seconds"})


@dataclass(frozen=True)
class StoredRun:
    """What a run folder holds; a file is read when it is first asked for, so that a run still going on has its part.

    Attributes:
        folder: The run folder.
    """

    folder: RunFolder

    @property
    def name(self) -> str:
        """What the folder is called."""
        return self.folder.root.resolve().name

    @cached_property
    def plan(self) -> Plan:
        """The plan as it was followed."""
        return Plan.load(self.folder.plan)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What the data measures."""
        return read_json(self.folder.fingerprint, holds="spec")

    @cached_property
    def scores(self) -> dict[str, Any]:
        """What the evaluation found; nothing before it."""
        return read_json(self.folder.scores, holds="per_class") if self.folder.scores.exists() else {}

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """What the doctor says; nothing before it was asked."""
        if not self.folder.diagnosis.exists():
            return None
        return Diagnosis.from_json(read_json(self.folder.diagnosis, holds="verdicts"))

    @property
    def too_brief(self) -> bool:
        """Whether nothing was found, and the epochs are too few for the model to be judged by them."""
        told = self.diagnosis
        return told is not None and told.healthy and "OPT003" in {verdict.code for verdict in told.not_judged}

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """A line an epoch."""
        lines = list(self.folder.epochs())
        for number, line in enumerate(lines, start=1):
            if missing := sorted(_IN_A_LINE - line.keys()):
                raise DataError(
                    "Every line of a run's history tells all of an epoch.",
                    file=self.folder.history,
                    received={"line": number, "missing": ", ".join(missing)},
                    cure="Copy the run folder again from where it was trained, or train again.",
                )
        return lines

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions and machine."""
        return read_json(self.folder.environment, holds="python")

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Name per class id."""
        return DatasetSpec.stored(self.folder.fingerprint).class_names

    @cached_property
    def colours(self) -> dict[str, str]:
        """Class name → its colour in every picture, as CSS writes it."""
        painted = palette(len(self.class_names)).tolist()
        return {name: css(colour) for name, colour in zip(self.class_names, painted, strict=True)}

    def photo(self, name: str) -> str | None:
        """A picture of the run as a `data:` address; nothing where it is gone."""
        file = self.folder.pictures / name
        return page.inline_photo(file) if file.exists() else None

    def pictures(self, files: dict[str, str]) -> dict[str, str]:
        """What a picture shows → its `data:` address: photographs made small, masks to the bit."""
        found: dict[str, Path] = {what: self.folder.pictures / name for what, name in files.items()}
        for file in found.values():
            if not file.exists():
                raise DataError(
                    "The pictures of a report lie in its run folder.",
                    file=file,
                    received={"problem": "missing"},
                    cure=f"Draw them again with `segnosis evaluate {quote(str(self.folder.root))} --update`.",
                )
        return {what: page.inline_photo(file) if what == "image" else page.inline(file) for what, file in found.items()}


def css(colour: list[int] | tuple[int, ...]) -> str:
    """A colour of a picture as CSS writes it.

    Example:
        >>> css((230, 159, 0))
        'rgb(230, 159, 0)'
    """
    red, green, blue = colour
    return f"rgb({red}, {green}, {blue})"
