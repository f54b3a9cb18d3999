"""The gate before standard error, in real processes: what comes through, what is counted, and that nobody waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

START = """
import contextlib, logging, os, sys, threading, time
from fashion_tuning.stderr_gate import gated_stderr, lines_printed

def prints(number, text=b"row %d is bad\\n"):
    for each in range(number):
        with contextlib.suppress(BlockingIOError):  # where C code, which asks nothing, loses a line
            os.write(2, text % each if b"%" in text else text)

def read(number):
    until = time.monotonic() + 20
    while lines_printed() < number:
        assert time.monotonic() < until, lines_printed()
        time.sleep(0.01)
"""


def run(code: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """A process that runs the code and says on standard output what it counted."""
    command = [sys.executable, "-c", START + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, **settings)  # type: ignore[call-overload,no-any-return]


def test_a_few_lines_come_through_the_rest_is_summed_up_and_our_own_log_is_whole() -> None:
    done = run("""
        with gated_stderr(lines_per_minute=3):
            logging.basicConfig(format="%(message)s")
            for each in range(10):
                logging.warning("own %d", each)
                prints(100)
            os.system("echo from a child >&2")
            read(1001)
        print("after", file=sys.stderr)
        logging.warning("own 10")
        print(lines_printed())
    """)
    lines = done.stderr.splitlines()
    assert done.stdout == "1001\n"
    assert [line for line in lines if line.startswith("own")] == [f"own {number}" for number in range(11)]
    assert [line for line in lines if line.startswith("row")] == [f"row {number} is bad" for number in range(3)]
    assert lines[-1] == "note: 998 lines printed by libraries, not shown here, such as: row 3 is bad"
    assert len(lines) == 11 + 3 + 2


def test_gates_in_each_other_and_side_by_side_are_one() -> None:
    done = run("""
        def work():
            for _ in range(20):
                with gated_stderr():
                    prints(10)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for each in threads: each.start()
        with gated_stderr():
            with gated_stderr():
                prints(1)
            prints(1)
        for each in threads: each.join()
        assert sys.stderr is sys.__stderr__
        os.write(2, b"past\\n")
        print(lines_printed(), threading.active_count())
    """)
    assert done.stdout == "1602 1\n"
    assert done.stderr == ("past\nnote: 1,602 lines printed by libraries, not shown here, such as: row 0 is bad\n")


def test_a_picture_can_not_write_into_the_log_what_it_likes() -> None:
    done = run(r"""
        with gated_stderr(lines_per_minute=9):
            os.write(2, b"\x1b[2Jcleared\r and \xff bytes\n" + b"x" * 5000 + b"\nthe end")
    """)
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert all(len(line) <= 400 for line in done.stderr.splitlines())
    assert "[2Jcleared" in done.stderr.splitlines()[0]
    assert done.stderr.endswith("\nthe end\n")


@pytest.mark.parametrize("target", ["/dev/full", "closed", "a pipe that nobody reads", "a pipe without a reader"])
def test_whoever_prints_never_waits(target: str) -> None:
    reader, writer = os.pipe()
    if target == "a pipe without a reader":
        os.close(reader)
    if target == "/dev/full":
        os.dup2(os.open(target, os.O_WRONLY), writer)
    code = """
        with gated_stderr(lines_per_minute=10**9):
            prints(200, b"y" * 9999 + b"\\n")
            print("done", flush=True)
        os._exit(0)
    """
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh"] if target == "closed" else []
    done = subprocess.run(
        [*shell, sys.executable, "-c", START + textwrap.dedent(code)],
        stdout=subprocess.PIPE, stderr=writer, timeout=30, check=False,
    )  # fmt: skip
    if target != "closed":  # then the operating system refuses each write, as it ever did
        assert (done.stdout, done.returncode) == (b"done\n", 0)


def test_without_its_thread_everything_comes_through() -> None:
    done = run("""
        import fashion_tuning.stderr_gate as gate
        def broken(self, data): raise RuntimeError("the thread dies")
        gate._Gate._take = broken
        threading.excepthook = lambda _: None
        with gated_stderr():
            prints(1)
            for thread in threading.enumerate():
                if thread.name == "stderr": thread.join(10)
            os.write(2, b"still here\\n")
    """)
    assert done.stderr == "still here\n"


def test_a_signal_ends_the_process_as_ever() -> None:
    code = START + "with gated_stderr():\n prints(5); read(5); print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM


def test_who_has_replaced_standard_error_keeps_it() -> None:
    done = run("""
        import io
        sys.stderr = mine = io.StringIO()
        with gated_stderr():
            print("into mine", file=sys.stderr)
            prints(1)
        assert sys.stderr is mine and mine.getvalue() == "into mine\\n"
    """)
    assert done.stderr.startswith("note: 1 line printed by libraries")
