"""Names of any script and length: cut so that they stay apart, in a font that has them, and boxes told once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st

from fashion_tuning.lettering import describe_missing, lettered, missing_letters, shortened, width

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60), max_size=30)


@given(NAMES, st.integers(12, 30))
def test_shortened_names_fit_and_stay_apart(names: list[str], longest: int) -> None:
    short = shortened(names, longest=longest)
    whole = [" ".join(name.split()) for name in names]
    assert len(short) == len(names)
    for one, name in zip(short, whole, strict=True):
        assert width(one) <= longest
        assert one == name or "…" in one or not name
    meant: dict[str, set[str]] = {}
    for one, name in zip(short, whole, strict=True):
        meant.setdefault(one, set()).add(name)
    assert all(len(different) == 1 for one, different in meant.items() if "…" in one and one not in whole), meant


def test_names_lose_what_they_share() -> None:
    alike = [f"garments of our own collection, {kind}, for summer" for kind in ("shirts", "skirts", "hats")]
    assert shortened(["hat", "a" * 30], longest=10) == ["hat", "aaaaaaaaa…"]
    assert shortened([f"{'x' * 40}{end}" for end in "abc"], longest=11) == ["xxxxx…xxxxa", "xxxxx…xxxxb", "xxxxx…xxxxc"]
    assert shortened(alike, longest=16) == ["garments of … #1", "garments of … #2", "garments of … #3"]
    assert shortened(["服" * 20], longest=11) == ["服服服服服…"]
    assert shortened(["two\nlines\tof it"], longest=30) == ["two lines of it"]


@pytest.mark.parametrize(
    ("letters", "package"),
    [("服装シャツ한국어", "fonts-noto-cjk"), ("कमीज़", "fonts-noto-core"), ("👗", "fonts-symbola")],
)
def test_a_package_is_named_by_the_script(letters: str, package: str) -> None:
    assert describe_missing(letters).endswith(f"apt install {package}")


def test_what_matplotlib_s_own_font_has_is_never_missing() -> None:
    assert missing_letters(["größe Ł Ω Ж خ ש ₤ → \N{ZERO WIDTH JOINER}\N{COMBINING ACUTE ACCENT} $_%\\"]) == set()


CODE = """
import sys
from fashion_tuning.lettering import lettered, missing_letters
from matplotlib.figure import Figure
for _ in range(2):
    with lettered(sys.argv[1:]):
        figure = Figure(figsize=(2, 1))
        figure.text(0, 0, " ".join(sys.argv[1:]))
        figure.savefig("figure.png")
print(*sorted(missing_letters(sys.argv[1:])), sep="")
"""


def draw(folder: Path, *texts: str, config: str = "") -> tuple[str, str]:
    """What a process of its own says of these texts, on standard output and error; folder is its home."""
    known = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "share")}
    known["MPLCONFIGDIR"] = config or str(folder)
    done = subprocess.run(
        [sys.executable, "-c", CODE, *texts], cwd=folder, env=known, capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr


def make_font(path: Path, letters: str) -> None:
    """A font whose letters are all a box."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 500), (500, 500), (500, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "box"])
    builder.setupCharacterMap({ord(letter): "box" for letter in letters})
    builder.setupGlyf({".notdef": pen.glyph(), "box": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (600, 0), "box": (600, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test of letters", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    path.parent.mkdir(parents=True)
    builder.save(path)


def test_letters_without_a_font_are_told_once_until_a_font_is_installed(tmp_path: Path) -> None:
    for path in Path(matplotlib.get_cachedir()).glob("fontlist*.json"):  # made anew it takes seconds
        shutil.copy(path, tmp_path)
    rare = "\U00016800\U00016801"  # Bamum's, which no common font has
    missing, said = draw(tmp_path, f"{rare} and $5_x$", "plain")
    assert missing == rare
    assert said.splitlines() == [describe_missing(rare)]
    make_font(tmp_path / "share" / "fonts" / "test.ttf", rare)
    assert draw(tmp_path, f"{rare} and $5_x$") == ("", "")


def test_a_home_that_can_not_be_written_is_no_news(tmp_path: Path) -> None:
    assert draw(tmp_path, "plain", config="/proc/none") == ("", "")


def test_dollars_are_no_formulas() -> None:
    from matplotlib.figure import Figure

    with lettered(["$x_1$"]):
        figure = Figure()
        text = figure.suptitle("$x_1$ costs 5$ and \\alpha")
    assert not text.get_parse_math()
