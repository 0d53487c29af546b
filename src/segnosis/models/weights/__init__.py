"""Weights from published files, all of them or none: every tensor is accounted for on both sides.

One file is one format, and says of itself:

- `SAYS`: what it reads, one phrase;
- `recognises(path)`: whether a file looks like its own;
- `read(path)`: `{name: array}`, everything in the file but the state of a training;
- `sources(layer, names)`: where in the file the weights of a layer come from, see `mapping.Source`;
- `BACKBONE`: pattern of the names that belong to a backbone; `CLASSIFIER`: of those that only classify images;
- `BUILT_AS`, where only a certain model fits: the call that builds it.
"""

from __future__ import annotations

from pathlib import Path

import keras

from segnosis.core import discovery
from segnosis.core.errors import DataError
from segnosis.models.weights.mapping import Loaded, fill

# Modules that are no format: what several of them share.
NOT_UNITS = ("hdf5", "mapping", "safetensors_file")

__all__ = ["Loaded", "load_weights"]


def load_weights(model: keras.Model, path: str | Path, *, format: str | None = None, only: str | None = None) -> Loaded:
    """Fill a model with the weights of a published file.

    Reads DeepLab's TensorFlow checkpoints (Xception-65, MobileNetV2), the community's Keras HDF5 files of the same,
    files of keras.applications, safetensors with torchvision's ResNet or a U-Net of segmentation_models.pytorch, and
    models that Keras saved (`.keras`), as those of earlier runs. A file that was trained on colour images fits a model
    for grey or many channels: the first layer's weights are summed over colours, or repeated and scaled, so that its
    response keeps its size; the result says so.

    Args:
        model: Any model of Segnosis, or one that contains it.
        path: File; for a TensorFlow checkpoint its prefix, as in `model.ckpt`.
        format: Name of the format, the file names in `segnosis.models.weights`; `None` recognises it.
        only: Name of a nested model or a layer to fill, mostly `"backbone"`; the rest keeps its weights, and what the
            file holds for the rest, or for classifying images, is not looked at.

    Returns:
        What was loaded, to print or to look at.

    Raises:
        WeightsError: Tensors are missing, left over or of another shape: all of them are listed, and nothing is loaded.
        DataError: The file is of no format known here. A pickle is never opened: it can run any program.

    Example:
        >>> import tempfile
        >>> import segnosis as sg
        >>> model = sg.models.unet((32, 32, 1), num_classes=2, width=4, depth=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save_weights(f"{folder}/mine.weights.h5")
        ...     print(sg.models.load_weights(model, f"{folder}/mine.weights.h5"))
        Loaded 32 tensors, 1,758 weights, from mine.weights.h5 (keras_hdf5).
    """
    path = Path(path)
    units = discovery.units(__name__)
    recognised = [unit for unit in units.values() if unit.recognises(path)]
    if not recognised:
        _refuse_pickle(path)
    module = discovery.load(__name__, format, what="format") if format is not None else next(iter(recognised), None)
    if module is None:
        known = "; ".join(f"`{name}`: {unit.SAYS}" for name, unit in units.items())
        raise DataError(
            "A file of weights exists and is of a format known here.",
            file=path,
            received={"problem": "of no known format" if path.exists() else "missing"},
            cure=f"Known are {known}.",
        )
    return fill(model, path, module, only=only)


def _refuse_pickle(path: Path) -> None:
    """A `.pth` file is a pickle, or a zip with one in it: opening it would run what it says."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(2)
    if start[:1] == b"\x80" or (start == b"PK" and path.suffix != ".keras"):
        raise DataError(
            "Weights are read from files that can only hold numbers, never from a pickle, which can run any program.",
            file=path,
            received={"problem": "a pickle"},
            cure="Where you trust it, convert it once with PyTorch: "
            "`safetensors.torch.save_file(torch.load(path, weights_only=True), 'weights.safetensors')`.",
        )
