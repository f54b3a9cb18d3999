"""Matplotlib figures as SVG that follows a page's colours, and as PNG."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from fashion_tuning.lettering import lettered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart by people who see red and green alike, on white and on black (Okabe and Ito 2008).
BLUE: Final = "#0072b2"
ORANGE: Final = "#d55e00"
GREEN: Final = "#009e73"
PINK: Final = "#cc79a7"
GREY: Final = "#808890"
COLOURS: Final = (BLUE, ORANGE, GREEN, PINK)
SCORES: Final = "viridis"  # perceptually even, and readable in grey

_INK: Final = "#010203"  # stands for the colour of the page's text
_SMALL: Final = 7.0
_NARROWEST: Final = 30.0
_LETTERS_PER_INCH: Final = 17
_STYLE: Any = {
    "font.size": 9.0,
    "svg.fonttype": "none",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}


@contextmanager
def drawing(width: float = 7.0, height: float = 3.4, *, texts: Iterable[str] = ()) -> Iterator[Figure]:
    """A new figure, inches, in the report's style; styled for as long as the block lasts.

    Args:
      texts: What a person has written and the figure shows, in any script.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE), lettered(texts):
        yield Figure(figsize=(width, height), layout="constrained")


def write_below(figure: Figure, text: str) -> None:
    """A line below a figure, broken where it is too narrow: of how many, in which units."""
    lines = textwrap.fill(text, int(_LETTERS_PER_INCH * figure.get_figwidth()))
    figure.supxlabel(lines, fontsize=_SMALL, color=_INK)


def as_svg(figure: Figure, name: str) -> str:
    """The <svg> element; its text has the colour of the text around it, and no id is used by another `name`."""
    import matplotlib as mpl

    text = io.StringIO()
    metadata: dict[str, Any] = {"Date": None, "Creator": None}
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    # As wide as there is room for, up to its own size; never so narrow that its letters can't be read.
    width = 7.4 * figure.get_figwidth()
    style = f'style="max-width: {width:.0f}rem; min-width: {min(width, _NARROWEST):.0f}rem"'
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', rf"\1 {style}", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.strip()


def standalone(svg: str) -> str:
    """The element as a file of its own, black on white."""
    return '<?xml version="1.0" encoding="utf-8"?>\n' + svg.replace("<svg ", '<svg color="#000" ', 1)


def as_png(figure: Figure) -> bytes:
    """On white, 144 dots an inch."""
    import matplotlib as mpl

    content = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(content, format="png", dpi=144, facecolor="white")
    return content.getvalue()
