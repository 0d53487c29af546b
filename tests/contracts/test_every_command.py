"""Every command explains itself, and answers bad input with one clear error and exit code 2."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import segnosis
from segnosis.cli.main import main
from segnosis.core import discovery

COMMANDS = discovery.units("segnosis.cli")
pytestmark = pytest.mark.one_backend


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    out, err = capsys.readouterr()
    code = left.value.code
    return (code if isinstance(code, int) else 0), out, err


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, name.rstrip("_"), "--help")
    assert code == 0
    first = (inspect.getdoc(COMMANDS[name].command) or "").splitlines()[0]
    assert first[:40] in " ".join(out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = _run(capsys, name.rstrip("_"), "--help")
    shown = out.partition("Examples:")[2].split("\n")
    assert [line.strip() for line in shown if line.strip()] == list(COMMANDS[name].EXAMPLES)
    assert all(line.startswith(f"segnosis {name.rstrip('_')} ") for line in COMMANDS[name].EXAMPLES)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(capsys, "--version") == (0, f"segnosis {segnosis.__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    for parameter in inspect.signature(COMMANDS[name].command).parameters.values():
        assert parameter.default.help, f"{name}: {parameter.name}"


@pytest.mark.parametrize(
    "words",
    [
        ("train", "{missing}", "--out", "{out}"),
        ("train", "{empty}", "--out", "{out}"),
        ("train", "--out", "{out}"),
        ("train", "{empty}", "--out", "{out}", "--minutes", "-1"),
        ("train", "{empty}", "--out", "{out}", "--minutes", "1", "--epochs", "3"),
        ("train", "{empty}", "--out", "{out}", "--track", "paper"),
        ("train", "{empty}", "--out", "{out}", "--track", "paper", "--folds", "3"),
        ("train", "{empty}", "--out", "{out}", "--nan", "nan"),
        ("train", "--resume", "--out", "{missing}"),
        ("train", "--plan", "{missing}"),
        ("plan", "{missing}"),
        ("plan", "{empty}"),
        ("check", "{missing}"),
        ("check", "{empty}"),
        ("check", ""),
        ("check", "{file}"),
        ("plan", ""),
        ("plan", "{empty}", "--minutes", "1", "--epochs", "3"),
        ("plan", "{empty}", "--minutes", "inf"),
        ("demo", "--out", "{file}"),
        ("demo", "--out", "{out}", "--epochs", "0"),
        ("evaluate", "{empty}", "--json", "{out}.txt"),
        ("evaluate", "{empty}", "{empty}"),
        ("predict", "{empty}", "{empty}", "-o", "{out}"),
        ("export", "{missing}"),
        ("export", "{empty}", "--to", "onxx", "--out", "{out}"),
        ("export", "{empty}", "--to", "openvino", "--int8"),
        ("predict", "{empty}", "{empty}", "-o", "{out}", "--engine", "spark://here"),
        ("report", "{missing}"),
        ("explain", "LAB999"),
        ("list", "modells"),
        ("diagnose", "{missing}"),
        ("diagnose", "{empty}"),
        ("diagnose", "{missing}", "--budget", "cheap"),
        ("diagnose", "{empty}", "--prove"),
        ("diagnose", "{empty}", "extra"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_clear_error(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    places = {name: str(tmp_path / name) for name in ("missing", "empty", "out", "file")}
    code, _, err = _run(capsys, *(word.format(**places) for word in words))
    assert code == 2
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, err
    assert "Traceback" not in err
    assert errors[0].endswith((".", "`", "?")), "an error ends with its cure"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"], "nothing is half-written"


@pytest.mark.parametrize(
    ("backend", "says"),
    [("jax", 'Install it with `pip install "segnosis[jax]"`.'), ("jx", "Set it to tensorflow, jax, torch, or leave")],
)
def test_a_backend_that_is_not_there_is_one_clear_error(backend: str, says: str) -> None:
    code = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "jax":
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
from segnosis.cli.main import main
main(["train", "nowhere"])
"""
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and says in done.stderr and done.stderr.count("\n") == 1


def test_a_mistyped_command_is_told_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _run(capsys, "trian")
    assert code == 2
    assert "trian" in err


def test_pages_are_those_of_the_checks_and_load_no_keras(capsys: pytest.CaptureFixture[str]) -> None:
    from segnosis.cli.pages import pages
    from segnosis.doctor.check import all_checks

    stated = [(check.code, check.name, check.severity, check.page, check.title) for check in all_checks()]
    assert [(page.code, page.name, page.severity, page.text, page.title) for page in pages()] == stated
    code = "import sys; from segnosis.cli.main import application\n"
    code += "application()(sys.argv[1:], standalone_mode=False); sys.exit('keras' in sys.modules)"
    for words in (("explain", "lab001"), ("list", "checks"), ("list", "models")):
        assert subprocess.run([sys.executable, "-c", code, *words], capture_output=True, timeout=300).returncode == 0


def test_explain_and_list_agree(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "list", "checks")
    assert code == 0
    for line in out.splitlines():
        code, page, _ = _run(capsys, "explain", line.split()[0])
        assert code == 0
        assert "## What to do" in page
