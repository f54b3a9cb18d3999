"""Names of classes: what is one name however it is written, and which names a person may have meant as one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from fashion_tuning.errors import DataError


def composed(name: str) -> str:
    """Write a name in Unicode's normal form C, in which names are compared.

    macOS writes another form than a keyboard does.
    """
    return unicodedata.normalize("NFC", name)


def labels_of(root: Path, folders: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Name the class of each folder; names that are one in normal form C are one class.

    A class that is written in one way throughout keeps that name, so that a data set keeps its digest; one that
    is not is named in normal form C.

    Args:
      root: The data folder.
      folders: Names of class folders by the folder that they lie in, "" for the data folder itself.

    Raises:
      DataError: Two folders of one split, or of the data folder, are one class.
    """
    spellings: dict[str, set[str]] = {}
    for parent, names in folders.items():
        here: dict[str, str] = {}
        for name in names:
            first = here.setdefault(composed(name), name)
            if first != name:
                one, other = shown_apart(first, name)
                raise DataError(
                    f"two folders in {root / parent} have one name, written in two ways: {one} and {other}",
                    expected="one folder for each class",
                    action="move the photos of one into the other, and remove it",
                )
            spellings.setdefault(composed(name), set()).add(name)
    return {name: name if len(same) == 1 else label for label, same in spellings.items() for name in same}


def lookalikes(name: str, others: Iterable[str]) -> list[str]:
    """Find names that look like another, or differ in case, spaces and signs alone."""
    return [label for label in others if label != name and (_bare(label) == _bare(name) or _looks_like(label, name))]


def shown_apart(first: str, second: str) -> tuple[str, str]:
    """Word two names for a message, with code points where these are the difference."""
    if (first + second).isascii():
        return repr(first), repr(second)
    return f"{first!r} ({code_points(first)})", f"{second!r} ({code_points(second)})"


def code_points(name: str) -> str:
    """Spell a name with its signs beyond ASCII as code points, such as "caf U+00E9"."""
    return (
        "".join(letter if "!" <= letter <= "~" else f" U+{ord(letter):04X} " for letter in name)
        .strip()
        .replace("  ", " ")
    )


def _bare(name: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKC", name).casefold() if letter.isalnum()) or name


def _looks_like(name: str, other: str) -> bool:
    """Whether names of one length differ only where one has a letter and the other a sign beyond ASCII."""
    pairs = list(zip(name, other, strict=False))
    return (
        len(name) == len(other)
        and any(a == b for a, b in pairs)
        and all(a == b or a.isascii() != b.isascii() for a, b in pairs)
    )
