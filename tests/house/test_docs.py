"""Documents are fresh, lead nowhere dead, and every command and snippet in them runs."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from docs.build import DOCS, dead_links, pages

from segnosis.cli.main import main
from segnosis.data import phantom
from segnosis.training import planner
from segnosis.training.plan import Plan

ROOT = DOCS.parent
BY_HAND = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
pytestmark = pytest.mark.one_backend


def test_generated_pages_are_fresh() -> None:
    made = pages()
    there = {file.relative_to(DOCS).as_posix() for file in (DOCS / "reference").rglob("*.md")}
    stale = [name for name in made if not (DOCS / name).exists() or (DOCS / name).read_text("utf-8") != made[name]]
    assert not stale and there == set(made), f"run `make docs`: {stale}, left over {sorted(there - set(made))}"


@pytest.mark.parametrize("page", [*BY_HAND, *sorted((DOCS / "reference").rglob("*.md"))], ids=lambda page: page.stem)
def test_no_link_is_dead(page: Path) -> None:
    assert list(dead_links(page)) == []


def test_every_picture_is_small() -> None:
    for picture in (DOCS / "pictures").glob("*"):
        assert picture.stat().st_size < 300_000, picture.name


def blocks(page: Path) -> list[tuple[str, str]]:
    """Fenced blocks of a page: (language, text)."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", BY_HAND, ids=lambda page: page.stem)
def test_every_command_and_snippet_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planner, "plan", partial(_small_plan, planner.plan))
    out, names = "", _things_a_reader_has(tmp_path, page.read_text(encoding="utf-8"))
    for language, text in blocks(page):
        if language == "sh":
            out = "".join(_command(line) for line in text.splitlines() if line.strip())
        elif language == "python" and (file := re.match(r"# (\w+\.py)\n", text)):
            (tmp_path / file[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(_quick(text), f"{page.name}", "exec"), names)
        elif language == "text":
            told = [line for line in text.splitlines() if line.strip()]
            assert all(line.strip() in out for line in told), f"{page.name} promises {told}, but:\n{out}"
        else:
            raise AssertionError(f"{page.name}: a block in {language or 'no language'!r} is run by no test")


def _small_plan(make: Callable[..., Plan], *args: object, **kwargs: object) -> Plan:
    """The same decisions for a network that learns nothing, but soon."""
    small = {"width": 4, "depth": 2}
    return make(*args, **kwargs).with_(
        model_arguments=small, size=(32, 32), window=(32, 32), steps_per_epoch=2, precision="float32", mirror=False
    )


def _things_a_reader_has(folder: Path, text: str) -> dict[str, object]:
    """What a page speaks of without making it: `path/to/data`, `path/to/new/images`, `train.py`, a model and arrays."""
    if "path/to/" in text:
        phantom.write(folder / "path/to/data", subjects=6, size=32, slices=4)
        phantom.write(folder / "path/to/new/images", subjects=1, size=32, slices=4)
    if "path/to/image.png" in text:
        from PIL import Image

        Image.linear_gradient("L").resize((50, 40)).save(folder / "path/to/image.png")
    program = next(text for _, text in blocks(DOCS / "tutorial.md") if text.startswith("# train.py"))
    (folder / "train.py").write_text(program, encoding="utf-8")
    if "(images, masks)" not in text:
        return {}
    import numpy as np

    import segnosis as sg

    model = sg.models.unet((32, 32, 1), num_classes=2, width=4, depth=2)
    model.compile("adam", sg.losses.Dice())
    return {"model": model, "images": np.zeros((4, 32, 32, 1), "float32"), "masks": np.zeros((4, 32, 32), "int32")}


def _quick(text: str) -> str:
    """The same with one epoch in place of minutes: what is tested is that it runs."""
    return re.sub(r"--minutes \d+", "--epochs 1", re.sub(r"\bminutes=\d+", "epochs=1", text))


def _command(line: str) -> str:
    """Run one command line of a page, or prove that it could be run; returns what it printed."""
    words = shlex.split(_quick(line), comments=True)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE), line
        return ""
    if words[:2] == ["pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert set(re.findall(r"\[(.*)\]", words[2])[0].split(",")) <= set(project["optional-dependencies"]), line
        return ""
    if words[0] == "python":
        where = ROOT / (words[2].replace(".", "/") if words[1] == "-m" else words[1])
        assert where.with_suffix(".py").exists() or (where / "__main__.py").exists(), line
        return ""
    assert words[0] == "segnosis", f"no test knows how to run: {line}"
    if words[1] == "diagnose":  # it runs a program of the reader's, in a process of its own
        done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, env={**os.environ})
        assert done.returncode in (0, 1), done.stderr
        return done.stdout
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as err:
        code: object = 0
        try:
            main(words[1:])
        except SystemExit as left:
            code = left.code
    assert code in (0, 1, None), f"{line}: {err.getvalue()}"
    return out.getvalue()
