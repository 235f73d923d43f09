"""How figures look, and how they become SVG that can stand in a page."""

import io
import re
import warnings
import zlib
from collections.abc import Sequence
from html import escape
from typing import Any
from unicodedata import category

import numpy as np

from prosopon.errors import OptionError

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8a8a", "#9c6644")
"""Okabe and Ito's colours and two more; they differ for colour-blind readers too, and read on
light and on dark pages."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DIVERGING = "PuOr"
"""Colour map of what lies on both sides of a middle; its ends differ for everybody."""

SEQUENTIAL = "cividis"
FONT = 9
GREY = "#8a8a8a"
INK = "#010101"
"""Black on a coloured ground; plain black is the page's own ink, light on a dark page."""

NONE = "\N{EN DASH}"
"""Stands where there is no number."""

PAGE = "<style>#{id}{{color:#222}}@media(prefers-color-scheme:dark){{#{id}{{color:#ddd}}}}</style>"

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
    "text.parse_math": False,  # a $ in a name is a $
}


def check_drawing(remedy: str = "pip install 'prosopon[plots]'") -> None:
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


def svg(drawn: Any, title: str, *, background: str = "none") -> str:
    """Return a figure as an SVG element, the same on every run.

    It has no XML head, so that it can stand in a page, and its ids are unlikely to be those of
    another figure there. Black turns light where the reader prefers a dark page.

    Args:
        drawn: A matplotlib figure.
        title: Read out by screen readers.
        background: A colour, or ``"none"`` for the page's.
    """
    import matplotlib
    from matplotlib.text import Text

    text, labels = io.StringIO(), drawn.findobj(Text)
    strange = _has_strange_letters("".join(label.get_text() for label in labels))
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        if strange:  # the reader's own fonts draw them
            matplotlib.rcParams["svg.fonttype"] = "none"
            warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        for label in labels:  # those that were made outside of this context
            label.set_parse_math(False)
        drawn.savefig(text, format="svg", metadata={"Date": None}, facecolor=background)
    whole = text.getvalue()
    mark = f"a{zlib.crc32(whole.encode()):x}"
    body = whole[whole.index("<svg") :]
    body = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{mark}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", body)
    body = body.replace("#000000", "currentColor")
    head, _, rest = body.partition(">")
    label = escape(printable(title))
    attributes = f'id="{mark}" fill="currentColor" role="img" aria-label="{label}"'
    return f"{head} {attributes}>{PAGE.format(id=mark)}{rest}"


def _has_strange_letters(text: str) -> bool:
    """Tell whether matplotlib's own font lacks a letter, such as those of Chinese."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    letters = get_font(findfont(FontProperties())).get_charmap()
    return any(ord(letter) not in letters for letter in text if letter != "\n")


def printable(text: str) -> str:
    """Return a text without control codes, which neither fonts nor XML know."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if letter != "\n" and category(letter) == "Cc" else letter
        for letter in text
    )


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
    """Draw a matrix with its numbers; an empty cell has no colour and a dash.

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

    rows, columns = list(map(printable, rows)), list(map(printable, columns))
    table = np.array([[np.nan if v is None else v for v in row] for row in values], dtype=float)
    # A copy, whose colour of empty cells can be set.
    scheme = mpl.colormaps[colours].with_extremes(bad=(0, 0, 0, 0))
    image = axes.imshow(
        np.ma.masked_invalid(table), cmap=scheme, vmin=low, vmax=high, aspect="auto"
    )
    for r, row in enumerate(table):
        for c, value in enumerate(row):
            empty = bool(np.isnan(value))
            text = NONE if empty else words.format(value) + (marks[r][c] if marks else "")
            colour = GREY if empty else _legible(image.cmap(image.norm(value)))
            axes.text(c, r, text, ha="center", va="center", color=colour, fontsize=FONT - 1)
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
    """Return ink or white, whichever reads better on a colour (by its luminance)."""
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4
                        for x in colour[:3])  # fmt: skip
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "white"
