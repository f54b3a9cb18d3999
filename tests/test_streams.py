"""Standard streams that are closed, full, gone, or of an encoding that lacks what is shown: nothing ends by a print."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import PROGRAM, PROJECT, clean_environment
from PIL import Image

TEXT = "0.8319 ± 0.0198 · tröja 裙子 \udce9"


def script(body: str, *, for_reader: bool = True) -> list[str]:
    """A Python program whose streams are guarded."""
    start = f"import os, sys\nfrom fashion_tuning.streams import *\nguard_streams(for_reader={for_reader})\n"
    return [sys.executable, "-c", start + body]


def in_shell(redirection: str, command: list[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs a command with its streams as a shell puts them."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
        cwd=folder,
        env=clean_environment(folder, **settings),
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_file_is_never_what_is_printed_to(closed: str, tmp_path: Path) -> None:
    body = (
        f"with open('database', 'w') as file:\n print({TEXT!r})\n print({TEXT!r}, file=sys.stderr)\n"
        " os.write(1, b'C code'); os.write(2, b'C code')\n file.write('kept')\nassert sys.stdin.read() == ''"
    )
    done = in_shell(closed, script(body), tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "database").read_text() == "kept"


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_commands_work_without_streams(closed: str, tmp_path: Path) -> None:
    assert in_shell(closed, [*PROGRAM, "cache", "list"], tmp_path).returncode == 0
    assert in_shell(closed, [*PROGRAM, "nix"], tmp_path).returncode == 2


def test_children_have_streams_as_well(tmp_path: Path) -> None:
    body = (
        "import subprocess\nfrom fashion_tuning.quiet import silent_stderr\nwith silent_stderr(): pass\n"
        "code = 'import os; [os.fstat(n) for n in range(3)]'\n"
        "sys.exit(subprocess.run([sys.executable, '-c', code]).returncode)"
    )
    assert in_shell("<&- >&- 2>&-", script(body), tmp_path).returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
def test_what_an_encoding_lacks_is_replaced(encoding: str, tmp_path: Path) -> None:
    done = subprocess.run(
        script(f"print({TEXT!r}); print({TEXT!r}, file=sys.stderr)"),
        env=clean_environment(tmp_path, PYTHONIOENCODING=encoding),
        capture_output=True,
        timeout=60,
        check=True,
    )
    for written in (done.stdout, done.stderr):
        assert written.decode(encoding) == f"{TEXT}\n".encode(encoding, errors="replace").decode(encoding)


@pytest.mark.parametrize(
    "settings", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_photos_are_listed_in_any_locale(settings: dict[str, str], tmp_path: Path) -> None:
    for number in range(20):
        for label in ("hat", "tröja"):
            path = tmp_path / "photos" / label / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 50), (number * 9, 99, 9 if label == "hat" else 200)).save(path)
    if "LC_ALL" in settings:
        (tmp_path / "photos" / "tröja").rename(tmp_path / "photos" / "shirt")
    done = in_shell("", [*PROGRAM, "data", "--data", "photos"], tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    assert "hat" in done.stdout
    assert ("tr?ja" in done.stdout) == ("LC_ALL" not in settings)


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["table", "json"])
def test_a_full_device_is_told_at_the_end(option: list[str], tmp_path: Path) -> None:
    done = in_shell("> /dev/full", [*PROGRAM, "cache", "list", *option], tmp_path)
    assert done.returncode == 6
    assert done.stderr.startswith("fashion-tuning: some of what was printed is lost: No space left on device\n")
    assert len(done.stderr.splitlines()) == 3


def test_work_goes_on_while_a_full_device_takes_nothing(tmp_path: Path) -> None:
    done = in_shell("> /dev/full", script("print('x' * 100_000)\nprint('y')\nopen('done', 'w').close()"), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "done").exists()


def test_help_is_for_any_encoding_and_device(tmp_path: Path) -> None:
    done = in_shell("> /dev/full", [*PROGRAM, "--help"], tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, len(done.stderr.splitlines())) == (6, 3)


def test_words_that_nobody_takes_change_no_exit_code(tmp_path: Path) -> None:
    assert in_shell("2> /dev/full", [*PROGRAM, "nix"], tmp_path).returncode == 2
    with subprocess.Popen([*PROGRAM, "nix"], env=clean_environment(tmp_path), stderr=subprocess.PIPE) as program:
        assert program.stderr is not None
        program.stderr.close()
    assert program.returncode == 2


def test_a_worker_is_not_ended_by_a_reader_that_has_gone(tmp_path: Path) -> None:
    command = script("for _ in range(3): print('x' * 10_000)\nopen('done', 'w').close()", for_reader=False)
    with subprocess.Popen(command, cwd=tmp_path, env=clean_environment(tmp_path), stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.close()
    assert program.returncode == 0
    assert (tmp_path / "done").exists()


def test_a_pipe_that_does_not_block_gets_everything(tmp_path: Path) -> None:
    far_end, near_end = os.pipe()
    os.set_blocking(near_end, False)
    body = "for number in range(20_000): print(f'{number:020}')"
    with subprocess.Popen(script(body), env=clean_environment(tmp_path), stdout=near_end) as program:
        os.close(near_end)
        time.sleep(0.3)  # the pipe is full by now
        with os.fdopen(far_end) as pipe:
            assert pipe.read().split() == [f"{number:020}" for number in range(20_000)]
    assert program.returncode == 0


def test_a_terminal_that_was_closed_ends_nothing(tmp_path: Path) -> None:
    far_end, near_end = pty.openpty()
    body = "sys.stdin.readline()\nprint('x')\nprint('y', file=sys.stderr)\nopen('done', 'w').close()"
    environment = clean_environment(tmp_path)
    with subprocess.Popen(
        script(body), cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=near_end, stderr=near_end
    ) as program:
        os.close(near_end)
        os.close(far_end)
        assert program.stdin is not None
        program.stdin.close()
    assert program.returncode == 0
    assert (tmp_path / "done").exists()


def test_lines_of_a_log_stand_there_as_they_come(tmp_path: Path) -> None:
    body = "print('one')\nassert open('log').read() == 'one\\n'"
    assert in_shell("> log", script(body), tmp_path).returncode == 0


def test_the_program_is_the_projects(tmp_path: Path) -> None:
    done = in_shell("", script("import fashion_tuning\nprint(fashion_tuning.__file__)"), tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(PROJECT)
