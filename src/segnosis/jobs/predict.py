"""Masks for new images, in the size and format they came in."""

from __future__ import annotations

import contextlib
import io
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from segnosis import data
from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.errors import DataError, RunError
from segnosis.core.run_folder import read_json, write_bytes
from segnosis.data.dataset import Dataset, harmonise
from segnosis.jobs.evaluate import predictor
from segnosis.jobs.run import Run, opened
from segnosis.training.listener import Listener
from segnosis.training.pictures import palette


def predict(
    run: str | Path | Run, images: str | Path, output: str | Path, *, listener: Listener | None = None
) -> list[Path]:
    """Predict every image and write its mask: PNG with palette, volumes as volumes with their own affine.

    Args:
        run: Run folder, or the run.
        images: An image, a volume, or a folder of them; masks lying beside the images are left alone.
        output: Folder for the masks, made when missing; nothing in it is overwritten.
        listener: Who is told of the progress.

    Returns:
        The files written.
    """
    run = run if isinstance(run, Run) else opened(run)
    listener, output = listener or Listener(), Path(output)
    dataset = _images(images)
    apply, spec = predictor(run), DatasetSpec.from_json(read_json(run.folder.fingerprint)["spec"])
    written = []
    for volume, indices in itertools.groupby(range(len(dataset)), key=lambda i: _file(dataset, i)):
        masks = []
        for index in indices:
            listener.step("predicting", index + 1, len(dataset))
            sample = dataset[index]
            masks.append(apply.mask(harmonise(sample.image, spec.channels, spec.dtype, volume)))
        name = f"{dataset.ids[index]}.png" if dataset.volume_of(index) is None else volume.name
        target = output / name
        if target.exists():
            raise RunError(
                "A prediction never overwrites a file.",
                received={"file": str(target)},
                cure="Name an empty folder with `-o`.",
            )
        if dataset.volume_of(index) is None:
            written.append(write_bytes(target, _png(masks[0], spec.num_classes)))
        else:
            output.mkdir(parents=True, exist_ok=True)
            written.append(dataset.write_volume(target, masks, like=volume))
    return written


def _images(source: str | Path) -> Dataset:
    """The images of a labelled data set, or of a folder of images alone."""
    if Path(source).is_dir():
        # No masks there is the usual case; what is wrong with the images, the last line tells.
        with contextlib.suppress(DataError):
            return data.open(source)
    return data.open_images(source)


def _file(dataset: Dataset, index: int) -> Path:
    volume = dataset.volume_of(index)
    return volume.file if volume is not None else Path(dataset.ids[index])


def _png(mask: np.ndarray, num_classes: int) -> bytes:
    picture = Image.fromarray(mask.astype(np.uint8))
    picture.putpalette(palette(num_classes).ravel().tolist())
    out = io.BytesIO()
    picture.save(out, format="PNG", optimize=True)
    return out.getvalue()
