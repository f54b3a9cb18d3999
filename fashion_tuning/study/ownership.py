"""One study, one process: on this machine by a file lock, which ends with the process that holds it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fashion_tuning.errors import StudyOwnedError
from fashion_tuning.files import disk_errors
from fashion_tuning.tracking.database import ARTIFACTS
from fashion_tuning.tracking.records import StudyRecord, current_study, find_studies
from fashion_tuning.tracking.store import Store

_NAMING_SECONDS = 20.0  # an owner has made its study run and put its name there by then


@contextmanager
def owned(store: Store, experiment: str, digest: str, *, cache_dir: Path) -> Iterator[None]:
    """Holds a study on this machine; other machines are kept off by tracking/lease.py.

    Args:
      cache_dir: Where the lock lies if the store is no local one.

    Raises:
      StudyOwnedError: Another process holds it.
      DiskError: The lock file can't be written.
    """
    path = lock_path(store, experiment, digest, cache_dir=cache_dir)
    lock = FileLock(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, store, experiment, digest)
    try:
        yield
    finally:
        lock.release()


def is_free(store: Store, study: StudyRecord, *, cache_dir: Path) -> bool:
    """Whether no process on this machine holds a study, and none elsewhere gives a sign of life."""
    if store.folder is None and study.owner is not None and not study.owner.is_gone:
        return False
    lock = FileLock(lock_path(store, study.experiment, study.digest, cache_dir=cache_dir))
    try:
        with lock.acquire(timeout=0):
            return True
    except Timeout:
        return False


def lock_path(store: Store, experiment: str, digest: str, *, cache_dir: Path) -> Path:
    """The file that the process which runs this study on this machine holds locked; beside a local store."""
    name = hashlib.sha256(f"{store.uri}/{experiment}/{digest}".encode()).hexdigest()[:24]
    folder = store.folder / ARTIFACTS / ".locks" if store.folder else cache_dir / "locks"
    return folder / f"{name}.lock"


def _acquire(lock: FileLock, store: Store, experiment: str, digest: str) -> None:
    study = f"study {digest} of {experiment!r}"
    until = time.monotonic() + _NAMING_SECONDS
    while True:
        try:
            lock.acquire(timeout=0)
            return
        except Timeout as error:
            record = current_study(find_studies(store, experiment), digest)
            if record is not None and record.owner is not None and record.owner.lives:
                raise record.owner.error(study) from error
            if time.monotonic() > until:
                raise StudyOwnedError(
                    f"{study} is held by another process on this machine: {lock.lock_file} is locked",
                    action="wait for it, or stop it; then type the same command again",
                ) from error
            time.sleep(0.5)
