"""Tables of a width that is given: rows, or where they don't fit a short block for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from unicodedata import category

from rich.cells import cell_len
from rich.text import Text

_BETWEEN: Final = " · "
_UNSHOWN: Final = {"Cc", "Cs", "Zl", "Zp"}  # controls, halves of characters, ends of lines: as in the name of a file


@dataclass(frozen=True)
class Column:
    """One column: its header, of several lines where it has line breaks, and how it is called in a block.

    Args:
      right: Whether its cells stand at its right edge.
      below: Whether its cells go into a line of their own below their rows where the table is too wide.
    """

    header: str
    right: bool = False
    name: str = ""
    below: bool = False

    def __str__(self) -> str:
        return self.name or self.header.replace("\n", " ")


@dataclass
class Table:
    """Headers and rows; `gap` is what stands between two columns, `strong` are the rows that are set off."""

    columns: Sequence[Column]
    gap: int = 2
    rows: list[tuple[str, ...]] = field(default_factory=list)
    strong: set[int] = field(default_factory=set)

    def add(self, *cells: str, strong: bool = False) -> None:
        """Adds a row; what is no character of a line in a cell is replaced."""
        if strong:
            self.strong.add(len(self.rows))
        self.rows.append(
            tuple("".join("\ufffd" if category(letter) in _UNSHOWN else letter for letter in cell) for cell in cells)
        )

    def fits(self, width: int | None) -> bool:
        """Whether whole rows stand in `width` characters; None: there is no limit."""
        return width is None or self._width(range(len(self.columns))) <= width

    def render(self, width: int | None) -> Text:
        """The table in lines of at most `width` characters, as far as its single cells let it; no space ends a line."""
        beside = [number for number, column in enumerate(self.columns) if not column.below]
        if self.fits(width):
            lines = self._row_lines(range(len(self.columns)))
        elif width is not None and self._width(beside) <= width:
            lines = self._row_lines(beside)
        else:
            lines = self._block_lines(width or 0)
        return Text("\n").join(Text(line.rstrip(), style="bold" if strong else "") for line, strong in lines)

    def _widths(self) -> list[int]:
        headers = [max(map(cell_len, column.header.split("\n"))) for column in self.columns]
        return [max([header, *(cell_len(row[number]) for row in self.rows)]) for number, header in enumerate(headers)]

    def _width(self, places: Sequence[int]) -> int:
        widths = self._widths()
        return sum(widths[column] for column in places) + self.gap * (len(places) - 1)

    def _row_lines(self, places: Sequence[int]) -> Iterator[tuple[str, bool]]:
        """Lines of headers and rows, and whether they are set off; the columns that are left out stand below."""
        widths = self._widths()
        height = max(self.columns[column].header.count("\n") for column in places) + 1

        def line(cells: Sequence[str]) -> str:
            aligned = (
                _pad(cell, widths[column], right=self.columns[column].right)
                for column, cell in zip(places, cells, strict=True)
            )
            return (" " * self.gap).join(aligned)

        headers = [self.columns[column].header.split("\n") for column in places]
        for number in range(height):
            yield (
                line([("\n" * (height - len(header)) + "\n".join(header)).split("\n")[number] for header in headers]),
                True,
            )
        for number, row in enumerate(self.rows):
            yield line([row[column] for column in places]), number in self.strong
            for column, cell in enumerate(row):
                if column not in places and cell:
                    yield f"  {cell}", number in self.strong

    def _block_lines(self, width: int) -> Iterator[tuple[str, bool]]:
        """Each row as its cells beside the names of their columns; what follows its first line is indented."""
        for number, row in enumerate(self.rows):
            parts = [f"{column} {cell.strip()}" for column, cell in zip(self.columns, row, strict=True) if cell.strip()]
            line, *others = parts or [""]
            for part in others:
                if cell_len(line + _BETWEEN + part) <= width:
                    line += _BETWEEN + part
                    continue
                yield line, number in self.strong
                line = f"  {part}"
            yield line, number in self.strong


def _pad(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if right else cell + space


def _one_line(cell: str) -> str:
    return "".join("\ufffd" if category(letter) in _UNSHOWN else letter for letter in cell)
