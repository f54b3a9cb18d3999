"""Paths as people and programs write them: with a home folder's tilde, as a URI, and back."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_SQLITE: Final = ("sqlite:///", "sqlite+pysqlite:///")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def expand(path: str | Path) -> Path:
    """Puts the home folder in place of a leading `~`: a shell does so for some ways to name a path alone.

    Whoever has a folder named `~` can write `./~`. A home folder that nobody knows stays as it is written.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path's own raises where there is no such user


def make_legible(name: str | Path) -> str:
    """Replace the bytes of a name that are no UTF-8: what has some stands in no database and in no URI of MLflow's."""
    return os.fsencode(name).decode(errors="replace")


def file_uri(path: Path) -> str:
    """The file: URI of an absolute path, as MLflow keeps where artifacts lie."""
    return path.as_uri()


def sqlite_uri(path: Path) -> str:
    """The URI of an SQLite file at an absolute path; `local_path` gives the path back.

    SQLAlchemy takes a URI apart at `?` and reads what follows `%`, and no other character means anything to it. MLflow
    itself makes the folder that it finds named in a URI with `sqlite:///`, escaped as it is: one that
    names the driver too is left alone (mlflow/store/db/utils.py, _make_parent_dirs_if_sqlite).
    """
    plain = os.fspath(path)
    escaped = plain.replace("%", "%25").replace("?", "%3F")
    return f"{_SQLITE[0] if escaped == plain else _SQLITE[1]}{escaped}"


def local_path(uri: str) -> Path | None:
    """The path that a URI of an SQLite file, a file: URI or a plain path means to MLflow; None for any other URI."""
    for scheme in _SQLITE:
        if uri.startswith(scheme):
            return Path(_unescaped(uri.removeprefix(scheme).partition("?")[0]))
    if uri.startswith("file:"):
        return Path(_unescaped(urlsplit(uri).path))
    # A scheme alone tells others, such as mlflow-artifacts:/1/..., which names no host either.
    return None if _SCHEME.match(uri) else Path(_unescaped(uri))


def _unescaped(text: str) -> str:
    return unquote(text, errors="surrogateescape")
