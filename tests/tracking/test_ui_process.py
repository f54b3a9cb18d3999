"""`ui` as a real process: it ends as MLflow's does, and MLflow's as it does, whatever ends it."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from command_line import PROGRAM, clean_environment

pytestmark = [pytest.mark.slow]


@contextmanager
def started(folder: Path, uri: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`ui` once it has said where it will be, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with subprocess.Popen(
        [*PROGRAM, "ui", "--port", str(port), "--tracking-uri", uri],
        cwd=folder,
        env=clean_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"MLflow UI: http://127.0.0.1:{port}")
            yield process, port
        finally:
            process.kill()


def wait_until_it_answers(port: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGHUP, 0)])
def test_nothing_of_it_is_left(number: int, code: int, tmp_path: Path, new_uri: Callable[[Path], str]) -> None:
    with started(tmp_path, new_uri(tmp_path)) as (process, port):
        wait_until_it_answers(port)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(number)
        assert process.wait(timeout=5) == code
        assert psutil.wait_procs(children, timeout=10)[1] == []


def test_a_port_that_is_taken_meanwhile_is_told_as_well(tmp_path: Path, new_uri: Callable[[Path], str]) -> None:
    with started(tmp_path, new_uri(tmp_path)) as (process, port), socket.create_server(("127.0.0.1", port)):
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(timeout=5) == 2
    assert f"fashion-tuning: port {port} is taken" in errors
