"""What is installed is what is written: the wheel holds the whole package, and works where the repository is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from tests.house.reader import ROOT, blocks

import segnosis

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since a build leaves folders behind that a later one takes for its own."""
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"][0]
    name, _, version = backend.partition(">=")
    there = {found.name: found.version for found in metadata.distributions()}  # imported, they would patch each other
    if "pip" not in there or int(there.get(name, "0").split(".")[0]) < int(version):
        pytest.skip(f"pip and {backend} are not installed here; they would be fetched from the network")
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    _pip("wheel", str(copy), "--no-deps", "--no-build-isolation", "--wheel-dir", str(copy / "dist"))
    return next((copy / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    _pip("install", str(wheel), "--no-deps", "--target", str(target))
    return target


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        packed = {name for name in file.namelist() if ".dist-info/" not in name}
        facts = next(file.read(name).decode() for name in file.namelist() if name.endswith("/METADATA"))
    source = ROOT / "src"
    written = {path.relative_to(source).as_posix() for path in (source / "segnosis").rglob("*") if path.is_file()}
    assert packed == {name for name in written if "__pycache__" not in name}
    assert {"segnosis/py.typed", "segnosis/report/templates/base.html"} <= packed
    assert "Requires-Dist: keras" in facts and f"Version: {segnosis.__version__}" in facts


def test_the_installed_package_works_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    shown = _python(installed, tmp_path, "-c", "import segnosis; print(segnosis.__file__)").stdout
    assert Path(shown.strip()).is_relative_to(installed)
    assert _python(installed, tmp_path, "-m", "segnosis", "--version").stdout.strip().endswith(segnosis.__version__)
    program = next(text for _, text in blocks(ROOT / "docs" / "tutorial.md") if text.startswith("# train.py"))
    (tmp_path / "train.py").write_text(program, encoding="utf-8")
    done = _python(installed, tmp_path, "-m", "segnosis", "diagnose", "train.py", "--html", "why.html")
    assert done.returncode == 1 and "LAB001" in done.stdout, done.stderr
    assert "LAB001" in (tmp_path / "why.html").read_text(encoding="utf-8")


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", *words, "--no-index", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _python(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, cwd=folder, env=given)
