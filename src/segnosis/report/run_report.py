"""A run folder as one HTML file, readable without network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segnosis.core.run_folder import RunFolder, read_json, write_text
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.report import charts, page
from segnosis.training.pictures import palette
from segnosis.training.plan import Plan

_STRIP = 4
"""Epochs shown in the film strip, first and last among them."""


def write(folder: RunFolder) -> Path:
    """Write `report.html` from what the folder holds; nothing is computed anew."""
    fingerprint, scores = read_json(folder.fingerprint), read_json(folder.scores)
    history = list(folder.epochs())
    html = page.render(
        "run.html",
        name=folder.root.resolve().name,
        plan=Plan.load(folder.plan),
        plan_lines=Plan.load(folder.plan).lines(),
        plan_file=folder.plan,
        fingerprint=fingerprint,
        scores=scores,
        diagnosis=Diagnosis.from_json(read_json(folder.diagnosis)),
        history=history,
        charts=_charts(history),
        colours=[f"rgb({r},{g},{b})" for r, g, b in palette(len(fingerprint["classes"])).tolist()],
        samples=[
            {**shown, "pictures": {what: page.inline(folder.pictures / file) for what, file in shown["files"].items()}}
            for shown in scores["shown"]
        ],
        strip=[(epoch, page.inline(picture)) for epoch, picture in _strip(folder)],
        seconds={
            "total": sum(line["seconds"] for line in history),
            "data": sum(line["data_seconds"] for line in history),
        },
        classes=fingerprint["classes"],
        facts=_facts(fingerprint),
        environment=read_json(folder.environment),
    )
    return write_text(folder.report, html)


def _strip(folder: RunFolder) -> list[tuple[int, Path]]:
    files = sorted(folder.pictures.glob("epoch-*.png"))
    count = min(_STRIP, len(files))
    chosen = sorted({round(i * (len(files) - 1) / max(count - 1, 1)) for i in range(count)})
    return [(int(files[i].stem.removeprefix("epoch-")), files[i]) for i in chosen]


def _charts(history: list[dict[str, Any]]) -> list[Any]:
    if not history:
        return []

    def column(name: str) -> list[float | None]:
        return [line[name] for line in history]

    losses = {"data term (train)": column("data_loss"), "data term (validation)": column("val_loss")}
    for term in history[0]["regularization"]:
        losses[f"regularization: {term}"] = [line["regularization"][term] for line in history]
    names = list(history[0]["dice"])[1:]
    return [
        charts.curves("Loss", losses),
        charts.curves(
            "Validation Dice",
            {name: [line["dice"][name] for line in history] for name in names[:8]},
            limits=(0.0, 1.0),
        ),
        charts.curves(
            "Validation IoU", {name: [line["iou"][name] for line in history] for name in names[:8]}, limits=(0.0, 1.0)
        ),
        charts.curves("Learning rate", {"learning rate": column("learning_rate")}),
        charts.curves("Gradient norm", {"gradient norm": column("gradient_norm")}),
    ]


def _facts(fingerprint: dict[str, Any]) -> list[tuple[str, Any]]:
    """What the data measures, in words."""
    height, width = fingerprint["height"], fingerprint["width"]
    spec = fingerprint["spec"]
    facts: list[tuple[str, Any]] = [
        ("Samples", fingerprint["samples"]),
        (f"Groups ({spec['group_by'] or 'every sample its own'})", fingerprint["groups"]),
        ("Height, pixels", f"{height[0]} to {height[2]}, median {height[1]}"),
        ("Width, pixels", f"{width[0]} to {width[2]}, median {width[1]}"),
        ("Channels", f"{spec['channels']}, {spec['dtype']}"),
        ("Intensity", "; ".join(f"mean {c['mean']:.4g} ± {c['std']:.4g}" for c in fingerprint["channels"])),
        ("Masks without foreground", f"{fingerprint['empty_share']:.1%}"),
        ("Ignored mask pixels", f"{fingerprint['ignored_share']:.1%}"),
    ]
    if fingerprint["spacing"]:
        low, middle, high = fingerprint["spacing"]
        facts.append(("Pixel size, mm", f"{low:.3g} to {high:.3g}, median {middle:.3g}"))
    if fingerprint["unreadable"]:
        facts.append(("Unreadable", ", ".join(fingerprint["unreadable"][:10])))
    return facts
