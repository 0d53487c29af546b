"""A finished run with names of the worst kind, made by the real pieces but without training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segnosis as sg
from segnosis.core.run_folder import RunFolder, write_bytes, write_json, write_text
from segnosis.data.fingerprint import FingerprintScan
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.doctor.verdict import Crashed, Finding, Healthy, NotApplicable
from segnosis.report import run_report
from segnosis.training import features, pictures, showcase
from segnosis.training.evaluate import evaluate
from segnosis.training.measures import doubts
from segnosis.training.plan import Plan

NASTY = "<script>alert('1')<script> \"q\" & <img src=x onerror=alert(2)> ü 🫀"
CLASSES = ("background", "<b>cell</b> $x_1$")


@dataclass
class _Blind:
    """Predicts a square, whatever it is shown."""

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        out = np.full((*image.shape[:2], 2), 0.05, np.float32)
        out[..., 0] = 0.95
        out[8:24, 8:24] = 0.05, 0.95
        return out

    def mask(self, image: np.ndarray) -> np.ndarray:
        return self.probabilities(image).argmax(axis=-1)


def _network() -> Any:
    """Two stages, one of whose maps are all the same."""
    from keras import Model, layers

    image = layers.Input((32, 32, 3))
    x = layers.Activation("relu", name="encoder1_activation1")(layers.Conv2D(4, 3, padding="same")(image))
    x = layers.MaxPooling2D()(x)
    x = layers.Activation("relu", name="encoder2_activation1")(layers.Conv2D(4, 1, kernel_initializer="zeros")(x))
    return Model(image, layers.Conv2D(2, 1)(x))


def sick() -> Diagnosis:
    """A diagnosis with every kind of verdict, and files of nasty names."""
    return Diagnosis(
        (
            Finding(
                f"Mask 1 holds the value 7 in 12 % of its pixels, and `{NASTY}` is a name.",
                {"values": [0, 1, 7], "share": 0.1234567, "per_class": {CLASSES[1]: 3}},
                "Pass `ignore_class=7`, or map 7 to a class.",
                where=tuple(f"masks/{number} {NASTY}.png" for number in range(9)),
                code="LAB001",
                name="label-out-of-range",
                explains=("MET001",),
            ),
            Finding(
                "The score is 0.9.",
                {"accuracy": 0.9},
                "Use MeanIoU.",
                severity="warning",
                code="MET001",
                name="metric-misleading",
            ),
            Finding(
                "The data is small: 3 samples.",
                {},
                "More.",
                level="suspected",
                severity="warning",
                code="DAT009",
                name="few-samples",
            ),
            Finding("Class 1 covers 3 %.", {}, "Nothing.", severity="note", code="DAT008", name="small-class"),
            Healthy({"images": 3}, code="DAT004", name="broken-images"),
            NotApplicable("no `model` was given", code="HED001", name="activation-missing"),
            Crashed("ValueError: <b>no</b>", "Traceback …", code="HED002", name="activation-applied-twice"),
        ),
        {"script": f"{NASTY}.py", "fit_line": 12, "num_samples": 3},
        1.25,
    )


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    root = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    for number in range(8):
        mask = np.zeros((40, 48), np.uint8)
        mask[10 : 20 + number, 10:26] = 1
        image = (60 + 90 * mask[..., None] + rng.normal(0, 12, (40, 48, 3))).clip(0, 255).astype(np.uint8)
        for kind, picture in (("images", image), ("masks", mask)):
            (root / "data" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / "data" / kind / f"{number} {NASTY}.png")
    dataset = sg.data.open(root / "data", class_names=CLASSES)
    scan = FingerprintScan(dataset)
    for pair in dataset.pairs():
        scan.add(pair)
    folder = RunFolder(root / f"run {NASTY}")
    Plan(data=str(root / "data"), size=(32, 32), reasons={"model": "the `simplest`"}).save(folder.plan)
    write_json(folder.fingerprint, scan.result().to_json())
    write_json(folder.environment, {"python": "3", "packages": {"keras": "3"}})
    write_json(folder.diagnosis, sick().to_json())
    names = dataset.spec.class_names
    lines = [
        {
            "epoch": epoch, "data_loss": 1 / epoch, "val_loss": 1.1 / epoch, "regularization": {"weights": 0.1},
            "dice": dict(zip(names, (0.9, epoch / 10), strict=True)), "iou": dict(zip(names, (0.8, None), strict=True)),
            "learning_rate": 1e-3, "gradient_norm": 2.0, "seconds": 3.0, "data_seconds": 0.2,
            "training_seconds": 2.5, "foreground_dice": epoch / 10, "foreground_iou": None, "best": True,
        }
        for epoch in range(1, 7)
    ]  # fmt: skip
    write_text(folder.history, "".join(json.dumps(line) + "\n" for line in lines))
    for epoch in range(1, 7):
        sheet = pictures.sheet([[rng.integers(0, 255, (40, 48, 3), np.uint8)] * 4] * 4)
        write_bytes(folder.pictures / f"epoch-{epoch:04d}.png", pictures.png(sheet))
    scores = evaluate(_Blind(), dataset)  # type: ignore[arg-type]
    scores |= {"best_epoch": 6, "stopped": "", "seconds": 20.0, "split": {}}
    scores["shown"] = showcase.save(folder, _Blind(), dataset, scores["samples"])  # type: ignore[arg-type]
    scores["sheet"] = showcase.sheet(folder, dataset)
    scores["doubts"] = doubts.merged({"held-out": scores["doubts"]})
    showcase.review(folder, _Blind(), {"held-out": dataset}, scores["doubts"])  # type: ignore[arg-type]
    scores["features"] = features.save(folder, _network(), dataset, scores["samples"], Plan.load(folder.plan))
    write_json(folder.scores, scores)
    run_report.write(folder)
    return folder


@pytest.fixture(scope="session")
def why(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sick().save(tmp_path_factory.mktemp("why") / "why.html")
