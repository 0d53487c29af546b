"""The live page as a process of its own, asked by real HTTP requests while a run grows."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.report.conftest import NASTY

from segnosis.core.errors import ArgumentError
from segnosis.core.run_folder import RunFolder
from segnosis.report import live

pytestmark = pytest.mark.one_backend


class Served:
    """`segnosis report RUN --live` in a process of its own."""

    def __init__(self, root: Path) -> None:
        code = "from segnosis.cli.main import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "report", str(root), "--live"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Tests in the background of a shell ignore Ctrl-C, and what they start would too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert self.process.stdout is not None
        self.says = self.process.stdout.readline()  # returns when it listens
        assert "http://" in self.says, self.process.communicate()
        self.port = int(self.says.split()[0].rstrip("/").rsplit(":", 1)[1])

    def ask(self, path: str = "/", *, method: str = "GET", host: str | None = None) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8")
        connection.close()
        return answer.status, text, {name.lower(): value for name, value in answer.getheaders()}


@pytest.fixture
def going(run: RunFolder, tmp_path: Path) -> RunFolder:
    """A run after its second epoch."""
    folder = RunFolder(Path(shutil.copytree(run.root, tmp_path / f"going {NASTY}")))
    for file in (folder.scores, folder.diagnosis, folder.report):
        file.unlink()
    lines = folder.history.read_text(encoding="utf-8").splitlines(keepends=True)
    folder.history.write_text("".join(lines[:2]), encoding="utf-8")
    return folder


@pytest.fixture
def served(going: RunFolder) -> Iterator[Served]:
    served = Served(going.root)
    yield served
    if served.process.poll() is None:
        served.process.kill()
    served.process.communicate()


def test_the_page_grows_with_the_run_and_ends_as_its_report(served: Served, going: RunFolder, run: RunFolder) -> None:
    assert served.says.startswith("http://127.0.0.1:")
    status, text, headers = served.ask()
    assert status == 200 and "Epoch 2 of" in text and "Curves" in text
    assert '<meta http-equiv="refresh" content="5">' in text
    assert "<script" not in text and "&lt;script&gt;" in text
    assert headers["cache-control"] == "no-store" and "default-src 'none'" in headers["content-security-policy"]
    assert '<meta http-equiv="refresh"' not in served.ask("/?still")[1]
    shutil.copy(run.history, going.history)
    assert "Epoch 6 of" in served.ask()[1]
    for name in ("diagnosis", "scores"):
        shutil.copy(getattr(run, name), getattr(going, name))
    status, text, _ = served.ask()
    assert status == 200 and "Objects and boundaries" in text and "refresh" not in text


def test_it_answers_nothing_else_and_nobody_else(served: Served) -> None:
    assert served.ask("/plan.yaml")[0] == 404
    assert served.ask("/../../etc/passwd")[0] == 404
    assert served.ask(method="POST")[0] == 501
    assert served.ask(host="example.org")[0] == 403
    assert served.ask(host=f"localhost:{served.port}")[0] == 200
    status, text, headers = served.ask(method="HEAD")
    assert status == 200 and text == "" and int(headers["content-length"]) > 1000


def test_ctrl_c_ends_it_cleanly(served: Served) -> None:
    assert served.ask()[0] == 200
    served.process.send_signal(signal.SIGINT)
    _, err = served.process.communicate(timeout=60)
    assert served.process.returncode == 0
    assert err == ""


def test_a_run_that_has_not_begun_has_a_page(tmp_path: Path) -> None:
    text = live.render(RunFolder(tmp_path))
    assert "Nothing here yet" in text


def test_a_half_written_run_has_a_page(going: RunFolder) -> None:
    going.history.unlink()
    going.environment.unlink()
    assert "the first epoch is under way" in live.render(going)


def test_a_taken_port_is_one_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ArgumentError, match="free port"):
            live.LiveReport(RunFolder(tmp_path), port=taken.getsockname()[1])


def test_a_history_that_is_broken_is_told_on_the_page(going: RunFolder) -> None:
    going.history.write_text(json.dumps({"epoch": 1})[:-1], encoding="utf-8")
    with live.LiveReport(going) as server, pytest.raises(ValueError, match="line=1"):
        server.page(still=True)
