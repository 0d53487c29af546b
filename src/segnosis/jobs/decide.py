"""What comes before a training: a look at the data, its split, and the plan."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from segnosis import data
from segnosis.core.errors import ArgumentError, DataError
from segnosis.core.run_folder import RunFolder, write_json
from segnosis.data import folds
from segnosis.data.dataset import Dataset
from segnosis.data.fingerprint import Fingerprint, FingerprintScan
from segnosis.data.split import Split
from segnosis.doctor.check_data import check_data
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.verdict import Finding
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan

if TYPE_CHECKING:
    from segnosis.training.thrift import Scoring


@dataclass(frozen=True)
class Decided:
    """What the first process of a run has decided.

    Attributes:
        plan: What will happen.
        parts: Samples to train on, to validate on, and to score on.
        checked: What the doctor says of the files.
        scoring: What is predicted when training is over.
    """

    plan: Plan
    parts: Split
    checked: Diagnosis
    scoring: Scoring


def decide(
    source: str | Path | Plan,
    given: Plan | None,
    dataset: Dataset,
    folder: RunFolder,
    asked: dict[str, Any],
    resume: bool,
    anyway: bool,
    seed: int,
    fold: tuple[int, int] | None,
    listener: Listener,
) -> Decided:
    """Look at the data, make the plan, and begin the run folder."""
    fingerprint, checked, parts = examined(dataset, seed=seed, fold=fold, listener=listener, anyway=anyway)
    from segnosis.training import assess, build, depths, planner, thrift
    from segnosis.training.environment import environment

    changes: dict[str, Any] = {"seed": seed, "unreadable": "skip" if anyway else "stop"}
    changes |= {name: value for name, value in asked.items() if value is not None}
    if given is None:
        plan = planner.plan(fingerprint, data=str(source), training_samples=len(parts[0]), training=parts[0], **changes)
    else:
        plan = given if resume else planner.changed(given, **changes)
    plan.save(folder.plan)
    write_json(folder.fingerprint, fingerprint.to_json())
    write_json(folder.environment, environment())
    listener.planned(plan)
    pixels = planner.pixels_of_tiles(plan, fingerprint)
    if plan.model_arguments.get("deep_supervision"):
        pixels *= 1 + depths.extra_work(plan.model_arguments.get("depth", 5 if build.backbone(plan) else 4))
    scoring = thrift.Scoring(pixels * len(parts[2]), pixels * len(assess.reviewed(parts[1], parts[2])))
    return Decided(plan, parts, checked, scoring)


def split(dataset: Dataset, seed: int, fold: tuple[int, int] | None) -> Split:
    """The three parts of a data set, by a fold where one is named."""
    return data.split(dataset, seed=seed) if fold is None else folds.fold(dataset, *fold, seed=seed)


def samples(parts: Split) -> list[str]:
    """A checksum of the samples of every part."""
    return [hashlib.sha256("\n".join(part.ids).encode()).hexdigest() for part in parts]


def same_samples(first: list[str], parts: Split, dataset: Dataset) -> None:
    """Stop where this process sees other samples than the first one, whose `samples` were these."""
    if first != samples(parts):
        raise DataError(
            "All processes of a run see the same data.",
            file=dataset.name,
            received={"training samples here": len(parts[0])},
            cure="Give every host the same folder, by a shared disk or a complete copy.",
        )


def examined(
    dataset: Dataset,
    *,
    seed: int,
    listener: Listener,
    fold: tuple[int, int] | None = None,
    anyway: bool = True,
) -> tuple[Fingerprint, Diagnosis, Split]:
    """Fingerprint, data diagnosis and split of a data set, from one pass over its files; stops at a proven error."""
    parts = split(dataset, seed, fold)
    measured = FingerprintScan(dataset)
    checked = check_data(
        dataset,
        splits={name: part.ids for name, part in zip(("train", "validation", "test"), parts, strict=True)},
        progress=listener.step,
        beside=(measured,),
    )
    wrong = [finding for finding in checked.findings if finding.certain and finding.severity == "error"]
    if not anyway and wrong:
        _stop(wrong)
    found = measured.result()
    if not found.samples:
        raise DataError(
            "At least one image must be usable, with its mask.",
            file=dataset.root,
            received={"samples": len(dataset), "problem": wrong[0].says if wrong else "none can be read"},
            cure=f"{wrong[0].fix.rstrip('.') + '. ' if wrong else ''}`segnosis check` names each file.",
        )
    listener.say(parts.note)
    return found, checked, parts


def only_one_limit(minutes: float | None, epochs: int | None) -> None:
    """Minutes or epochs or neither, and no nonsense."""
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise ArgumentError("`minutes` is a positive number.", received={"minutes": minutes}, cure="Pass minutes=5.")
    if epochs is not None and epochs < 1:
        raise ArgumentError("`epochs` is at least 1.", received={"epochs": epochs}, cure="Pass epochs=50.")
    if minutes is not None and epochs is not None:
        raise ArgumentError(
            "Training is limited by time or by epochs, not by both.",
            received={"minutes": minutes, "epochs": epochs},
            cure="Leave one of them out.",
        )


def _stop(wrong: Sequence[Finding]) -> NoReturn:
    first = wrong[0]
    more = f" ({len(wrong) - 1} more)" if len(wrong) > 1 else ""
    raise ArgumentError(
        f"The data has a proven error, {first.code} {first.name}{more}: {first.says}",
        received={"where": ", ".join(first.where[:3])} if first.where else {},
        cure=f"{first.fix.rstrip('.')}. `segnosis check` shows everything; `--anyway` trains all the same.",
    )
