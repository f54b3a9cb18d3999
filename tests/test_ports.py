"""A port to listen at: taken, not allowed, not here, and what is told then."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import PROJECT

from fashion_tuning.errors import UsageError
from fashion_tuning.ports import listen

COMMAND = "fashion-tuning serve"
AS_NOBODY = """
import encodings.idna, os, psutil  # read by root, whose files they may be
from fashion_tuning.ports import UsageError, listen
os.setuid(65534)
try:
    listen("127.0.0.1", 80, command="fashion-tuning serve")
except UsageError as error:
    print(error)
"""


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_any_free_port_is_one_that_listens() -> None:
    with listen("127.0.0.1", 0, command=COMMAND) as listening:
        assert listening.getsockname()[1] > 0
        socket.create_connection(listening.getsockname()).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_port_that_is_taken_is_told_with_one_that_is_free(host: str, taken: int) -> None:
    with pytest.raises(UsageError) as caught:
        listen(host, taken, command=COMMAND)
    assert re.match(rf"port {taken} is taken(, by .* \(process {os.getpid()}\))?\n", str(caught.value))
    free = re.search(r"fashion-tuning serve --port (\d+)$", str(caught.value))
    assert free is not None
    listen(host, int(free[1]), command=COMMAND).close()


@pytest.mark.parametrize("host", ["192.0.2.1", "nix.invalid", "x" * 80, ""])
def test_an_address_that_is_not_here_is_named(host: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(host))) as caught:
        listen(host, 0, command=COMMAND)
    assert "fashion-tuning serve --host 127.0.0.1" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_port_of_the_system_is_told_with_one_for_anybody() -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("any port is for anybody here")
    done = subprocess.run([sys.executable, "-c", AS_NOBODY], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert "port 80 is for the system alone" in done.stdout, done.stderr
    assert re.search(r"--port 80\d\d$", done.stdout.strip())
