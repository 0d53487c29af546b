"""What is found by its file is also told by name: units, and the backend that Keras cannot load."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from segnosis.core import discovery
from segnosis.core.errors import ArgumentError

pytestmark = pytest.mark.one_backend
WORDS = ["losses.Dice", "models.unet", "diagnose", "data.feed([0], batch_size=1, size=8)"]
ASK = """
import json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "jax":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import segnosis as sg
try:
    eval("sg." + sys.argv[1])
except ImportError as error:
    print(json.dumps([type(error).__name__, str(error), str(error.__cause__)]))
"""


@pytest.mark.parametrize("word", WORDS)
def test_a_backend_that_is_not_installed_is_one_sentence_in_python_too(word: str) -> None:
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, word], env=environment, capture_output=True, text=True, timeout=300
    )
    kind, says, cause = json.loads(done.stdout)
    assert kind == "MissingPackageError"
    assert says == (
        'Keras, set to its backend jax, needs the package `jax`. Install it with `pip install "segnosis[jax]"`.'
    )
    assert "jax" in cause, "Keras' own error stands above it"


def test_another_error_of_an_import_is_left_as_it_is() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        discovery.imported("segnosis.no_such_module")
    assert discovery.no_backend(ValueError("a wrong value")) is None


def test_a_name_that_there_is_none_of_is_told_with_those_there_are() -> None:
    with pytest.raises(ArgumentError, match=r"no tracker of this name.*Known: `mlflow`, `tensorboard`\."):
        discovery.check("segnosis.training.tracking", "paper", what="tracker")
    with pytest.raises(ArgumentError, match=r"no model of this name.*Did you mean `unet`"):
        discovery.load("segnosis.models", "unett")
