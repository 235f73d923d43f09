"""How figures look, and how they become SVG that can stand in a page."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from prosopon.errors import OptionError

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8a8a", "#222222")
"""Okabe and Ito's colours, which differ for colour-blind readers too."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DIVERGING = "PuOr"
"""Colour map of what lies on both sides of a middle; its ends differ for everybody."""

SEQUENTIAL = "cividis"
FONT = 9
GREY = "#8a8a8a"
NONE = "\N{EN DASH}"
"""Stands where there is no number."""

STYLE = {
    "svg.hashsalt": "prosopon",
    "svg.fonttype": "path",  # the same everywhere, whatever fonts a reader has
    "font.size": FONT,
    "axes.titlesize": FONT + 1,
    "axes.labelsize": FONT,
    "legend.frameon": False,
    "legend.fontsize": FONT - 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def check_drawing(remedy: str = "install prosopon[plots]") -> None:
    """Raise :class:`OptionError` where matplotlib is missing.

    Args:
        remedy: What to do then.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OptionError(f"the figures need matplotlib: {remedy}") from None


def figure(width: float, height: float, **grid: Any) -> tuple[Any, Any]:
    """Return a figure of some inches and its axes; ``grid`` goes to ``Figure.subplots``.

    No global state of matplotlib is touched: a library must not choose a backend.

    Raises:
        OptionError: matplotlib is missing.
    """
    check_drawing()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        return drawn, drawn.subplots(**grid)


def svg(drawn: Any, title: str, *, background: str = "white") -> str:
    """Return a figure as an SVG element, the same on every run.

    It has no XML head, so that it can stand in a page, and its ids are unlikely to be those of
    another figure there.

    Args:
        drawn: A matplotlib figure.
        title: Read out by screen readers.
        background: A colour, or ``"none"`` for the page's.
    """
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        drawn.savefig(text, format="svg", metadata={"Date": None}, facecolor=background)
    whole = text.getvalue()
    mark = f"a{zlib.crc32(whole.encode()):x}"
    body = whole[whole.index("<svg") :]
    body = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{mark}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", body)
    head, _, rest = body.partition(">")
    return f'{head} role="img" aria-label="{escape(title)}">{rest}'


def heat_map(
    axes: Any,
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    colours: str = SEQUENTIAL,
    low: float,
    high: float,
    words: str = "{:.2f}",
    marks: Sequence[Sequence[str]] | None = None,
    bar: str = "",
) -> None:
    """Draw a matrix with its numbers; an empty cell is white with a dash.

    Args:
        axes: Where.
        values: [rows, columns].
        rows: Labels.
        columns: Labels.
        colours: Name of a colour map.
        low: Value of its lower end; what lies below looks like it.
        high: Of its upper end.
        words: Format of a number.
        marks: Put behind the numbers, [rows, columns].
        bar: Label of the colour bar; empty for none.
    """
    import matplotlib as mpl

    table = np.array([[np.nan if v is None else v for v in row] for row in values], dtype=float)
    # A copy, whose colour of empty cells can be set.
    scheme = mpl.colormaps[colours].with_extremes(bad="white")
    image = axes.imshow(
        np.ma.masked_invalid(table), cmap=scheme, vmin=low, vmax=high, aspect="auto"
    )
    for r, row in enumerate(table):
        for c, value in enumerate(row):
            empty = bool(np.isnan(value))
            told = NONE if empty else words.format(value) + (marks[r][c] if marks else "")
            colour = GREY if empty else _legible(image.cmap(image.norm(value)))
            axes.text(c, r, told, ha="center", va="center", color=colour, fontsize=FONT - 1)
    tilted = max(map(len, columns)) > 6
    axes.set_xticks(
        range(len(columns)), columns, rotation=35 if tilted else 0,
        ha="right" if tilted else "center", rotation_mode="anchor" if tilted else None,
    )  # fmt: skip
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if bar:
        drawn = axes.figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
        drawn.set_label(bar, fontsize=FONT - 1)
        drawn.outline.set_visible(False)


def _legible(colour: Sequence[float]) -> str:
    """Return black or white, whichever reads better on a colour (by its luminance)."""
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4
                        for x in colour[:3])  # fmt: skip
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "white"
