"""One part of a page: its sentences, and a figure or a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashion_tuning.report.drawing import write_below

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table of text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
      name: Of its anchor and its files.
      readings: Sentences made from the numbers; they describe the figure to those who can't see it.
      basis: Of how many trials, seeds and photos the figure is, and in which units; it stands below it.
    """

    name: str
    title: str
    readings: tuple[str, ...]
    figure: Figure | None = None
    table: Table | None = None
    basis: str = ""


def drawn(name: str, title: str, readings: tuple[str, ...], figure: Figure, basis: str) -> Section:
    """A section with a figure, which has its basis written below it."""
    write_below(figure, basis)
    return Section(name, title, readings, figure, basis=basis)


def without_empty(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    """A table without the columns in which nothing stands."""
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    return Table(tuple(columns[place] for place in kept), tuple(tuple(row[place] for place in kept) for row in rows))
