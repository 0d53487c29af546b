"""A trained model in another format, checked before it is handed over."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segnosis import data as data_sets
from segnosis.core.errors import ArgumentError, DataError, RunError
from segnosis.core.run_folder import write_json
from segnosis.jobs.run import Run, opened
from segnosis.training.listener import Listener

if TYPE_CHECKING:
    from segnosis.data.dataset import Dataset
    from segnosis.training.exported import Comparison

_IMAGES = 32
"""Held-out images that are compared, and training images that give int8 its ranges."""
INT8_DROP = 0.01
"""Mean IoU that int8 may cost."""


@dataclass(frozen=True)
class Export:
    """A file, or for a SavedModel a folder, and how it compares with the trained model.

    Attributes:
        path: Where it lies.
        compared: Differences, scores and latencies, measured on held-out images.
        int8: The eight-bit file, where it was asked for and holds the score.
        note: Why there is no eight-bit file although it was asked for, or `""`.
    """

    path: Path
    compared: Comparison
    int8: Export | None = None
    note: str = ""


def export(
    run: str | Path | Run,
    to: str = "onnx",
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    int8: bool = False,
    listener: Listener | None = None,
) -> Export:
    """Write a run's model for use without Keras, and check it: the same logits and mean IoU on held-out images.

    The file takes raw pixel values, any batch and, where the model does, any height and width, and gives logits. It is
    put in place only when it passed; what was compared stands beside it in `NAME.json`.

    Args:
        run: Run folder, or the run.
        to: `"onnx"`, `"openvino"` or `"saved_model"`.
        out: The file to write; `model.onnx` and the like in the run folder when left out.
        data: Where the data set of the run lies now, when it was moved.
        int8: Write an ONNX file of eight-bit convolutions beside the other; kept where it costs at most 0.01 mean IoU.
        listener: Who is told of the progress.

    Returns:
        Where it lies, and how it compares.

    Raises:
        ArgumentError: The format is not known, or does not go with `out` or `int8`.
        MissingPackageError: The format needs a package that is not installed.
        RunError: What was written does not say what the trained model says; it was removed.
    """
    from segnosis.training.export import format_named

    form = format_named(to)
    if int8 and to != "onnx":
        raise ArgumentError("int8 is written as ONNX.", received={"to": to}, cure="Leave out `--int8`, or `--to`.")
    run = run if isinstance(run, Run) else opened(run)
    target = Path(out) if out is not None else run.out / (f"model{form.SUFFIX}" if form.SUFFIX else to)
    if target.suffix != form.SUFFIX or (target.exists() and target.is_dir() != (not form.SUFFIX)):
        what = f"a file named `….{form.SUFFIX[1:]}`" if form.SUFFIX else "a new folder without a suffix"
        raise ArgumentError(f"The format {to} is {what}.", received={"out": str(target)}, cure="Correct `--out`.")
    if target.is_dir() and any(target.iterdir()) and not (target / "saved_model.pb").exists():
        raise RunError(
            "An export replaces an older export only.",
            received={"out": str(target), "files that no export wrote": sum(1 for _ in target.iterdir())},
            cure="Name a new folder with `--out`.",
        )
    listener = listener or Listener()
    held_out, trained_on = _split(run, data)
    from segnosis.models import cast
    from segnosis.training import exported
    from segnosis.training.export import _int8

    model = cast(run.model(), "float32")

    def told(done: int, total: int) -> None:
        listener.step("comparing on held-out images", done, total)

    with _workshop(target) as folder:
        made = folder / target.name
        listener.step(f"writing {to}")
        form.write(model, made, exported.facts(run.plan, held_out.spec))
        compared = exported.compare(model, form.load(made), run.plan, held_out, progress=told)
        if not compared.agrees:
            raise exported.refused(target, compared)
        done = {target.name: {"format": to, **compared.to_json()}}
        small, note = None, ""
        if int8:
            listener.step("measuring ranges for int8")
            quick = made.with_name(f"{target.stem}.int8{form.SUFFIX}")
            _int8.quantize(made, quick, _windows(trained_on, exported.window_of(run.plan)))
            eighth = exported.compare(model, form.load(quick), run.plan, held_out, progress=told)
            if eighth.drop > INT8_DROP:
                quick.unlink()
                note = f"int8 was not kept: mean IoU would fall by {eighth.drop:.4f}, more than {INT8_DROP:g}"
            else:
                done[quick.name] = {"format": "onnx, int8", **eighth.to_json()}
                small = Export(target.with_name(quick.name), eighth)
        for name, told_of in done.items():
            write_json(folder / f"{name}.json", told_of)
        _put(folder, target.parent)
    return Export(target, compared, small, note)


def _split(run: Run, source: str | Path | None) -> tuple[Dataset, Dataset]:
    """Held-out and training images of the run, evenly drawn."""
    plan = run.plan
    source = Path(source if source is not None else plan.data)
    missing = DataError(
        "An export is checked on held-out images of the run's own data.",
        file=source,
        received={"problem": "they are not there"},
        cure="Name the folder they lie in now with `--data DATA`.",
    )
    if not source.exists():
        raise missing
    dataset = data_sets.open(
        source, reader=plan.reader, class_names=plan.class_names, ignore_class=plan.ignore_class, nan=plan.nan
    )
    places = {name: place for place, name in enumerate(dataset.ids)}
    split = run.scores["split"]
    parts = []
    for names in (split["test"] or split["validation"], split["train"]):
        known = [places[name] for name in names if name in places]
        if not known:
            raise missing
        chosen = np.linspace(0, len(known) - 1, min(_IMAGES, len(known))).round().astype(int)
        parts.append(dataset.subset(known[index] for index in chosen))
    return parts[0], parts[1]


def _windows(dataset: Dataset, size: tuple[int, int]) -> list[np.ndarray]:
    """A batch of one from each readable image."""
    from segnosis.training.exported import window

    found = []
    for index in range(len(dataset)):
        with contextlib.suppress(DataError):  # training left it out, too
            found.append(window(dataset[index].image, size))
    return found


@contextlib.contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """A folder beside `target` to work in, gone afterwards; what is to stay is moved out of it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=".part-"))
    except OSError as error:
        raise RunError(
            "The folder of an export must be writable.",
            received={"out": str(target), "problem": error.strerror or str(error)},
            cure="Choose another one with `--out`.",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _put(folder: Path, place: Path) -> None:
    """Move everything in `folder` to `place`, in the stead of an older export."""
    for made in folder.iterdir():
        if (place / made.name).is_dir():
            shutil.rmtree(place / made.name)
        made.replace(place / made.name)
