"""Masks for new images, in the size and format they came in."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from segnosis import data
from segnosis.core.errors import ArgumentError, DataError, RunError, SegnosisError
from segnosis.core.run_folder import RunFolder, read_json, write_json, write_text
from segnosis.data.dataset import Dataset
from segnosis.data.source import Source
from segnosis.jobs.predict_one import Settings, Task, Told, ensemble, files_of, predict_one, spec_of
from segnosis.jobs.run import Run, data_of, members
from segnosis.jobs.spread import spread
from segnosis.training.listener import Listener

AREAS = "areas.csv"
COLUMNS = ("image", "class", "pixels", "share", "size", "unit")


def predict(
    run: str | Path | Run | Sequence[str | Path | Run],
    images: str | Path,
    output: str | Path,
    *,
    probabilities: bool = False,
    overlay: bool = False,
    postprocess: bool = False,
    mirror: bool | None = None,
    scales: Sequence[float] = (1.0,),
    precision: str | None = None,
    workers: int = 1,
    engine: str | Executor | None = None,
    overwrite: bool = False,
    nan: float | None = None,
    listener: Listener | None = None,
) -> list[Path]:
    """Predict every image and write its mask: PNG with palette, TIFF for a TIFF, volumes on their own grid.

    Files are written whole or not at all. What is there already is kept, so that the same call continues one that was
    stopped. `areas.csv` beside the masks has a line an image and class. A TIFF larger than memory is read and written
    by windows.

    Args:
        run: Run folder, or the run; several are an ensemble, the mean of whose probabilities counts, and so are the
            folds in the folder of a cross-validation.
        images: An image, a volume, or a folder of them; masks lying beside the images are left alone.
        output: Folder for the masks, made when missing.
        probabilities: Also write `NAME.probabilities.*`, float32.
        overlay: Also write `NAME.overlay.png`; of a volume the plane with most foreground.
        postprocess: Apply, per class, the threshold, largest piece and filled holes that raise the Dice of the run's
            validation images; chosen at first use and kept in the run's `postprocessing.json`.
        mirror: Average over mirror images; as the run's plan says, when left out.
        scales: Average over the image at these sizes, 1 being its own.
        precision: `"float32"` or `"bfloat16"`; that of the training, when left out.
        workers: Processes that predict side by side.
        engine: `"dask://host:port"`, or any `concurrent.futures` executor, in place of processes here.
        overwrite: Predict again what is there already.
        nan: Number that pixels of NaN or infinity are read as; what the run's plan says when left out, and where that
            says nothing, an image with some is an error.
        listener: Who is told of the progress.

    Returns:
        The masks, also those that were there already.

    Raises:
        ArgumentError: An argument cannot work, or the runs of an ensemble have different classes.
        DataError: Images could not be read; all others are predicted before.
        RunError: `output` cannot be written.
    """
    _check(scales, workers, precision)
    listener, output = listener or Listener(), Path(output)
    given = [run] if isinstance(run, str | Path | Run) else run
    runs = [run for one in given for run in ([one] if isinstance(one, Run) else members(one))]
    start = spread(predict_one, workers=workers, engine=engine)
    settings = Settings(
        runs=tuple(str(one.out) for one in runs),
        probabilities=probabilities,
        overlay=overlay,
        mirror=mirror,
        scales=tuple(float(scale) for scale in scales),
        precision=precision,
    )
    if RunFolder(Path(images)).plan.exists():
        raise ArgumentError(
            "Behind the runs comes what is predicted: an image, or a folder of images.",
            received={"images": str(images), "problem": "a run folder"},
            cure="Type `segnosis predict RUN IMAGES -o DIR`.",
        )
    _same_classes(runs)
    if postprocess:
        settings = replace(settings, postprocessing=_postprocessing(runs, settings, listener))
    nan = runs[0].plan.nan if nan is None else nan
    found = data.open_images(images, without=output, channels=spec_of(str(runs[0].out)).channels, nan=nan)
    tasks = [Task(part, output, settings) for part in _files(found)]
    targets = [task.target for task in tasks]
    _distinct(tasks)
    _ours(output, targets)
    if others := found.source.index.left_out:
        more = ", …" if len(others) > 3 else ""
        listener.say(
            f"left out: {len(others)} images of another format ({', '.join(others[:3])}{more}); "
            "put them into a folder of their own, and predict that"
        )
    todo = [task for task, target in zip(tasks, targets, strict=True) if overwrite or not target.exists()]
    kept = len(tasks) - len(todo)
    failed: list[Exception] = []
    filled = 0
    with _Areas(output / AREAS, skip={task.id for task in todo}) as areas:
        for number, answer in enumerate(start(todo), start=1):
            listener.step("predicting", kept + number, len(tasks))
            if isinstance(answer, SegnosisError):
                failed.append(answer)
            else:
                areas.add(answer.rows)
                filled += answer.filled
    if filled:
        listener.say(f"{filled} of {len(todo)} images held NaN or infinite pixels, read as {nan:g}")
    if kept:
        listener.say(f"{kept} masks were there already and are kept; `--overwrite` makes them anew")
    if failed:
        more = f" ({len(failed)} of {len(todo)} images failed; the others are predicted)" if len(todo) > 1 else ""
        first = failed[0]
        if isinstance(first, DataError):
            told = {name: value for name, value in first.received.items() if name != "file"}
            raise DataError(first.expected.rstrip(".") + f"{more}.", file=first.file, received=told, cure=first.cure)
        raise first
    return targets


def _check(scales: Sequence[float], workers: int, precision: str | None) -> None:
    if not scales or not all(0.1 <= scale <= 10 for scale in scales):
        raise ArgumentError("Scales lie between 0.1 and 10.", received={"scales": scales}, cure="Try 0.75,1,1.25.")
    if workers < 1:
        raise ArgumentError("`workers` is at least 1.", received={"workers": workers}, cure="Pass workers=2.")
    if precision not in (None, "float32", "bfloat16"):
        raise ArgumentError(
            "`precision` is float32 or bfloat16.", received={"precision": precision}, cure="Leave it out."
        )


def _same_classes(runs: Sequence[Run]) -> None:
    names = [tuple(run.scores["per_class"]) for run in runs]
    if len(set(names)) > 1:
        raise ArgumentError(
            "The runs of an ensemble know the same classes, in the same order.",
            received={str(run.out): ", ".join(told) for run, told in zip(runs, names, strict=True)},
            cure="Leave out the run that differs.",
        )


def _postprocessing(runs: Sequence[Run], settings: Settings, listener: Listener) -> str:
    """What the first run's folder holds for these runs, or what its validation images, or those of the folds, say."""
    first = runs[0]
    file = first.out / "postprocessing.json"
    key = ", ".join(str(Path(run.out).resolve()) for run in runs[1:])
    from segnosis.training import postprocess

    stored = _chosen_before(file)
    if key not in stored:
        together = ensemble(settings)
        # What one fold holds out the others have trained on: each fold judges by its own images and its own model.
        folds = all(run.plan.fold for run in runs)
        judges = zip(runs, together.predictors, strict=True) if folds else [(first, together)]
        chosen = postprocess.choose(
            [(predictor, _validation(run)) for run, predictor in judges],
            progress=lambda done, total: listener.step("choosing post-processing on validation images", done, total),
        )
        stored[key] = chosen.to_json()
        write_json(file, stored)
    listener.say(f"post-processing: {stored[key] or 'none helps'}")
    return json.dumps(stored[key])


def _chosen_before(file: Path) -> dict[str, Any]:
    """What `postprocessing.json` says, of the run alone and of each of its ensembles."""
    from segnosis.training.postprocess import Postprocessing

    stored = read_json(file) if file.exists() else {}
    try:
        for told in stored.values():
            Postprocessing.from_json(told)
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            "The post-processing of a run is what `segnosis predict --postprocess` chose.",
            file=file,
            received={"content": stored},
            cure="Remove the file, and it is chosen anew.",
        ) from error
    return stored


def _validation(run: Run) -> Dataset:
    """The samples by which the run chose its best epoch."""
    plan = run.plan
    dataset = data_of(plan)
    wanted = set(run.scores["split"]["validation"])
    return dataset.subset(place for place, name in enumerate(dataset.ids) if name in wanted)


def _files(dataset: Dataset) -> Iterable[Dataset]:
    """A data set of its own for each file, small enough to be sent to another process."""
    source = dataset.source
    for entry in source.index.entries:
        index = replace(source.index, entries=(entry,))
        yield Dataset(Source(source.root, source.reader, index, source.class_names, source.ignore_class, source.nan))


def _distinct(tasks: Sequence[Task]) -> None:
    seen: dict[Path, str] = {}
    for task in tasks:
        for file in files_of(task):
            if file in seen:
                raise RunError(
                    "Every image has files of its own name.",
                    received={"file": str(file), "images": f"{seen[file]}, {task.id}"},
                    cure="Predict such images one after the other, each into its own folder.",
                )
            seen[file] = task.id


def _ours(output: Path, targets: Sequence[Path]) -> None:
    """What is kept, or made anew, are masks that were predicted: never an image, or a mask that somebody drew."""
    there = [] if (output / AREAS).exists() else [target for target in targets if target.exists()]
    if there:
        raise RunError(
            f"Masks are written into a folder of their own; one that holds predictions has an {AREAS}.",
            received={"folder": str(output), "files that no prediction made": len(there), "first": there[0].name},
            cure="Choose another folder with `-o`.",
        )


class _Areas:
    """`areas.csv`: a line an image and class, written as images are done; lines of an earlier call stay.

    Args:
        file: Where it lies.
        skip: Images that are predicted now; what earlier lines said of them goes.
    """

    def __init__(self, file: Path, skip: set[str]) -> None:
        self.file, self._skip = file, skip
        self._add: Callable[[Iterable[Sequence[object]]], None] | None = None

    def __enter__(self) -> _Areas:
        return self

    def __exit__(self, *error: object) -> None:
        if self._add is not None:
            self._handle.close()

    def add(self, rows: Sequence[Told]) -> None:
        """Lines of one image."""
        if self._add is None:
            kept = []
            if self.file.exists():
                with self.file.open(encoding="utf-8", newline="") as lines:
                    kept = [line for line in csv.reader(lines) if len(line) == len(COLUMNS)][1:]
            write_text(self.file, ",".join(COLUMNS) + "\r\n")
            self._handle = self.file.open("a", encoding="utf-8", newline="")
            self._add = csv.writer(self._handle).writerows
            self._add(line for line in kept if line[0] not in self._skip)
        self._add(rows)
        self._handle.flush()
