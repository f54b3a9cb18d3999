"""A local store's database: where it lies, made in one step, copied for those who may only read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from glob import escape
from pathlib import Path

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from fashion_tuning.errors import StoreError
from fashion_tuning.fail_points import passed
from fashion_tuning.files import replacing
from fashion_tuning.locks import locked
from fashion_tuning.paths import file_uri, local_path, sqlite_uri

DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"
ELSEWHERE = "name a store on another disk with --tracking-uri"


def sqlite_folder(uri: str) -> Path | None:
    """The folder of a local database, None where a URI means something else."""
    file = sqlite_file(uri)
    return file.parent if file else None


def sqlite_file(uri: str) -> Path | None:
    """The file of a local database, None where a URI means something else."""
    return local_path(uri) if uri.startswith(("sqlite:///", "sqlite+pysqlite:///")) else None


def alone(folder: Path, *, seconds: float, tell: Callable[[str], None]) -> AbstractContextManager[None]:
    """Holds the lock under which a local database is made, and the places of its artifacts are put right.

    Args:
      seconds: How long to wait for another process that has it; `tell` is given a line about that.

    Raises:
      DiskError: The folder can't be written.
      StoreError: The lock was waited for in vain.
    """
    return locked(_lock_path(folder), instead=ELSEWHERE, seconds=seconds, tell=tell, error=StoreError)


def can_write(path: Path) -> bool:
    """Whether a local database can be opened as ever: SQLite in write-ahead mode wants to write even for a reader."""
    lock = _lock_path(path.parent)
    return os.access(path.parent, os.W_OK) and all(os.access(file, os.W_OK) for file in (path, lock) if file.exists())


def require_file(path: Path) -> None:
    """Sees that a local database can be one: SQLite waits for ever at a named pipe, and MLflow tries again at a folder.

    Raises:
      StoreError: Something else stands there.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StoreError(
            f"the tracking store {path} can't be looked at: {error.strerror}",
            expected="an SQLite database, or a place where one can be made",
            action="name another with --tracking-uri, or ask its owner for permission",
        ) from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise StoreError(
            f"the tracking store {path} is {kind}",
            expected="an SQLite database, or a place where one can be made",
            action=f"leave it out for {DATABASE} here, or name a file: --tracking-uri sqlite:///PATH",
        )


def make_database(path: Path) -> None:
    """Makes a local database in one step where there is none, and sees to its write-ahead mode.

    MLflow makes it in some thirty migrations, and refuses one that a kill has left in the middle.

    Raises:
      DiskError: The disk refuses.
    """
    if not path.exists():
        for remains in path.parent.glob(f".{escape(path.stem)}-*[0-9]{escape(path.suffix)}*"):
            remains.unlink()  # of a process that was killed: the lock is ours
        with replacing(path, instead=ELSEWHERE) as temporary:
            made = SqlAlchemyStore(sqlite_uri(temporary), file_uri(path.parent / ARTIFACTS))
            made.engine.dispose()
        passed("database")
    # What is wrong with the file is better told by MLflow's own opening of it.
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=5)) as database:
        if database.execute("pragma journal_mode").fetchone() != ("wal",):
            database.execute("pragma journal_mode = wal")


def copied(path: Path, folder: Path) -> str:
    """Copies a local database into a folder, with what is not yet merged into it; its URI, for reading alone."""
    target = folder / path.name
    try:
        # A writer may be at work beside it.
        with (
            closing(sqlite3.connect(f"{file_uri(path)}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
    except sqlite3.Error:  # nobody can write there, on a read-only disk
        target.unlink(missing_ok=True)
        try:
            for name in (path.name, f"{path.name}-wal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(path.parent / name, folder / name)
        except PermissionError as error:
            raise StoreError(
                f"the tracking store {path} can't be read: {error.strerror}",
                action="ask its owner for permission, or name another with --tracking-uri",
            ) from error
    return sqlite_uri(target)


def _lock_path(folder: Path) -> Path:
    return folder / f".{DATABASE}.lock"
