"""Keras' own export, under TensorFlow whatever backend is in use: its graph keeps batch, height and width open.

Under JAX or torch the model goes through a file into a process of its own: `python -m` this module.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from segnosis.core.errors import MissingPackageError, RunError

_OPSET = 18
_SIDE = 64
"""Height and width of the picture that traces a model of open size; every architecture takes it."""


def export(model: object, path: Path, form: str) -> None:
    """Write a Keras model as `form`, `"onnx"` or `"tf_saved_model"`.

    Raises:
        MissingPackageError: TensorFlow is not installed.
        RunError: The model has a layer the format has no word for.
    """
    import keras

    if importlib.util.find_spec("tensorflow") is None:
        raise MissingPackageError("tensorflow", purpose=f"writing {form}", extra="tensorflow-cpu")
    if keras.backend.backend() == "tensorflow":
        try:
            _export(model, path, form)
        except Exception as error:  # a converter raises whatever a layer unknown to it leads to
            raise _refused(form, f"{type(error).__name__}: {error}") from error
        return
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "model.keras"
        model.save(stored)  # type: ignore[attr-defined]
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(stored), str(path), form],
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise _refused(form, done.stderr.strip().rsplit("\n", 1)[-1])


def _export(model: object, path: Path, form: str) -> None:
    import keras
    import numpy as np

    assert isinstance(model, keras.Model)
    more = {"opset_version": _OPSET} if form == "onnx" else {}
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Keras asks numpy for `np.object`, which tf2onnx wants and numpy warns of.
        warnings.simplefilter("ignore")
        model(np.zeros([side or _SIDE for side in (1, *model.input_shape[1:])], np.float32))
        model.export(str(path), format=form, verbose=False, **more)


def _refused(form: str, problem: str) -> RunError:
    return RunError(
        f"Every layer of the model must have a counterpart in {form}.",
        received={"problem": " ".join(problem.split())},
        cure="Export to another format, `--to saved_model` say, or replace that layer.",
    )


if __name__ == "__main__":
    import keras

    _export(keras.models.load_model(sys.argv[1], compile=False), Path(sys.argv[2]), sys.argv[3])
