"""The house stands: imports go down only, the front door is light, nothing is registered by hand."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segnosis.data.readers import image_folders

SOURCE = Path(__file__).parents[2] / "src" / "segnosis"
BACKENDS = {"tensorflow", "jax", "torch"}


def _imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_help_is_quick_and_loads_no_keras() -> None:
    code = "import sys; from segnosis.cli.main import application; application(); " + (
        "print([m for m in ('keras', 'numpy', 'tensorflow', 'jax', 'torch', 'pydantic') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]"


def test_help_takes_less_than_half_a_second() -> None:
    command = [sys.executable, "-m", "segnosis", "--help"]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_a_folder_is_checked_without_keras(tmp_path: Path) -> None:
    image_folders.example(tmp_path / "data")
    code = "import atexit, sys; atexit.register(lambda: print('keras' in sys.modules)); " + (
        "from segnosis.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "check", str(tmp_path / "data"), "--html", str(tmp_path / "page.html")]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert (tmp_path / "page.html").exists() and printed.splitlines()[-1] == "False"


def test_importing_segnosis_loads_no_backend() -> None:
    code = f"import sys, segnosis, segnosis.models, segnosis.data; print({{'keras', *{BACKENDS}}} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "set()"


def test_every_file_that_imports_a_backend_says_why() -> None:
    for file in SOURCE.rglob("*.py"):
        backends = {name.split(".")[0] for name in _imports(file)} & BACKENDS
        if backends:
            page = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            names = ("tensorflow", "jax", "torch", "backend")
            assert any(name in page.lower() for name in names), f"{file.name} imports {backends} and does not say why"


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc", "manager"])
def test_no_file_is_called_after_nothing(name: str) -> None:
    assert not [file for file in SOURCE.rglob("*.py") if file.stem.strip("_") == name]


def test_no_data_file_is_unpickled_or_run() -> None:
    for file in SOURCE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text, file
        assert not _imports(file) & {"pickle", "dill", "cloudpickle", "shelve", "marshal"}, file
        assert "yaml.load(" not in text, file
