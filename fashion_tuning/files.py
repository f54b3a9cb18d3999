"""Writing files so that a reader never sees half of one."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gaierror
from tempfile import TemporaryDirectory, gettempdir
from typing import Final

from fashion_tuning.errors import DiskError

CACHE_ELSEWHERE: Final = "set FASHION_TUNING_CACHE to a folder on another disk"
SCRATCH: Final = "set TMPDIR to a folder on another disk"  # what helps where scratch_folder is refused

_LOCKLESS: Final = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_FILES: Final = {errno.EMFILE, errno.ENFILE}
_MEMORY: Final = {errno.ENOMEM, errno.EAGAIN}


@contextmanager
def disk_errors(path: Path, *, instead: str = CACHE_ELSEWHERE) -> Iterator[None]:
    """Turns what the system refuses (a disk that is full or read-only, no permission) into a DiskError.

    That a file is not there, and what becomes of connections, is passed on: whoever asked for it knows what it means.

    Args:
      path: What is written, where the system does not name it.
      instead: What a person can do beside freeing space.

    Raises:
      DiskError: Naming the path and what the system said.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        refused = refusal(error, path, instead=instead)
        if refused is None:
            raise
        raise refused from error


def refusal(error: OSError, path: Path | None = None, *, instead: str = "") -> DiskError | None:
    """What the system refused, for a person; None where the error is a connection's, or none of the system's.

    Args:
      path, instead: As for `disk_errors`; without them nothing is known of what was wanted.
    """
    if not error.errno or isinstance(error, ConnectionError | TimeoutError | InterruptedError | gaierror):
        return None
    name = error.filename or path
    said = os.strerror(error.errno)  # h5py's own words are a paragraph about buffers and offsets
    prefix = f"{name}: " if name else ""
    if error.errno in _LOCKLESS:
        return DiskError(
            f"{prefix}there are no locks on this file system ({said})",
            expected="a file system with locks, such as that of a local disk",
            action=f"{instead or 'name a folder on another disk'}; or have it mounted with locks",
        )
    if error.errno in _FILES:
        return DiskError(
            f"{prefix}{said}",
            expected="room for some hundred open files",
            action="ulimit -n 4096, or end other programs; then run it again",
        )
    if error.errno in _MEMORY:
        return DiskError(
            f"{prefix}the system has no room for more: {said}",
            expected="memory, and room for some more processes and threads",
            action="end other programs, or raise the limits that ulimit -a shows; then run it again",
        )
    if not instead:
        return DiskError(
            f"{name or 'a file'} can't be used: {said}",
            expected="files and folders that may be read and written, on a disk that works",
            action="mend that, or name another place for it; then run it again",
        )
    return DiskError(
        f"{name} can't be written: {said}",
        expected="a writable disk with free space",
        action=f"free some space, or {instead}; then run it again",
    )


@contextmanager
def replacing(path: Path, *, instead: str = CACHE_ELSEWHERE) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is synced and takes its place at once.

    The temporary name keeps the suffix of `path`. Parent folders are made. On an error nothing
    is left behind.

    Args:
      instead: What a person can do beside freeing space.

    Raises:
      DiskError: The disk refuses.
    """
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    with disk_errors(path, instead=instead):
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
    try:
        parent = gettempdir()
    except FileNotFoundError as error:  # it has tried them all
        raise DiskError(f"no folder for temporary files: {error.strerror}", action=SCRATCH) from error
    with disk_errors(Path(parent), instead=SCRATCH):
        folder = TemporaryDirectory(prefix="fashion-tuning-", ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name)


def write_text(path: Path, text: str, *, instead: str = CACHE_ELSEWHERE) -> None:
    """Writes a text file in one step, UTF-8; as `replacing` does.

    Raises:
      DiskError: The disk refuses.
    """
    with replacing(path, instead=instead) as temporary:
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
