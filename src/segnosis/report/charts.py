"""Curves as SVG that follows the page's colours, light or dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup

_INK = "#123456"
"""Stands for the page's text colour until the SVG is written."""
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b87f00", "#2b8cc4", "#7f7f7f", "#8f8300")
_DIM, _BRIGHT = 0.14, 0.29
"""Relative luminances between which a line stands out at least 3 : 1 from white paper and from dark (WCAG 1.4.11)."""


def curves(
    title: str,
    series: Mapping[str, Sequence[float | None]],
    *,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    references: Mapping[str, float] | None = None,
    colours: Sequence[str] = _COLOURS,
) -> Markup:
    """An SVG of one or more curves over epochs 1, 2, …; `None` leaves a gap.

    Args:
        title: What is drawn; also the text a screen reader says.
        series: Name → value per epoch.
        log: Logarithmic vertical axis.
        limits: Vertical range.
        references: Name → horizontal reference line.
        colours: `#rrggbb` per curve; they start anew when there are fewer.
    """
    legend = len(series) > 1
    with _drawing(title, height=3.1 if legend else 2.6) as (axes, svg):
        from matplotlib.ticker import MaxNLocator

        for number, (name, values) in enumerate(series.items()):
            points = [float("nan") if value is None else value for value in values]
            axes.plot(
                range(1, len(points) + 1),
                points,
                color=colours[number % len(colours)],
                label=name,
                marker="o" if len(points) < 3 else "",
                lw=2,
                ls=("-", "--", ":")[number // len(colours) % 3],
            )
        for name, value in (references or {}).items():
            axes.axhline(value, color=_INK, lw=0.8, ls="--")
            axes.annotate(name, (0.01, value), xycoords=("axes fraction", "data"), va="bottom", color=_INK, fontsize=9)
        if log:
            axes.set_yscale("log")
        if limits:
            axes.set_ylim(*limits)
        axes.set_xlabel("epoch", color=_INK)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        return svg(", ".join(series), legend=legend)


def reliability(title: str, points: Mapping[str, Sequence[tuple[float, float]]]) -> Markup:
    """An SVG of how often a model is right where it is so and so sure.

    Args:
        title: What is drawn.
        points: Name → (mean confidence, share right) of each bin, from the least sure on.
    """
    with _drawing(title, height=3.6) as (axes, svg):
        axes.plot((0, 1), (0, 1), color=_INK, lw=0.8, ls="--")
        for (name, pairs), colour in zip(points.items(), _COLOURS, strict=False):
            axes.plot(
                *zip(*pairs, strict=True) if pairs else ((), ()), color=colour, label=name, marker="o", ms=5, lw=2
            )
        least = min((confidence for pairs in points.values() for confidence, _ in pairs), default=0.0)
        axes.set_xlim(max(0.0, least - 0.05), 1.0)
        axes.set_ylim(0.0, 1.02)
        axes.set_xlabel("probability the model gives", color=_INK)
        axes.set_ylabel("share it is right", color=_INK)
        said = "; ".join(
            f"{name}: " + ", ".join(f"{confidence:.2f} sure, {right:.2f} right" for confidence, right in pairs)
            for name, pairs in points.items()
        )
        return svg(said, legend=True)


@contextmanager
def _drawing(title: str, height: float) -> Iterator[tuple[Any, Callable[..., Markup]]]:
    """Axes in the house's style to draw on, and what makes an SVG of them; its words are what a screen reader says."""
    import matplotlib

    # A dollar sign in a class name is a dollar sign, not mathematics.
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "font.size": 11,
        "text.parse_math": False,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # It is the browser that draws the letters: whether matplotlib's own font has them, too, does not matter.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.6, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title, color=_INK, loc="left", fontsize=12)
        axes.tick_params(colors=_INK, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_INK)
        axes.grid(alpha=0.25)

        def svg(said: str, *, legend: bool) -> Markup:
            if legend:
                figure.legend(
                    loc="outside lower left", frameon=False, labelcolor=_INK, fontsize=10, ncols=2, handlelength=1.2
                )
            out = io.StringIO()
            figure.savefig(
                out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Title": title}
            )
            drawn = out.getvalue()
            drawn = drawn[drawn.index("<svg") :].replace(_INK, "currentColor")
            drawn = re.sub(
                r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", drawn
            )  # the page's letters
            label = Markup("{}: {}").format(title, said)
            return Markup(drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))  # label escaped

        yield axes, svg


def legible(rgb: Sequence[int]) -> str:
    """`#rrggbb` of the same hue, as dark or bright as a line needs to be on white and on dark paper.

    Args:
        rgb: Red, green, blue, 0 to 255.

    Example:
        >>> legible((0, 158, 115)), legible((240, 228, 66))  # the second is yellow, pale on white
        ('#009e73', '#9b9328')
    """
    values = [int(value) for value in rgb]
    for _ in range(64):
        luminance = sum(w * _linear(value) for w, value in zip((0.2126, 0.7152, 0.0722), values, strict=True))
        if luminance > _BRIGHT:
            values = [int(value * 0.96) for value in values]
        elif luminance < _DIM:
            values = [min(255, round(value + 0.06 * (255 - value))) for value in values]
        else:
            break
    red, green, blue = values
    return f"#{red:02x}{green:02x}{blue:02x}"


def _linear(value: int) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
