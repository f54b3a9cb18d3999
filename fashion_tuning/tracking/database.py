"""A local store's database: where it lies, made in one step, copied for those who may only read."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

from filelock import FileLock
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from fashion_tuning.fail_points import passed
from fashion_tuning.files import disk_errors, replacing

DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"
ELSEWHERE = "name a store on another disk with --tracking-uri"


def sqlite_folder(uri: str) -> Path | None:
    """The folder of a local database, None where a URI means something else."""
    return sqlite_file(uri).parent if uri.startswith("sqlite:///") else None


def sqlite_file(uri: str) -> Path:
    """The file of a sqlite:/// URI."""
    return Path(unquote(uri.removeprefix("sqlite:///")))


@contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    """Holds the lock under which a local database is made; nothing for None.

    Raises:
      DiskError: The folder can't be written.
    """
    if folder is None:
        yield
        return
    lock = FileLock(folder / f".{DATABASE}.lock")
    with disk_errors(folder, instead=ELSEWHERE):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def make_database(path: Path) -> None:
    """Makes a local database in one step where there is none, and sees to its write-ahead mode.

    MLflow makes it in some thirty migrations, and refuses one that a kill has left in the middle.

    Raises:
      DiskError: The disk refuses.
    """
    if not path.exists():
        for remains in path.parent.glob(f".{path.stem}-*{path.suffix}*"):
            remains.unlink()  # of a process that was killed: the lock is ours
        with disk_errors(path, instead=ELSEWHERE), replacing(path) as temporary:
            made = SqlAlchemyStore(f"sqlite:///{temporary}", (path.parent / ARTIFACTS).as_uri())
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
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
    except sqlite3.Error:  # nobody can write there, on a read-only disk
        target.unlink(missing_ok=True)
        for name in (path.name, f"{path.name}-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(path.parent / name, folder / name)
    return f"sqlite:///{target}"
