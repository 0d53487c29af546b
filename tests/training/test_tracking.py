"""Tracking: what other programs read is what `history.jsonl` says, and a tracker that fails stops nothing."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segnosis.core import discovery
from segnosis.core.errors import ArgumentError, MissingPackageError, StoppedError
from segnosis.core.run_folder import RunFolder, write_bytes, write_json, write_text
from segnosis.training import pictures
from segnosis.training.listener import Listener
from segnosis.training.plan import Plan
from segnosis.training.tracking.base import numbers
from segnosis.training.tracking.tracked import Tracked, tracked

pytestmark = pytest.mark.one_backend
LINES = [
    {"epoch": e, "loss": 1 / e, "best": True, "iou": {"cell | wall": 0.1 * e, "none": None}, "learning_rate": 1e-3 * e}
    for e in (1, 2, 3)
]
SCORES = {"mean_iou": 0.75, "foreground_dice": 0.5, "per_class": {"cell | wall": {"iou": 0.25, "pixels": 7}}}


class Ears(Listener):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    Plan(data="a|b", epochs=3).with_({"epochs": "three are enough"}).save(made.plan)
    return made


def train(folder: RunFolder, names: list[str], lines: list[dict[str, Any]], *, end: str = "", **how: Any) -> list[str]:
    """What a run does to its listener, without a run."""
    ears = Ears()
    with tracked(ears, folder, names, **how) as heard:
        heard.planned(Plan.load(folder.plan))
        for line in lines:
            write_bytes(
                folder.pictures / f"epoch-{line['epoch']:04d}.png", pictures.png(pictures.paint(np.array([[0, 1]]), 2))
            )
            heard.epoch(line, 3)
        if end:
            raise StoppedError("It was stopped.", cure="Go on.")
        write_json(folder.scores, SCORES)
        write_text(folder.report, "<html></html>")
    return ears.said


def events(folder: RunFolder) -> list[Any]:
    """Every event in the files, oldest first: framing and checksums by the format's description, messages by
    TensorFlow's own definition of them."""
    from tensorflow.core.util import event_pb2

    found = []
    for file in sorted((folder.root / "tensorboard").glob("events.out.tfevents.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            record = data[at + 12 : at + 12 + length]
            sums = [struct.unpack_from("<I", data, place)[0] for place in (at + 8, at + 12 + length)]
            assert sums == [masked_sum(data[at : at + 8]), masked_sum(record)]
            found.append(event_pb2.Event.FromString(record))
            at += 16 + length
        assert at == len(data)
    return found


def masked_sum(data: bytes) -> int:
    """Castagnoli's checksum bit by bit, masked as TFRecords have it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_event_files_are_read_by_tensorflow(folder: RunFolder) -> None:
    assert train(folder, ["tensorboard"], LINES) == []
    seen = events(folder)
    assert seen[0].file_version == "brain.Event:2"
    scalars = {(e.step, v.tag): v.simple_value for e in seen for v in e.summary.value if v.HasField("simple_value")}
    wanted = {(line["epoch"], tag): value for line in LINES for tag, value in numbers(line).items() if tag != "epoch"}
    wanted |= {(3, "test/mean_iou"): 0.75, (3, "test/foreground_dice"): 0.5}
    wanted |= {(3, "test/per_class/cell | wall/iou"): 0.25, (3, "test/per_class/cell | wall/pixels"): 7.0}
    assert scalars == pytest.approx(wanted)
    images = [(e.step, v.image) for e in seen for v in e.summary.value if v.HasField("image")]
    assert [(step, image.width, image.height) for step, image in images] == [(1, 2, 1), (2, 2, 1), (3, 2, 1)]
    assert images[0][1].encoded_image_string == (folder.pictures / "epoch-0001.png").read_bytes()
    text = next(v for e in seen for v in e.summary.value if v.tag == "plan")
    assert text.metadata.plugin_data.plugin_name == "text"
    assert "| epochs | 3 | three are enough |" in text.tensor.string_val[0].decode()
    assert "a\\|b" in text.tensor.string_val[0].decode()
    assert all(abs(e.wall_time - time.time()) < 600 for e in seen)


def test_tensorboard_itself_reads_them_and_drops_what_a_resumed_run_does_again(folder: RunFolder) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(StoppedError):
        train(folder, ["tensorboard"], LINES, end="stopped")
    train(folder, ["tensorboard"], [{**LINES[2], "loss": 9.0}], resume=True)
    read = EventAccumulator(str(folder.root / "tensorboard")).Reload()
    assert [(e.step, round(e.value, 4)) for e in read.Scalars("loss")] == [(1, 1.0), (2, 0.5), (3, 9.0)]
    assert [e.step for e in read.Images("validation")] == [1, 2, 3]
    assert read.Tags()["tensors"] == ["plan"]


def test_a_resumed_run_says_from_where_earlier_files_are_void(folder: RunFolder) -> None:
    with pytest.raises(StoppedError):
        train(folder, ["tensorboard"], LINES, end="stopped")
    train(folder, ["tensorboard"], LINES[2:], resume=True)
    starts = [event.step for event in events(folder) if event.HasField("session_log")]
    assert starts == [3]
    assert len(list((folder.root / "tensorboard").iterdir())) == 2


class Broken:
    """A place of records that takes two and then fails for ever."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def called(*arguments: Any) -> None:
            self.calls.append(name)
            if len(self.calls) > 2:
                raise ConnectionError("nobody\nanswers")

        return called


def test_a_tracker_that_fails_is_told_once_and_counted(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken()
    unit = SimpleNamespace(open=lambda folder, resume: broken)
    monkeypatch.setattr(discovery, "load", lambda package, name, **how: unit)
    said = train(folder, ["board"], LINES)
    assert broken.calls == ["begin", "epoch", "epoch", "epoch", "finish", "close"]
    assert sum("ConnectionError: nobody answers" in text for text in said) == 1
    assert "4 of 6 records of `--track board` were lost" in said[-1]


def test_a_tracker_that_hangs_does_not_hold_the_run(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from segnosis.training.tracking import tracked as module

    answers = threading.Event()
    slow = SimpleNamespace(begin=lambda plan: answers.wait(120), close=lambda end: None)
    monkeypatch.setattr(
        discovery, "load", lambda package, name, **how: SimpleNamespace(open=lambda folder, resume: slow)
    )
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    said = train(folder, ["board"], LINES)
    answers.set()
    assert said == ["6 of 6 records of `--track board` were lost"]


def test_every_word_to_a_listener_is_passed_on() -> None:
    words = {name for name, value in vars(Listener).items() if inspect.isfunction(value)}
    assert words <= set(vars(Tracked)), "a new method of Listener must be passed on by Tracked as well"


def test_unknown_and_uninstalled_trackers_are_told_before_training(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArgumentError, match="Did you mean `tensorboard`"):
        train(folder, ["tensorbord"], LINES)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "mlflow" else find(name, *rest)
    )
    with pytest.raises(MissingPackageError, match=r"segnosis\[mlflow\]"):
        train(folder, ["mlflow"], LINES)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real MLflow server on this machine."""
    pytest.importorskip("mlflow", reason="MLflow is not installed; `pip install mlflow` brings its server")
    import urllib.request

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        str(tmp_path / "art"),
    ]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    log = (tmp_path / "server.log").open("wb")
    process = subprocess.Popen(
        words, stdout=log, stderr=log, cwd=tmp_path, env={**os.environ, "PATH": path}, start_new_session=True
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "server.log").read_text()
                time.sleep(0.3)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield uri, process
    finally:
        stop(process)
        log.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """The server and the workers it has begun."""
    import signal

    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.filterwarnings("ignore")  # of MLflow and what it imports
def test_mlflow_has_plan_epochs_and_report(server: tuple[str, subprocess.Popen[bytes]], folder: RunFolder) -> None:
    from mlflow import MlflowClient

    with pytest.raises(StoppedError):
        train(folder, ["mlflow"], LINES[:2], end="stopped")
    client, run = MlflowClient(server[0]), json.loads((folder.root / "mlflow.json").read_text())["run_id"]
    assert client.get_run(run).info.status == "KILLED"
    assert train(folder, ["mlflow"], LINES[2:], resume=True) == []
    found = client.get_run(run)
    assert found.info.status == "FINISHED"
    assert (found.data.params["epochs"], found.data.params["data"]) == ("3", "a|b")
    assert [(m.step, m.value) for m in client.get_metric_history(run, "loss")] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert found.data.metrics["iou/cell _ wall"] == pytest.approx(0.3)
    assert found.data.metrics["test/foreground_dice"] == 0.5
    assert {a.path for a in client.list_artifacts(run)} == {"report.html", "plan.yaml", "scores.json"}

    stop(server[1])  # a server that dies does not kill training
    said = train(RunFolder(folder.root), ["mlflow"], LINES, resume=True)
    assert "training goes on without it" in said[0]
    assert "5 of 6 records of `--track mlflow` were lost" in said[-1]  # to close what never was is no loss
