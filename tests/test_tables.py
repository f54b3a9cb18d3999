"""Tables for every width: whole rows where they fit, else blocks; never a space at the end of a line."""

import pytest
from command_line import PROJECT
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fashion_tuning.tables import Column, Table

CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    number = draw(st.integers(1, 6))
    headers = st.sampled_from(["rank", "val accuracy\n± se", "裙子", "x"])
    columns = [Column(draw(headers), right=draw(st.booleans())) for _ in range(number)]
    if number > 1 and draw(st.booleans()):
        columns[-1] = Column("also", below=True)
    table = Table(columns, gap=draw(st.integers(1, 3)))
    for _ in range(draw(st.integers(1, 5))):
        table.add(*(draw(CELLS) for _ in columns), strong=draw(st.booleans()))
    return table


@given(table=tables(), width=st.one_of(st.none(), st.integers(1, 200)))
def test_every_cell_is_there_whole_at_any_width(table: Table, width: int | None) -> None:
    lines = table.render(width).plain.split("\n")
    text = "\n".join(lines)
    assert all(line == line.rstrip() for line in lines)
    for row in table.rows:
        assert all(cell.strip() in text for cell in row)
    if width is None or table.fits(width):
        assert all(cell_len(line) <= (width or 1000) for line in lines)
    else:
        pieces = (f"  {name} {cell}" for row in table.rows for name, cell in zip(table.columns, row, strict=True))
        longest = max(map(cell_len, pieces))
        assert all(cell_len(line) <= max(width, longest) for line in lines)


def test_every_table_is_made_here() -> None:
    sources = (PROJECT / "fashion_tuning").rglob("*.py")
    assert not [path.name for path in sources if "rich.table" in path.read_text(encoding="utf-8")]


def small_table(*, below: bool = False) -> Table:
    table = Table(
        [Column("trial", right=True), Column("learning\nrate", right=True), Column("also", below=below)], gap=1
    )
    table.add("01", "0.001", "optimizer adamw · weight decay 0.004")
    table.add("02", "0.0005", "")
    return table


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            None,
            [
                "      learning",
                "trial     rate also",
                "   01    0.001 optimizer adamw · weight decay 0.004",
                "   02   0.0005",
            ],
        ),
        (
            40,
            [
                "      learning",
                "trial     rate",
                "   01    0.001",
                "  optimizer adamw · weight decay 0.004",
                "   02   0.0005",
            ],
        ),
        (
            13,
            [
                "trial 01",
                "  learning rate 0.001",
                "  also optimizer adamw · weight decay 0.004",
                "trial 02",
                "  learning rate 0.0005",
            ],
        ),
    ],
)
def test_three_shapes_of_one_table(width: int | None, lines: list[str]) -> None:
    assert small_table(below=True).render(width).plain.split("\n") == lines


def test_headers_and_rows_that_are_set_off_are_bold() -> None:
    table = Table([Column("class"), Column("train", right=True)])
    table.add("hat", "8")
    table.add("all", "8", strong=True)
    text = table.render(None)
    assert [text.plain[span.start : span.end] for span in text.spans] == ["class  train", "all        8"]


def test_a_cell_is_one_line_and_says_nothing_to_the_terminal() -> None:
    table = Table([Column("file")])
    table.add("a\nb\x1b[31m\udce9.jpg")
    assert table.render(None).plain == "file\na\ufffdb\ufffd[31m\ufffd.jpg"
