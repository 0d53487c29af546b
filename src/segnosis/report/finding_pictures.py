"""Drawing what a finding shows: bars, a bar cut into parts, thumbnails; from plain numbers, in the page's colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b87f00", "#7f7f7f")
_WIDTH, _LABEL, _ROW = 460, 90, 20


def draw(picture: Mapping[str, Any]) -> Markup:
    """A `<figure>` of one picture of a finding; nothing for a kind that this version does not know.

    Example:
        >>> "80 %" in draw({"kind": "bars", "title": "Values", "groups": {"after": {"0": 0.8, "255": 0.2}}})
        True
    """
    kinds = {"bars": _bars, "parts": _parts, "tiles": _tiles}
    drawn = kinds.get(str(picture.get("kind")))
    if drawn is None:
        return Markup()
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(drawn(picture), picture["title"])


def _bars(picture: Mapping[str, Any]) -> Markup:
    rows, top = [], 0
    for number, (name, shares) in enumerate(picture["groups"].items()):
        rows.append(_text(0, top + 14, name, "bold"))
        top += _ROW
        for value, share in shares.items():
            rows.append(_text(_LABEL - 8, top + 14, value, anchor="end"))
            rows.append(_block(_LABEL, top + 3, max(1.0, share * (_WIDTH - _LABEL - 70)), number))
            rows.append(_text(_LABEL + 6 + share * (_WIDTH - _LABEL - 70), top + 14, _percent(share)))
            top += _ROW
    return _svg(rows, top, picture["title"])


def _parts(picture: Mapping[str, Any]) -> Markup:
    sizes = {name: abs(value) for name, value in picture["parts"].items()}
    total = sum(sizes.values()) or 1.0
    rows, left, top = [], 0.0, 2 * _ROW
    for number, (name, value) in enumerate(picture["parts"].items()):
        width = sizes[name] / total * _WIDTH
        rows.append(_block(left, 3, max(1.0, width), number))
        rows.append(_block(0, top - 11, 14, number))
        rows.append(_text(20, top, f"{name}: {value:.3g} ({_percent(sizes[name] / total)})"))
        left, top = left + width, top + _ROW
    return _svg(rows, top - _ROW + 6, picture["title"])


def _tiles(picture: Mapping[str, Any]) -> Markup:
    rows = []
    for row in picture["rows"]:
        cells = [
            Markup('<div><img src="data:image/png;base64,{}" alt="{}"><br><small>{}</small></div>').format(
                png, caption, caption
            )
            for caption, png in row.items()
        ]
        rows.append(Markup('<div style="display:flex;gap:8px;margin:4px 0">{}</div>').format(Markup("").join(cells)))
    return Markup("").join(rows)


def _svg(rows: list[Markup], height: float, title: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" width="{}" role="img" aria-label="{}" font-size="12">{}</svg>').format(
        _WIDTH, round(height), _WIDTH, title, Markup("").join(rows)
    )


def _block(left: float, top: float, width: float, number: int) -> Markup:
    return Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="14" fill="{}"/>').format(
        left, top, width, _COLOURS[number % len(_COLOURS)]
    )


def _text(left: float, top: float, text: object, weight: str = "normal", anchor: str = "start") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" fill="currentColor" font-weight="{}" text-anchor="{}">{}</text>').format(
        left, top, weight, anchor, escape(text)
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else f"{100 * share:.2g} %"
