"""A reader who types everything that a page shows, in a folder of her own, and compares what is printed.

Fenced blocks are, by their language: `sh` commands; `python` code that is run, or a file where the first line is its
name (`# train.py`); `diff` a change of such a file (`--- train.py`, then lines that go, come or stay); `text` lines
that the last block has printed, with `…` for what is left out. A fence of another language is an error: nothing in a
page is run by no test.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tomllib
import warnings
from pathlib import Path
from typing import Any

from docs.build import DOCS

from segnosis.cli.main import main
from segnosis.data import phantom

ROOT = DOCS.parent


def blocks(page: Path) -> list[tuple[str, str]]:
    """Fenced blocks of a page: (language, text)."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


class Reader:
    """She works through one page.

    Args:
        folder: Where she works; it must be the current directory while she reads.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, page: Path) -> None:
        """Run the blocks of a page, top to bottom."""
        text = page.read_text(encoding="utf-8")
        names, out = self._given(text), ""
        for language, block in blocks(page):
            if language == "sh":
                out = "".join(self.type(line) for line in block.splitlines() if line.strip())
            elif language == "python" and (file := re.match(r"# ([\w/]+\.py)\n", block)):
                (self.folder / file[1]).parent.mkdir(exist_ok=True)
                (self.folder / file[1]).write_text(block, encoding="utf-8")
            elif language == "python":
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    exec(compile(_quick(block), page.name, "exec"), names)
                out = printed.getvalue()
            elif language == "diff":
                self._change(block)
            elif language == "text":
                told = [line for line in block.splitlines() if line.strip()]
                missing = [line for line in told if not _pattern(line).search(" ".join(out.split()))]
                assert not missing, f"{page.name} promises {missing}, but:\n{out}"
            else:
                raise AssertionError(f"{page.name}: a block in {language or 'no language'!r} is run by no test")

    def type(self, line: str) -> str:
        """Run a command line, or prove that it could be run; returns what it printed."""
        words = shlex.split(_quick(line), comments=True)
        if words[0] == "make":
            targets = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{words[1]}:", targets, flags=re.MULTILINE), line
            return ""
        if words[:2] == ["pip", "install"]:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            extras = set(re.findall(r"\[(.*)\]", words[2])[0].split(","))
            assert extras <= set(project["optional-dependencies"]), line
            return ""
        if words[0] == "python":
            where = ROOT / (words[2].replace(".", "/") if words[1] == "-m" else words[1])
            assert where.with_suffix(".py").exists() or (where / "__main__.py").exists(), line
            return ""
        if "segnosis" in words[1:]:
            assert words[0] in ("srun", "mpirun") or re.match(r"[A-Z_]+=", words[0]), line
            return _understood(words[words.index("segnosis") + 1 :])
        assert words[0] == "segnosis", f"no test knows how to run: {line}"
        return _run(words[1:])

    def _given(self, text: str) -> dict[str, object]:
        """What a page speaks of without making it: `path/to/data`, `path/to/new/images`, a program, a model, arrays."""
        if "path/to/" in text and not (self.folder / "path/to/data").exists():
            phantom.write(self.folder / "path/to/data", subjects=6, size=32, slices=4)
            phantom.write(self.folder / "path/to/new/images", subjects=1, size=32, slices=4)
        if "path/to/image.png" in text:
            from PIL import Image

            Image.linear_gradient("L").resize((50, 40)).save(self.folder / "path/to/image.png")
        program = next(text for _, text in blocks(DOCS / "tutorial.md") if text.startswith("# train.py"))
        (self.folder / "train.py").write_text(program, encoding="utf-8")
        if "(images, masks)" not in text:
            return {}
        import numpy as np

        import segnosis as sg

        model = sg.models.unet((32, 32, 1), num_classes=2, width=4, depth=2)
        model.compile("adam", sg.losses.Dice())
        return {"model": model, "images": np.zeros((4, 32, 32, 1), "float32"), "masks": np.zeros((4, 32, 32), "int32")}

    def _change(self, block: str) -> None:
        """Make the change of a `diff` block; what it takes away or keeps must stand in the file exactly once."""
        head, *lines = block.splitlines(keepends=True)
        file = self.folder / head.removeprefix("--- ").strip()
        before = "".join(line[1:] for line in lines if line[0] in "- ")
        after = "".join(line[1:] for line in lines if line[0] in "+ ")
        text = file.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{file.name} has {text.count(before)} times:\n{before}"
        file.write_text(text.replace(before, after), encoding="utf-8")


def _understood(words: list[str]) -> str:
    """Prove that a command which needs many hosts has the options that are given; it is not run."""
    import typer

    from segnosis.cli.main import application

    group: Any = typer.main.get_command(application())
    with group.make_context("segnosis", list(words)) as context:
        name, command, rest = group.resolve_command(context, words)
        command.make_context(name, rest, parent=context).close()
    return ""


def _run(words: list[str]) -> str:
    out = io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()) as err,
        warnings.catch_warnings(),
    ):
        if words[0] == "diagnose":
            warnings.simplefilter("default")  # what a reader's own program warns of is no error of hers
        code: object = 0
        try:
            main(words)
        except SystemExit as left:
            code = left.code
    assert code in (0, 1, None), f"segnosis {shlex.join(words)}: {err.getvalue()}"
    return out.getvalue()


def _quick(text: str) -> str:
    """The same with one epoch in place of minutes: what is tested is that it runs."""
    return re.sub(r"--minutes \d+", "--epochs 1", re.sub(r"\bminutes=\d+", "epochs=1", text))


def _pattern(line: str) -> re.Pattern[str]:
    """What a promised line looks like in what was printed, however that is wrapped."""
    return re.compile(".{0,200}?".join(re.escape(" ".join(part.split())) for part in line.split("…")))
