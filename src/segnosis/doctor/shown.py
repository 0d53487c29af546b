"""What a finding lets a person see: small numbers and thumbnails that the report draws, and JSON can hold."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segnosis.doctor.stored import decode
from segnosis.training import pictures

if TYPE_CHECKING:
    from segnosis.doctor.evidence.label_census import LabelCensus
    from segnosis.doctor.evidence.target_census import TargetCensus

_SIDE, _BARS = 96, 12

Picture = dict[str, object]


def bars(title: str, groups: Mapping[str, Mapping[float, int]]) -> Picture:
    """Histograms under each other, the commonest values of each, as shares.

    Args:
        title: What is counted.
        groups: Name → value → count.

    Example:
        >>> bars("Values of the masks", {"after": {255.0: 1, 0.0: 3}})["groups"]
        {'after': {'0': 0.75, '255': 0.25}}
    """
    shares: dict[str, dict[str, float]] = {}
    for name, counts in groups.items():
        total = sum(counts.values())
        commonest = sorted(counts, key=lambda value: -counts[value])[:_BARS]
        shares[name] = {f"{value:.4g}": round(counts[value] / total, 6) for value in sorted(commonest)}
    return {"kind": "bars", "title": title, "groups": {name: found for name, found in shares.items() if found}}


def mask_values(stored: LabelCensus | None, targets: TargetCensus | None) -> tuple[Picture, ...]:
    """The values of the masks, as stored and behind the pipeline, as far as both are known."""
    known = {"as stored": stored, "behind your pipeline": targets.census if targets is not None else None}
    groups = {
        name: {value: count.pixels for value, count in census.values.items()}
        for name, census in known.items()
        if census is not None and census.values
    }
    return (bars("Values of the masks, as shares of their pixels", groups),) if groups else ()


def parts(title: str, values: Mapping[str, float]) -> Picture:
    """One bar, cut into parts."""
    return {"kind": "parts", "title": title, "parts": {name: round(float(value), 6) for name, value in values.items()}}


def tiles(title: str, rows: Sequence[Mapping[str, np.ndarray]]) -> Picture:
    """Thumbnails side by side, as PNG in base 64.

    Args:
        title: What a person should see in them.
        rows: Per row, caption → picture: an image, or a mask of whole numbers.
    """
    drawn = [{caption: _thumbnail(picture) for caption, picture in row.items()} for row in rows]
    return {"kind": "tiles", "title": title, "rows": drawn}


def files_side_by_side(title: str, rows: Sequence[Mapping[str, str]]) -> tuple[Picture, ...]:
    """Thumbnails of files, by caption; rows of which a file cannot be shown are left out."""
    shown = []
    for row in rows:
        found = {caption: decode(Path(file))[0] for caption, file in row.items() if Path(file).is_file()}
        drawable = {caption: array for caption, array in found.items() if array is not None and array.ndim in (2, 3)}
        if len(drawable) == len(row):
            shown.append(drawable)
    return (tiles(title, shown),) if shown else ()


def _thumbnail(picture: np.ndarray) -> str:
    array = np.squeeze(np.asarray(picture))
    is_mask = array.ndim == 2 and array.dtype.kind in "uib" and len(np.unique(array)) <= 32
    if is_mask:
        ids = np.searchsorted(np.unique(array), array)
        shown = pictures.paint(ids, int(ids.max()) + 1)
    else:
        shown = pictures.grey_or_colour(array)
    return base64.b64encode(pictures.png(pictures.fitted(shown, _SIDE))).decode("ascii")
