"""The whole main job on hearts made on the spot."""

from __future__ import annotations

import shutil
from pathlib import Path

from segnosis.core.errors import RunError
from segnosis.core.run_folder import is_vacant
from segnosis.data import phantom
from segnosis.jobs.decide import only_one_limit
from segnosis.jobs.run import Run
from segnosis.jobs.train import train
from segnosis.training.listener import Listener

_MARK = ".made-by-segnosis-demo"


def demo(out: str | Path, *, epochs: int = 15, listener: Listener | None = None) -> Run:
    """Make 24 subjects beside the run, then train, score, diagnose and report.

    Args:
        out: Run folder; an earlier demo there is replaced, anything else is left alone and is an error.
        epochs: Epochs of 20 steps; a fixed number, so that everyone gets the same score.
        listener: Who is told of the progress.
    """
    only_one_limit(None, epochs)
    out, listener = Path(out), listener or Listener()
    if not is_vacant(out):
        if not (out / _MARK).exists():
            raise RunError(
                "The demo replaces an older demo only.",
                received={"out": str(out)},
                cure="Choose another folder with `--out`, or empty that one.",
            )
        shutil.rmtree(out)
    data = out.parent / f"{out.name}-data"
    phantom.write(data, progress=lambda done, total: listener.step("making hearts", done, total))
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).touch()
    return train(data, out=out, epochs=epochs, listener=listener)
