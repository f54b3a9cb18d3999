"""Names of any script and length in figures: which font has their letters, and how a long one is cut."""

from __future__ import annotations

import logging
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

_logger = logging.getLogger(__name__)
# Of its cache of fonts, and of a home that can't be written, Matplotlib tells as it is imported: no news to a person.
if (_theirs := logging.getLogger("matplotlib")).level == logging.NOTSET:
    _theirs.setLevel(logging.ERROR)

_FAMILY: Final = "DejaVu Sans"  # comes with Matplotlib
_PREFERRED: Final = ("Noto Sans CJK SC", "Noto Sans", "Noto", "Source Han Sans", "WenQuanYi", "Free", "Lohit")
# Debian's packages, by how Unicode's names of letters begin; any other script's letters are in the last one.
_PACKAGES: Final = {
    "fonts-noto-cjk": ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH"),
    "fonts-noto-core": (),
}
_PICTURES: Final = "fonts-symbola"  # of emoji; those in colour are of no use to Matplotlib

_told: set[str] = set()


@contextmanager
def lettered(texts: Iterable[str] = ()) -> Iterator[None]:
    """Figures made meanwhile show texts as they are, in fonts of this machine that have their letters.

    Letters that no font has are boxes; that, and what brings a font, is logged once, in place of Matplotlib's warnings.
    """
    import matplotlib as mpl

    letters = frozenset("".join(texts))
    if (missing := missing_letters(letters)) and not missing <= _told:
        _told.update(missing)
        _logger.warning("%s", describe_missing(missing))
    if missing:
        warnings.filterwarnings("ignore", r"(?s)Glyph .* missing from", UserWarning)
    families = ["sans-serif", *_families(letters)[0]]
    with mpl.rc_context({"font.family": families, "text.parse_math": False}):  # a name may hold dollars
        yield


def missing_letters(letters: Iterable[str]) -> set[str]:
    """Of these letters those that no font of this machine has."""
    return set(_families(frozenset("".join(letters)))[1])


def describe_missing(letters: Iterable[str]) -> str:
    """One line on letters that no font has, with the Debian package that brings one."""
    examples = sorted(letters)
    shown = " ".join(examples[:5]) + (" ..." if len(examples) > 5 else "")
    packages = " ".join(sorted({_package(letter) for letter in examples}))
    return f"no font on this machine has {shown}: figures show boxes; on Debian: apt install {packages}"


def shortened(names: Sequence[str], *, longest: int) -> list[str]:
    """Names on one line, none wider than `longest` Latin letters, and still told apart where they were.

    A long one loses its end, or its middle where others begin alike, or else has its place among the names instead.
    """
    whole = [" ".join(name.split()) or " " for name in names]
    cut = [name if width(name) <= longest else f"{_start(name, longest - 1)}…" for name in whole]
    half = (longest - 1) // 2
    for position in _clashing(cut, whole):
        end = _start(whole[position][::-1], half)[::-1]
        cut[position] = f"{_start(whole[position], longest - 1 - half)}…{end}"
    for position in _clashing(cut, whole):
        number = f"… #{position + 1}"
        cut[position] = _start(whole[position], longest - width(number)) + number
    return cut


def _clashing(cut: Sequence[str], whole: Sequence[str]) -> list[int]:
    """Places of those that were cut and now look like another one."""
    meant: dict[str, set[str]] = {}
    for short, name in zip(cut, whole, strict=True):
        meant.setdefault(short, set()).add(name)
    return [position for position, short in enumerate(cut) if short != whole[position] and len(meant[short]) > 1]


def width(text: str) -> int:
    """Of a text, in Latin letters: an ideograph is as wide as two, an accent has no width."""
    wide = {"W": 2, "F": 2}
    return sum(
        0 if unicodedata.category(letter) in ("Mn", "Me", "Cf") else wide.get(unicodedata.east_asian_width(letter), 1)
        for letter in text
    )


def _start(text: str, longest: int) -> str:
    start = ""
    for letter in text:
        if width(start + letter) > longest:
            break
        start += letter
    return start


def _package(letter: str) -> str:
    if unicodedata.category(letter) in ("So", "Cn", "Co") and ord(letter) > 0x2000:
        return _PICTURES
    name = unicodedata.name(letter, "")
    return next((package for package, starts in _PACKAGES.items() if name.startswith(starts)), "fonts-noto-core")


@cache
def _families(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families beside Matplotlib's own that have the letters, as few as it takes, and the letters that none has."""
    from matplotlib import font_manager

    # Marks that are no letters of their own, such as those that join or turn what stands beside them, need no glyph.
    wanted = {
        letter for letter in letters if unicodedata.category(letter) not in ("Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me")
    }
    wanted -= _letters_of(font_manager.findfont(_FAMILY))
    families: list[str] = []
    for path, family in _fonts() if wanted else ():
        if covered := wanted & _letters_of(path):
            families.append(family)
            wanted -= covered
            if not wanted:
                break
    return tuple(families), frozenset(wanted)


@cache
def _fonts() -> list[tuple[str, str]]:
    """(path, family) of the upright fonts of normal weight, those that are made for many scripts first."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    known = {Path(font.fname) for font in manager.ttflist}
    for path in map(Path, font_manager.findSystemFonts()):  # Matplotlib's own list is of the day that it was made
        if path not in known:
            try:
                manager.addfont(path)
            except (OSError, RuntimeError, ValueError, KeyError):  # such as those of pictures in colour
                continue
    upright = [
        font for font in manager.ttflist if font.style == "normal" and font.weight in (400, "normal", "regular", "book")
    ]
    paths = {
        font.name: font.fname for font in upright if not font.name.startswith("Last Resort")
    }  # that has boxes only

    def rank(family: str) -> tuple[int, str]:
        return next((rank for rank, start in enumerate(_PREFERRED) if family.startswith(start)), 99), family

    return [(paths[family], family) for family in sorted(paths, key=rank)]


@cache
def _letters_of(path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()
