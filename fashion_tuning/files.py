"""Writing files so that a reader never sees half of one."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from fashion_tuning.errors import DiskError

SCRATCH = "set TMPDIR to a folder on another disk"  # what helps where scratch_folder is refused
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}


@contextmanager
def disk_errors(path: Path, *, instead: str = "set FASHION_TUNING_CACHE to a folder on another disk") -> Iterator[None]:
    """Turns a refusal of the disk (full, read-only, not permitted) into a DiskError.

    Args:
      path: What is written, where the system does not name it.
      instead: What a person can do beside freeing space.

    Raises:
      DiskError: Naming the path and what the system said.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS and not isinstance(error, NotADirectoryError | FileExistsError):
            raise
        raise DiskError(
            f"{error.filename or path} can't be written: {error.strerror}",
            expected="a writable disk with free space",
            action=f"free some space, or {instead}; then run it again",
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is synced and takes its place at once.

    The temporary name keeps the suffix of `path`. Parent folders are made. On an error nothing
    is left behind.

    Raises:
      DiskError: The disk refuses.
    """
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yields a temporary folder that is gone afterwards.

    Raises:
      DiskError: The disk refuses.
    """
    with disk_errors(Path(gettempdir()), instead=SCRATCH):
        folder = TemporaryDirectory(prefix="fashion-tuning-", ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one step, UTF-8.

    Raises:
      DiskError: The disk refuses.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Makes sure that all files at or below a folder are on the disk, and their names with them.

    Raises:
      OSError: The disk refuses.
    """
    for path in (folder, *folder.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
