"""Locks: who holds one is told, and where there can be none that is an error at once."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fashion_tuning import locks
from fashion_tuning.errors import DiskError, StoreError
from fashion_tuning.locks import holder, locked, try_lock

HOLDING = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of tmp_path/lock until its input ends."""
    command = [sys.executable, "-c", HOLDING, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_holds_a_lock_is_told_and_it_is_waited_for(
    held: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "QUIET_SECONDS", 0.2)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        assert held.stdin is not None
        held.stdin.close()  # now it ends

    with locked(tmp_path / "lock", tell=tell), try_lock(tmp_path / "lock") as again:
        assert not again
    # A container may hide which one it is.
    assert told in (
        [f"waiting for {who}, which holds {tmp_path / 'lock'} locked"]
        for who in (f"process {held.pid}", "another process")
    )


def test_a_lock_is_waited_for_in_vain(held: subprocess.Popen[str], tmp_path: Path) -> None:
    told: list[str] = []
    with (
        pytest.raises(StoreError, match=r"holds .*lock locked"),
        locked(tmp_path / "lock", seconds=0.1, tell=told.append, error=StoreError),
    ):
        pass
    assert holder(tmp_path / "lock") in (f"process {held.pid}", "another process")


def test_a_lock_that_is_free_is_had_at_once_and_its_folders_are_made(tmp_path: Path) -> None:
    told: list[str] = []
    with locked(tmp_path / "a" / "b" / "lock", tell=told.append):
        pass
    assert told == []
    assert holder(tmp_path / "a" / "b" / "lock") == "another process"  # nobody


@pytest.mark.parametrize("path", ["/proc/lock", "/proc/folder/lock", "/dev/null/lock"])
def test_where_nothing_can_be_made_is_no_wait(path: str) -> None:
    started = time.monotonic()
    with pytest.raises(DiskError, match=f"{Path(path).parent}"), locked(Path(path)):
        pass
    assert time.monotonic() - started < locks.QUIET_SECONDS


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_stands_in_a_locks_place_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.mkdir() if kind == "folder" else path.symlink_to("lock")
    with pytest.raises(DiskError, match="lock can't be written"), locked(path):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DiskError) as caught, locked(tmp_path / "lock", instead="name another"):
        pass
    assert "no locks on this file system" in str(caught.value)
    assert "what to do: name another; or have it mounted with locks" in str(caught.value)
