"""A run folder as one HTML file, readable without network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segnosis.core.run_folder import RunFolder, read_json, write_text
from segnosis.doctor.diagnosis import Diagnosis
from segnosis.report import charts, page
from segnosis.training.pictures import ERROR_COLOURS, palette
from segnosis.training.plan import Plan

_STRIP = 4
"""Epochs shown in the film strip, first and last among them."""
_LINES = 8
"""Classes in one chart."""


def write(folder: RunFolder) -> Path:
    """Write `report.html` from what the folder holds; nothing is computed anew."""
    fingerprint, scores = read_json(folder.fingerprint), read_json(folder.scores)
    history, plan = list(folder.epochs()), Plan.load(folder.plan)
    html = page.render(
        "run.html",
        name=folder.root.resolve().name,
        plan=plan,
        plan_lines=plan.lines(),
        command={"plan": shlex.quote(str(folder.plan)), "run": shlex.quote(str(folder.root))},
        fingerprint=fingerprint,
        scores=scores,
        diagnosis=Diagnosis.from_json(read_json(folder.diagnosis)),
        history=history,
        charts=_charts(history),
        confusion=confusion_rows(scores),
        ranked=sorted(scores["samples"], key=worst_first),
        colours=[_css(colour) for colour in palette(len(fingerprint["classes"])).tolist()],
        error_key=[(meaning, _css(colour)) for meaning, colour in ERROR_COLOURS.items()],
        samples=[
            {
                **shown,
                "pictures": {what: _inline(what, folder.pictures / name) for what, name in shown["files"].items()},
            }
            for shown in scores["shown"]
        ],
        strip=[(epoch, page.inline_photo(picture)) for epoch, picture in _strip(folder)],
        seconds={
            "total": sum(line["seconds"] for line in history),
            "data": sum(line["data_seconds"] for line in history),
        },
        classes=fingerprint["classes"],
        facts=_facts(fingerprint),
        environment=read_json(folder.environment),
    )
    return write_text(folder.report, html)


def _inline(what: str, picture: Path) -> str:
    return page.inline_photo(picture) if what == "image" else page.inline(picture)


def _strip(folder: RunFolder) -> list[tuple[int, Path]]:
    files = sorted(folder.pictures.glob("epoch-*.png"))
    count = min(_STRIP, len(files))
    chosen = sorted({round(i * (len(files) - 1) / max(count - 1, 1)) for i in range(count)})
    return [(int(files[i].stem.removeprefix("epoch-")), files[i]) for i in chosen]


def _css(colour: Sequence[int]) -> str:
    red, green, blue = colour
    return f"rgb({red}, {green}, {blue})"


def worst_first(row: Mapping[str, Any]) -> tuple[bool, float, str]:
    """Key that sorts samples by foreground Dice; those without foreground come last."""
    score = row["foreground_dice"]
    return score is None, score or 0.0, row["id"]


def confusion_rows(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each true class with the share of its pixels given to every class; `None` where it has no pixel."""
    return [
        {"name": name, "shares": [count / sum(row) if sum(row) else None for count in row]}
        for name, row in zip(scores["per_class"], scores["confusion"], strict=True)
    ]


def _charts(history: list[dict[str, Any]]) -> list[Any]:
    if not history:
        return []

    def column(name: str) -> list[float | None]:
        return [line[name] for line in history]

    losses = {"data term (train)": column("data_loss"), "data term (validation)": column("val_loss")}
    for term in history[0]["regularization"]:
        losses[f"regularization: {term}"] = [line["regularization"][term] for line in history]
    names = list(history[0]["dice"])
    # The worst at the end are those a reader looks for; more than eight lines nobody can tell apart.
    worst = sorted(names[1:], key=lambda name: history[-1]["dice"][name] or 0.0)[:_LINES]
    shown = [name for name in names if name in worst]
    colours = [charts.legible(colour) for name, colour in zip(names, palette(len(names)), strict=True) if name in worst]
    which = f", the {_LINES} worst classes" if len(names) - 1 > _LINES else ""
    return [
        charts.curves("Loss", losses),
        *(
            charts.curves(
                f"Validation {score}{which}",
                {name: [line[score.lower()][name] for line in history] for name in shown},
                limits=(0.0, 1.0),
                colours=colours,
            )
            for score in ("Dice", "IoU")
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
