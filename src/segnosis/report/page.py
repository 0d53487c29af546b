"""The one way to a page: templates with every value escaped, styles inside, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from segnosis.report.finding_pictures import draw

SLIDE = "this.parentNode.style.setProperty('--at', this.value + '%')"
"""The only script of a page: the slider between truth and prediction moves their border."""

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-hashes' 'sha256-"
    + base64.b64encode(hashlib.sha256(SLIDE.encode()).digest()).decode()
    + "'"
)
"""Content security policy: the browser itself refuses the network, and every script but `SLIDE`."""


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"score": _score, "plain": _plain, "share": _share, "ticks": ticks, "drawn": draw}
    environment.filters.update(filters)
    environment.globals.update(slide=SLIDE, policy=POLICY)
    return environment


def render(template: str, **values: Any) -> str:
    """Fill `templates/<template>`; a missing value is an error, not a gap."""
    return _environment().get_template(template).render(**values)


def inline(path: Path) -> str:
    """A PNG file as a `data:` address, to the bit: masks."""
    return _address("png", Path(path).read_bytes())


def inline_photo(path: Path) -> str:
    """A photograph or contact sheet as a `data:` address a fifth the size of its PNG; the eye cannot tell."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(out, "WEBP", quality=82)
    return _address("webp", out.getvalue())


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def ticks(text: object) -> Markup:
    """Text with what stands between back ticks set as code; everything is escaped.

    Example:
        >>> print(ticks("set `a < b`"))
        set <code>a &lt; b</code>
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # escaped just here


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %" if value >= 0.001 or value == 0 else f"{100 * value:.2g} %"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(entry) for entry in value)
    return str(value)
