"""SIGINT, SIGTERM and SIGHUP to any command: exit 130 in time, with or without a terminal; nohup is heeded."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import clean_environment, close_terminal

LONG = """
import time
from fashion_tuning.cli import app
from fashion_tuning.main import main
@app.command()
def work(seconds: float) -> None:
    try:
        print("begun", flush=True)
        time.sleep(seconds)
    finally:
        print("closed what was open", flush=True)
main()
"""


SLOW_END = """
import atexit
from fashion_tuning import main as ending
ending.SECONDS_TO_END = 0.2
atexit.register(time.sleep, 0.6)
"""


def program(seconds: float) -> list[str]:
    return [sys.executable, "-c", LONG, "work", f"{seconds}"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_answered_with_130(number: int, tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(program(60), env=clean_environment(tmp_path), stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.stdout.read() == "closed what was open\n"
        assert process.stderr.read() == "fashion-tuning: interrupted; the same command goes on where it stopped\n"
    assert process.returncode == 130


def end_regularly(command: list[str], number: int, folder: Path) -> None:
    """Sends a signal to a command that has begun; it comes to its own end."""
    with subprocess.Popen(command, env=clean_environment(folder), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.stdout.read() == "closed what was open\n"
    assert process.returncode == 0


def test_a_command_that_ends_regularly_by_a_signal_has_all_its_time(tmp_path: Path) -> None:
    code = LONG.replace("finally:", "except KeyboardInterrupt:").replace("main()", f"{SLOW_END}main()")
    end_regularly([sys.executable, "-c", code, "work", "60"], signal.SIGTERM, tmp_path)


def test_nohup_is_heeded(tmp_path: Path) -> None:
    end_regularly(["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *program(0.5)], signal.SIGHUP, tmp_path)


def test_a_terminal_that_is_closed_ends_what_runs_in_it(tmp_path: Path) -> None:
    process = close_terminal(program(60), folder=tmp_path, until=b"begun")
    assert process.wait(timeout=10) == 130


WITH_A_WORKER = """
import time
from fashion_tuning.main import _interruptible
from fashion_tuning.study.executors import Worker
if __name__ == "__main__":
    with _interruptible():
        print(Worker().pid, flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_worker_that_is_just_beginning_leaves_a_signal_to_the_coordinator(number: int, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(WITH_A_WORKER)
    with subprocess.Popen(
        [sys.executable, script],
        env=clean_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        worker = int(process.stdout.readline())
        os.killpg(process.pid, number)
        errors = process.stderr.read()
    assert errors.count("Traceback") == 1  # the coordinator's own, which main.py words
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
