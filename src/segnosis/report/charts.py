"""Curves as SVG that follows the page's colours, light or dark."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from markupsafe import Markup

_INK = "#123456"
"""Stands for the page's text colour until the SVG is written."""
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b8a900")


def curves(
    title: str,
    series: Mapping[str, Sequence[float | None]],
    *,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    references: Mapping[str, float] | None = None,
) -> Markup:
    """An SVG of one or more curves over epochs 1, 2, …; `None` leaves a gap.

    Args:
        title: What is drawn; also the text a screen reader says.
        series: Name → value per epoch.
        log: Logarithmic vertical axis.
        limits: Vertical range.
        references: Name → horizontal reference line.
    """
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 10}):
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(5.4, 3.0), layout="constrained")
        axes = figure.add_subplot()
        for (name, values), colour in zip(series.items(), _COLOURS * (1 + len(series) // len(_COLOURS)), strict=False):
            points = [float("nan") if value is None else value for value in values]
            axes.plot(
                range(1, len(points) + 1),
                points,
                color=colour,
                label=name,
                marker="o" if len(points) < 3 else "",
                lw=1.8,
            )
        for name, value in (references or {}).items():
            axes.axhline(value, color=_INK, lw=0.8, ls="--")
            axes.annotate(name, (0.01, value), xycoords=("axes fraction", "data"), va="bottom", color=_INK, fontsize=8)
        if log:
            axes.set_yscale("log")
        if limits:
            axes.set_ylim(*limits)
        axes.set_title(title, color=_INK, loc="left")
        axes.set_xlabel("epoch", color=_INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(colors=_INK, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_INK)
        axes.grid(alpha=0.25)
        if len(series) > 1:
            axes.legend(frameon=False, labelcolor=_INK, fontsize=8, ncols=2 if len(series) > 4 else 1)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Title": title})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    names = ", ".join(series)
    label = Markup("{}: {}").format(title, names)
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))  # drawn by us, label escaped
