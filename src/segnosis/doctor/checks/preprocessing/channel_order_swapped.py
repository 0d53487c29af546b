"""Images are read as blue-green-red, and pretrained weights expect red-green-blue.

## What it looks for
`cv2.imread` in the script without a change of the channel order anywhere (`COLOR_BGR2RGB`, `[..., ::-1]`,
`IMREAD_COLOR_RGB`) where pretrained weights are used. Pixels alone cannot prove it: it stays a suspicion.

## Why the model does not learn
It does, a little worse: filters for red see blue. It is much worse when training and prediction read in different
orders.

## What to do
`image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)` after every `cv2.imread`, in training and in prediction.
"""

from __future__ import annotations

import re

from segnosis.doctor.case import Case, Script
from segnosis.doctor.verdict import Finding, Healthy, NotApplicable, Verdict

CODE, SEVERITY = "PRE004", "warning"

_READS = re.compile(r"\bimread\s*\(")
_FROM_CV2 = re.compile(r"cv2\s*\.\s*imread|from\s+cv2\s+import[^\n]*\bimread")
_GREY = re.compile(r"IMREAD_GRAYSCALE|imread\s*\([^)]*,\s*0\s*\)")
_TURNS = re.compile(r"BGR2RGB|IMREAD_COLOR_RGB|::\s*-1\s*\]|BGR2GRAY|\[\s*2\s*,\s*1\s*,\s*0\s*\]|cv2\.split")
_PRETRAINED = re.compile(r"""weights\s*=\s*(["'](?!None)[^"']+["'])""")


def check(script: Script, *, min_reads: int = 1, backbone_weights: str | None = None) -> Verdict:
    source = script.source
    if not source:
        return NotApplicable("the script's text is not known")
    reads = len(_READS.findall(source)) if _FROM_CV2.search(source) else 0
    grey = len(_GREY.findall(source))
    pretrained = backbone_weights or (found.group(1) if (found := _PRETRAINED.search(source)) else None)
    measured = {
        "cv2_reads": reads,
        "of_them_grey": grey,
        "channel_order_changed": bool(_TURNS.search(source)),
        "pretrained_weights": pretrained,
    }
    if reads - grey < min_reads or pretrained is None or _TURNS.search(source):
        return Healthy(measured)
    line = next(i for i, text in enumerate(source.splitlines(), start=1) if "imread" in text and not _GREY.search(text))
    return Finding(
        says=f"`cv2.imread` (line {line}) gives blue-green-red, nothing turns the order, and the weights "
        f"{pretrained} expect "
        "red-green-blue.",
        measured=measured,
        fix="`image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)` after `cv2.imread`, in training and in prediction.",
        where=(f"{script.path}:{line}",),
        level="suspected",
        severity="warning",
    )


def _case(read: str) -> Case:
    source = f'import cv2\nmodel = keras.applications.ResNet50(weights="imagenet")\nimage = {read}\n'
    return Case(script=Script("train.py", fit_line=9, source=source))


def sick() -> Case:
    return _case("cv2.imread(path)")


def healthy() -> Case:
    return _case("cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)")
