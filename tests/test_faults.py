"""What the machine refuses is no bug: the command ends with a code of the contract and says what to do."""

import errno
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import PROGRAM, clean_environment, run
from small_card import make_card_text

from fashion_tuning.errors import UsageError
from fashion_tuning.files import refusal
from fashion_tuning.options import cache_folder

TOO_LONG = "a" * 300  # no file system takes such a name


def test_warnings_of_libraries_end_nothing(tmp_path: Path, new_uri: Callable[[Path], str]) -> None:
    uri = new_uri(tmp_path)
    done = run("leaderboard", "small", "--tracking-uri", uri, folder=tmp_path, PYTHONWARNINGS="error")
    assert done.returncode == 2, done.stderr
    assert "no study" in done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("arguments", [("cache", "list"), ("cache", "verify"), ("data",)])
def test_a_cache_that_can_be_nowhere_is_6(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, folder=tmp_path, FASHION_TUNING_CACHE=str(tmp_path / TOO_LONG))
    assert done.returncode == 6, done.stderr
    assert "File name too long" in done.stderr
    assert "what to do" in done.stderr
    assert "a bug" not in done.stderr


def test_a_working_directory_that_was_removed_is_2(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    done = subprocess.run(
        ["sh", "-c", f"cd {folder} && rmdir {folder} && exec {' '.join(PROGRAM)} cache list"],
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "the working directory" in done.stderr


def test_links_in_a_circle_are_named(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    done = run("data", "--data", str(tmp_path / "circle"), folder=tmp_path)
    assert done.returncode in (2, 3, 6), done.stderr
    assert "circle" in done.stderr


def test_a_limit_on_open_files_is_6_and_named(tmp_path: Path) -> None:
    limited = ["sh", "-c", 'ulimit -n 8; exec "$@"', "sh", *PROGRAM]
    (tmp_path / "card.toml").write_text(make_card_text())
    done = run("tune", "card.toml", "--data", str(tmp_path), folder=tmp_path, program=limited)
    assert done.returncode == 6, done.stderr
    assert "ulimit -n" in done.stderr


def test_a_user_without_a_home_names_a_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: object) -> None:
        raise KeyError("no such user")

    for name in ("HOME", "XDG_CACHE_HOME", "FASHION_TUNING_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(UsageError, match="FASHION_TUNING_CACHE"):
        cache_folder()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOLCK, "mounted with locks"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EAGAIN, "limits"),
        (errno.ENOMEM, "limits"),
        (errno.EIO, "another place"),
        (errno.ESTALE, "another place"),
        (errno.ENAMETOOLONG, "another place"),
        (errno.ELOOP, "another place"),
    ],
)
def test_what_the_system_refuses_has_a_remedy(number: int, remedy: str) -> None:
    refused = refusal(OSError(number, "words of a library's own", "/some/file"))
    assert refused is not None
    assert refused.exit_code == 6
    assert "/some/file" in refused.received
    assert remedy in refused.action


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "refused"), TimeoutError(110, "late"), OSError("words")])
def test_a_connections_end_is_none_of_a_disk(error: OSError) -> None:
    assert refusal(error) is None
