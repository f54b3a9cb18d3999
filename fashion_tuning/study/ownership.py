"""One study, one process: on this machine by a file lock, which ends with the process that holds it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fashion_tuning.errors import StudyOwnedError
from fashion_tuning.files import CACHE_ELSEWHERE
from fashion_tuning.locks import holder, try_lock
from fashion_tuning.tracking.database import ARTIFACTS, ELSEWHERE
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
    until = time.monotonic() + _NAMING_SECONDS
    while True:
        with try_lock(path, instead=ELSEWHERE if store.folder else CACHE_ELSEWHERE) as held:
            if held:
                yield
                return
        _require_unowned(store, experiment, digest, path=path, is_late=time.monotonic() > until)
        time.sleep(0.5)


def is_free(store: Store, study: StudyRecord, *, cache_dir: Path) -> bool:
    """Whether no process on this machine holds a study, and none elsewhere gives a sign of life."""
    if store.folder is None and study.owner is not None and not study.owner.is_gone:
        return False
    with try_lock(lock_path(store, study.experiment, study.digest, cache_dir=cache_dir)) as held:
        return held


def lock_path(store: Store, experiment: str, digest: str, *, cache_dir: Path) -> Path:
    """The file that the process which runs this study on this machine holds locked; beside a local store."""
    name = hashlib.sha256(f"{store.uri}/{experiment}/{digest}".encode()).hexdigest()[:24]
    folder = store.folder / ARTIFACTS / ".locks" if store.folder else cache_dir / "locks"
    return folder / f"{name}.lock"


def _require_unowned(store: Store, experiment: str, digest: str, *, path: Path, is_late: bool) -> None:
    """Passes while the process that holds the lock may still be about to begin the study's run.

    Raises:
      StudyOwnedError: The study is that process's.
    """
    study = f"study {digest} of {experiment!r}"
    record = current_study(find_studies(store, experiment), digest)
    if record is not None and record.owner is not None and record.owner.lives:
        raise record.owner.error(study)
    if is_late:
        raise StudyOwnedError(
            f"{study} is held by {holder(path)} on this machine: {path} is locked",
            action="wait for it, or stop it; then type the same command again",
        )
