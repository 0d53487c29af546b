"""TensorFlow's SavedModel: a folder for TensorFlow Serving, read back here with tensorflow as the server does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segnosis.training.export import Call, _tensorflow

if TYPE_CHECKING:
    import keras

SUFFIX = ""
PACKAGES = ("tensorflow",)
EXTRA = "tensorflow-cpu"


def write(model: keras.Model, path: Path, facts: Mapping[str, str]) -> None:
    """Write `model` as a folder with the endpoint `serve`; the format keeps no facts."""
    _tensorflow.export(model, path, "tf_saved_model")


def load(path: Path) -> Call:
    """The folder in TensorFlow."""
    import tensorflow as tf

    served = tf.saved_model.load(str(path))
    return lambda images: np.asarray(served.serve(images))
