"""Locks between the processes of one machine, and what a person is told of who holds them."""

from __future__ import annotations

import errno
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from fashion_tuning.errors import DiskError, FashionTuningError
from fashion_tuning.files import CACHE_ELSEWHERE, disk_errors

QUIET_SECONDS: Final = 5.0  # of waiting that are no news

_logger = logging.getLogger(__name__)


@contextmanager
def locked(
    path: Path,
    *,
    instead: str = CACHE_ELSEWHERE,
    seconds: float = math.inf,
    tell: Callable[[str], None] = _logger.warning,
    error: type[FashionTuningError] = DiskError,
) -> Iterator[None]:
    """Holds the lock of that path; parent folders are made.

    Whoever holds it is waited for: a lock ends with its process.

    Args:
      instead: What a person can do where there can be no lock.
      seconds: How long to wait for it.
      tell: Given a line that says what is waited for, where the wait is long enough to be noticed.
      error: What is raised once it was waited for in vain.

    Raises:
      DiskError: There can be no lock.
    """
    started = time.monotonic()
    told = False
    while True:
        with try_lock(path, seconds=min(0.5, seconds), instead=instead) as held:
            if held:
                yield
                return
        waited = time.monotonic() - started
        if waited >= seconds:
            raise error(
                f"{holder(path)} holds {path} locked, and did so for {math.floor(seconds)} s",
                action="wait for it, or end it; then type the same command again",
            )
        if waited >= QUIET_SECONDS and not told:
            told = True
            tell(f"waiting for {holder(path)}, which holds {path} locked")


@contextmanager
def try_lock(path: Path, *, seconds: float = 0.0, instead: str = CACHE_ELSEWHERE) -> Iterator[bool]:
    """Yields whether the lock of that path could be had within some seconds, and holds it then.

    Raises:
      DiskError: There can be no lock: no file can be made there, or its file system has none.
    """
    lock = FileLock(path)
    held = True
    with disk_errors(path, instead=instead):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=seconds)
        except (FileNotFoundError, Timeout):
            held = False
            if not path.exists():  # below /proc nothing can be made, which filelock takes for a file just removed
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path)) from None
    try:
        yield held
    finally:
        if held:
            lock.release()


def holder(path: Path) -> str:
    """Which process holds the lock of that path, "another process" where the system doesn't say."""
    try:
        status = path.stat()
        inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return "another process"
    # Such as "1: FLOCK ADVISORY WRITE 4711 08:01:1234 0 EOF"; who waits has an arrow in the second place.
    holders = [fields[4] for fields in lines if fields[1] != "->" and len(fields) > 5 and fields[5] == inode]
    return f"process {holders[0]}" if holders and int(holders[0]) > 0 else "another process"
