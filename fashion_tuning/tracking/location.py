"""Where a local store's artifacts lie: beside its database, wherever that was moved or copied to.

MLflow keeps absolute locations. Those of a project that was moved lead nowhere, and those of one that was copied
lead into the original.
"""

from __future__ import annotations

import glob
import logging
import os
import shlex
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy
from sqlalchemy import Connection

from fashion_tuning.errors import DiskError, StoreError
from fashion_tuning.fail_points import passed
from fashion_tuning.files import replacing
from fashion_tuning.paths import file_uri, local_path
from fashion_tuning.tracking.database import ARTIFACTS, ELSEWHERE
from fashion_tuning.wording import count

_logger = logging.getLogger(__name__)

_COPY: Final = "-before-move"

# Where MLflow's tables hold locations, and how deep below the root of all artifacts; None where that is not said.
_EXPERIMENT: Final = ("experiments", "artifact_location")
_COLUMNS: Final[dict[tuple[str, str], int | None]] = {
    _EXPERIMENT: 1,  # ROOT/NAME; ROOT/ID where MLflow itself chose it
    ("runs", "artifact_uri"): 3,  # ROOT/NAME/RUN/artifacts
    ("logged_models", "artifact_location"): 4,  # ROOT/NAME/models/MODEL/artifacts
    ("model_versions", "source"): None,
    ("model_versions", "storage_location"): None,
    ("trace_tags", "value"): None,  # of mlflow.artifactLocation
}


@dataclass(frozen=True)
class _Location:
    """One location as it stands in the database; `root` is that of all artifacts above it, where it is laid out so."""

    column: tuple[str, str]
    row: int
    path: Path
    root: Path | None


class LeftBehindError(StoreError):
    """Artifacts of a store that was moved or copied lie in its old place alone."""


def bring_home(uri: str, database: Path, *, only_read: bool) -> None:
    """Puts locations below another root than the store's own right, in one transaction; says so in one line.

    What somebody keeps elsewhere on purpose stays as it is: only the root that the store itself had before, or one
    whose runs are found here, is taken for the store's own. The caller holds the store's lock.

    Args:
      uri: The opened database.
      database: The database that is meant: artifacts lie beside it.
      only_read: What is opened is a copy for reading; locations whose files were left behind stay as they are.

    Raises:
      LeftBehindError: Some files were left behind; nothing is changed.
      DiskError: No copy can be written; nothing is changed.
    """
    home = database.parent / ARTIFACTS
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        if not _foreign_roots(_read(connection), home):
            return
    with engine.connect() as connection:
        connection.exec_driver_sql("begin immediate")  # nobody adds a location meanwhile
        locations = list(_read(connection))
        moved = {}
        for root in _foreign_roots(locations, home):
            moved.update(_moved(root, home, locations, partly=only_read))
        if not moved:
            return
        runs = sum(1 for location in moved if location.column == ("runs", "artifact_uri"))
        if runs and not only_read:
            _copy(database)
            passed("store copied")
        for (table, column), row, new in (
            (location.column, location.row, file_uri(path)) for location, path in moved.items()
        ):
            connection.exec_driver_sql(f'update "{table}" set "{column}" = ? where rowid = ?', (new, row))
        connection.commit()
    passed("locations")
    if runs:
        old = " and ".join(sorted({str(location.root.parent) for location in moved if location.root}))
        copy = f"kept as it was in {_copy_of(database).name}" if not only_read else "for this command alone"
        _logger.warning("the store in %s was in %s; its artifacts are looked for here (%s)", home.parent, old, copy)


def _read(connection: Connection) -> Iterator[_Location]:
    for (table, column), depth in _COLUMNS.items():
        where = "where key = 'mlflow.artifactLocation'" if table == "trace_tags" else ""
        for row, uri in connection.exec_driver_sql(f'select rowid, "{column}" from "{table}" {where}'):
            path = local_path(uri or "")
            if path is not None and path.is_absolute():
                root = path.parents[depth - 1] if depth and depth <= len(path.parents) else None
                yield _Location((table, column), row, path, root if root and root.name == ARTIFACTS else None)


def _foreign_roots(locations: Iterable[_Location], home: Path) -> list[Path]:
    """The roots other than home; one that a link leads to home from is not another."""
    roots = {location.root for location in locations if location.root is not None}
    here = home.resolve()
    return sorted(root for root in roots if root != home and root.resolve() != here)


def _moved(root: Path, home: Path, locations: list[_Location], *, partly: bool) -> dict[_Location, Path]:
    """Each location below a root with its place below home; none where that root is not this store's."""
    below = {
        location: home / location.path.relative_to(root)
        for location in locations
        if location.root == root or (location.root is None and location.path.is_relative_to(root))
    }
    experiments = {location.row: location.path.name for location in below if location.column == _EXPERIMENT}
    written = [location for location in below if location.root and location.column != _EXPERIMENT]
    here = any(_is_there(below[location]) for location in written)
    left = [location for location in written if not _is_there(below[location]) and _is_there(location.path)]
    # MLflow names an experiment's folder by its number, this program by the experiment's name; the experiment
    # that each store is made with says where the store was last.
    named = any(name != str(row) for row, name in experiments.items())
    if not here and not (0 in experiments and (named or not written)):
        return {}
    if not left:
        return below
    error = LeftBehindError(
        f"the store in {home.parent} came without its artifacts; those of {count(len(left), 'run')} are in {root}",
        expected=f"all of them in {home}",
        action=f"mkdir -p {shlex.quote(str(home))} && cp -rn {shlex.quote(str(root))}/. {shlex.quote(str(home))} "
        "brings them; then type the same command again",
    )
    if not partly:
        raise error
    _logger.warning("%s", error.received)
    return {location: path for location, path in below.items() if _is_there(path)}


def _is_there(path: Path) -> bool:
    """Tell whether a file is there; below a folder that may not be looked into none is, and that is no error."""
    return os.access(path, os.F_OK)


def _copy_of(database: Path) -> Path:
    return database.with_name(f"{database.name}{_COPY}")


def _copy(database: Path) -> None:
    """Copies a database beside it, with what is not yet merged into it; takes the place of an earlier copy.

    Raises:
      DiskError: The disk refuses.
    """
    for remains in database.parent.glob(f".{glob.escape(database.stem)}-*{_COPY}*"):
        remains.unlink()  # of a process that was killed: the lock is ours
    with replacing(_copy_of(database), instead=ELSEWHERE) as temporary:
        try:
            with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(temporary)) as copy:
                source.backup(copy)
        except sqlite3.Error as error:
            raise DiskError(
                f"{_copy_of(database)} can't be written: {error}",
                expected="a writable disk with free space",
                action=f"free some space, or {ELSEWHERE}; then run it again",
            ) from error
