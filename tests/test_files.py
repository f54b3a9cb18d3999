import errno
import hashlib
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fashion_tuning.errors import DiskError
from fashion_tuning.files import disk_errors, replacing, sha256_of, write_text


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """The system refuses longer files, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_file_takes_its_place_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "card.toml"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename across disks would copy
        assert temporary.suffix == ".toml"
    assert path.read_text() == "new"
    assert names_in(path.parent) == ["card.toml"]


def test_old_content_stays_readable_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def write_and_fail(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half of the ne")
        raise error


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_error_leaves_the_old_content_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_and_fail(path, error)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["record.json"]


def test_full_disk_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_text(path, "old")
    with files_of_at_most(1000), pytest.raises(DiskError, match=r"record.*can't be written: File too large"):
        write_text(path, "new" * 1000)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["record.json"]


def test_remains_of_a_killed_process_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with replacing(path) as temporary:
        temporary.write_text("content")
    temporary.write_text("half of somethi")  # as a killed process with this number would leave it
    write_text(path, "new")
    assert path.read_text() == "new"
    assert not temporary.exists()


def test_text_is_utf8_on_every_machine(tmp_path: Path) -> None:
    write_text(tmp_path / "card.toml", "Größe ±1")
    assert (tmp_path / "card.toml").read_bytes() == "Größe ±1".encode()


def test_place_below_a_file_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    for path in (tmp_path / "cache" / "record.json", tmp_path / "cache" / "deep" / "record.json"):
        with pytest.raises(DiskError, match="cache") as caught:
            write_text(path, "text")
        assert caught.value.exit_code == 6
        assert "FASHION_TUNING_CACHE" in caught.value.action


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device is Linux's")
def test_real_lack_of_space_is_a_disk_error() -> None:
    path = Path("/dev/full")
    with pytest.raises(DiskError, match="/dev/full can't be written: No space left on device"), disk_errors(path):
        path.write_text("text")


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST]
)
def test_refusals_name_the_file_and_the_system_s_reason(number: int) -> None:
    with pytest.raises(DiskError) as caught, disk_errors(Path("/cache")):
        raise OSError(number, os.strerror(number), "/cache/record.json")
    assert f"/cache/record.json can't be written: {os.strerror(number)}" in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EINTR, errno.ECONNREFUSED])
def test_other_errors_pass_as_they_are(number: int) -> None:
    error = OSError(number, os.strerror(number))
    with pytest.raises(OSError, match=os.strerror(number)) as caught, disk_errors(Path("/cache")):
        raise error
    assert caught.value is error


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
