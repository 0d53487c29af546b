"""The main job: open, check, plan, train, score, diagnose, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

from segnosis import data
from segnosis.core.discovery import imported
from segnosis.core.errors import ArgumentError, RunError, SegnosisError, StoppedError
from segnosis.core.run_folder import RunFolder, read_json, write_json, write_with
from segnosis.data.labels import IGNORE
from segnosis.jobs.decide import Decided, only_one_limit, same_samples, samples, split
from segnosis.jobs.decide import decide as first_look
from segnosis.jobs.run import Run, data_of
from segnosis.training import processes
from segnosis.training.interruption import Interruption
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan
from segnosis.training.tracking.tracked import known, tracked


def train(
    source: str | Path | Plan,
    *,
    out: str | Path | None = None,
    model: str | None = None,
    backbone: str | None = None,
    weights: str | Path | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    resume: bool = False,
    anyway: bool = False,
    seed: int | None = None,
    fold: tuple[int, int] | None = None,
    nan: float | None = None,
    track: Sequence[str] = (),
    listener: Listener | None = None,
    started: float | None = None,
) -> Run:
    """Train a segmentation model on a data set, score it on held-out samples, and say what is wrong if something is.

    Started as several processes (by SLURM, MPI, Kubernetes or by hand) they train together on the JAX backend; all but
    the first return when training is over, with the run that the first goes on to score.

    Args:
        source: A folder of images and masks, or a `Plan`.
        out: Run folder, made anew; `runs/<name>-<date>` when left out.
        model: Architecture instead of the planned one.
        backbone: Backbone to encode with, as `segnosis.models.backbones.names()` has them.
        weights: File of pretrained weights, in any format that `segnosis.models.load_weights` reads. A backbone is
            filled alone and stays frozen for the first epochs; a model without one is filled as a whole.
        minutes: Wall-clock budget of the whole job: training ends so early that scores, diagnosis and report are done
            in time, and the best weights are kept.
        epochs: Epochs instead of the planned number.
        resume: Continue the unfinished run in `out` by its own plan; `source` may then be the same or `""`.
        anyway: Train although the data has a proven error.
        seed: Seed of split, weights, batches and augmentation; 0 when left out.
        fold: `(2, 5)` holds out the second of five folds; `segnosis.cross_validate` trains them all.
        nan: Number that pixels of NaN or infinity are read as, in prediction too; an error when left out.
        track: `"tensorboard"`, `"mlflow"` or both: where the run is recorded besides its own folder.
        listener: Who is told of the progress.
        started: `time.monotonic()` at which the minutes began; now, when left out.

    Returns:
        The finished run: `run.scores["mean_iou"]`, `run.report`, `run.diagnosis`.

    Raises:
        RunError: `out` holds a run already, or cannot be written.
        StoppedError: Ctrl-C or SIGTERM came; the state is saved, `resume=True` goes on to the same bits.
        DataError: The data cannot be read, or has a proven error and `anyway` is false.
    """
    # The training floor loads Keras; a wrong argument or folder should say so at once.
    only_one_limit(minutes, epochs)
    known(track)
    started = time.monotonic() if started is None else started
    listener = (listener or Listener()) if processes.first() else Listener()
    given = source if isinstance(source, Plan) else None
    processes.begin()

    def place() -> dict[str, Any]:
        if resume:
            folder, plan = _unfinished(out)
            return {"root": str(folder.root), "plan": plan.model_dump(mode="json")}
        files = Path(given.data if given else str(source)).expanduser().resolve()
        folder = fresh(Path(out) if out else Path("runs") / f"{files.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
        _apart(folder, files)
        return {"root": str(folder.root), "plan": None}

    placed = processes.from_first(place)
    folder = RunFolder(Path(placed["root"]))
    there = set(folder.root.iterdir()) if folder.root.is_dir() else None
    if resume:
        given = Plan.load(folder.plan) if processes.first() else Plan(**placed["plan"])
    asked = {
        "model": model,
        "backbone": backbone,
        "weights": None if weights is None else str(weights),
        "minutes": minutes,
        "epochs": epochs,
        "fold": fold,
        "nan": nan,
    }
    track = track if processes.first() else ()
    with tracked(listener, folder, track, resume=resume) as heard, Interruption().listening() as interruption:
        try:
            with processes.losses_told():
                return _train(source, given, folder, asked, resume, anyway, seed, heard, started, interruption)
        except SegnosisError:
            if done := sum(1 for _ in folder.epochs()):
                heard.say(f"{done} finished epochs are kept; when that is mended, go on with {folder.resume}.")
            elif not resume and processes.first():
                folder.withdraw(there)
            raise
        except KeyboardInterrupt as error:
            done = sum(1 for _ in folder.epochs())
            raise StoppedError(
                f"Training was stopped; {done} finished epochs are kept, and the steps since.",
                received={"run": str(folder.root)},
                cure=f"Go on with {folder.resume}, or remove the folder.",
                exit_code=interruption.exit_code,
            ) from error


def _train(
    source: str | Path | Plan,
    given: Plan | None,
    folder: RunFolder,
    asked: dict[str, Any],
    resume: bool,
    anyway: bool,
    seed: int | None,
    listener: Listener,
    started: float,
    interruption: Interruption,
) -> Run:
    if given is None:
        dataset = data.open(str(source), nan=asked["nan"])
    else:
        dataset = data_of(given if resume or asked["nan"] is None else given.with_(nan=asked["nan"]))
    imported("keras")  # where its backend is missing, one error says so
    seed = given.seed if given and seed is None else seed or 0
    anyway = anyway or (given is not None and given.unreadable == "skip")
    fold = given.fold if given and asked["fold"] is None else asked["fold"]
    decided: Decided | None = None

    def decide() -> dict[str, Any]:
        nonlocal decided
        decided = first_look(source, given, dataset, folder, asked, resume, anyway, seed, fold, listener)
        return {"plan": decided.plan.model_dump(mode="json"), "samples": samples(decided.parts)}

    told = processes.from_first(decide)
    if decided is not None:
        plan, parts, scoring = decided.plan, decided.parts, decided.scoring
    else:
        plan, parts, scoring = Plan(**told["plan"]), split(dataset, seed, fold), None
        same_samples(told["samples"], parts, dataset)
    from segnosis.doctor.diagnose import diagnose
    from segnosis.doctor.diagnose_run import history
    from segnosis.doctor.examine import merge
    from segnosis.report import run_report
    from segnosis.training import assess, build
    from segnosis.training.feeds import feed_for
    from segnosis.training.fit import fit
    from segnosis.training.optimizer import optimizer
    from segnosis.training.pace import peak_memory

    fitted = fit(
        plan,
        parts[0],
        parts[1],
        folder,
        listener=listener,
        resume=resume,
        started=started,
        scoring=scoring,
        interruption=interruption,
    )
    if fitted is None or decided is None:  # the first process goes on alone
        return Run(folder.root)
    networks = (*fitted.depths, fitted.model)
    scores = assess.assess(folder, fitted.plan, networks, parts, listener=listener)
    for depth, network in enumerate(fitted.depths, start=1):
        write_with(folder.depth(depth), network.save)
    write_with(folder.model, fitted.model.save)
    scores |= {
        "best_epoch": fitted.best_epoch,
        "stopped": fitted.stopped,
        "split": {name: part.ids for name, part in zip(("train", "validation", "test"), parts, strict=True)},
        "left_out": fitted.unreadable,
        "peak_memory": peak_memory(),
        "forecast": asdict(fitted.forecast) if fitted.forecast else None,
    }
    listener.step("examining model, loss and history")
    probes = fitted.probes_fit
    if not probes:
        listener.say("the minutes leave no time for the doctor's probes: it goes by files, plan and history")
    live = diagnose(
        fitted.model,
        feed_for(fitted.plan, parts[0], training=True),
        feed_for(fitted.plan, parts[1], training=False),
        loss=build.loss(fitted.plan, ignore_class=IGNORE),
        optimizer=optimizer(fitted.plan, steps=fitted.plan.epochs * (fitted.plan.steps_per_epoch or 1)),
        class_names=list(dataset.spec.class_names),
        history=history(folder),
        budget="probe" if probes else "static",
        seed=seed,
    )
    # Where files and batches could both be judged, the files count: all of them were seen.
    diagnosis = merge(live, decided.checked)
    write_json(folder.diagnosis, diagnosis.to_json())
    # From here on the run counts as finished; the report can always be written again.
    write_json(folder.scores, scores | {"seconds": round(time.monotonic() - started, 1)})
    listener.step("writing the report")
    run_report.write(folder)
    return Run(folder.root)


def fresh(root: Path) -> RunFolder:
    """An output folder that is writable and holds no run."""
    folder = RunFolder(root)
    if folder.plan.exists() or folder.scores.exists():
        further = "" if folder.scores.exists() else f", or go on with it: {folder.resume}"
        raise RunError(
            "A run is never overwritten.", received={"out": str(root)}, cure=f"Choose another folder{further}."
        )
    return folder


def _apart(folder: RunFolder, files: Path) -> None:
    """A run writes pictures and masks: among the files of the data they would be read as data the next time."""
    out = folder.root.resolve()
    if out == files or (files in out.parents and out.is_dir() and any(out.iterdir())):
        raise RunError(
            "A run has a folder of its own, apart from the data.",
            received={"out": str(folder.root), "data": str(files)},
            cure="Choose another folder with `--out`.",
        )


def _unfinished(out: str | Path | None) -> tuple[RunFolder, Plan]:
    if out is None:
        raise ArgumentError("`resume` continues one run.", cure=f"Say which: {RunFolder(Path('RUN')).resume}.")
    folder = RunFolder(Path(out))
    if not folder.plan.exists():
        raise RunError(
            "There is no run to continue in this folder.",
            received={"out": str(out)},
            cure=f"Start one with `segnosis train DATA --out {quote(str(out))}`.",
        )
    if folder.scores.exists():
        raise RunError(
            "This run is finished.",
            received={"out": str(out), "mean_iou": read_json(folder.scores).get("mean_iou")},
            cure="To train longer, start a new run with more `--epochs`.",
        )
    return folder, Plan.load(folder.plan)
