"""A port to listen at: had before anything slow is started, or a free one named."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

from fashion_tuning.errors import UsageError


def listen(host: str, port: int, *, command: str) -> socket.socket:
    """A socket that listens there; port 0: any that is free.

    Args:
      command: What can be typed with another port, such as "fashion-tuning serve".

    Raises:
      UsageError: It is taken, not allowed, or no address of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except (OSError, UnicodeError) as error:  # the latter of names that are too long
        raise _not_here(host, command, error) from error
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise _not_here(host, command, error) from error
        taken = error.errno == errno.EADDRINUSE
        received = f"port {port} is taken{_listener(port)}" if taken else f"port {port} is for the system alone"
        raise UsageError(
            received,
            expected="a port that is free" if taken else "a port that anybody may listen at, from 1024 on",
            action=f"{command} --port {_free_port(host, family, beyond=port if taken else 8000 - 1)}",
        ) from error


def _not_here(host: str, command: str, error: Exception) -> UsageError:
    reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]  # create_server says where
    return UsageError(
        f"{host!r} can't be listened at: {reason}",
        expected="an address of this machine, or 0.0.0.0 for all of them",
        action=f"{command} --host 127.0.0.1",
    )


def _free_port(host: str, family: socket.AddressFamily, *, beyond: int) -> int:
    """The first free one of the next ports, else any."""
    for port in (*range(beyond + 1, min(beyond + 20, 65536)), 0):
        with suppress(OSError), socket.create_server((host, port), family=family) as listening:
            free_port: int = listening.getsockname()[1]
            return free_port
    return 0


def _listener(port: int) -> str:
    """Such as ", by mlflow (process 1234)"; "" where the system doesn't say."""
    import psutil

    with suppress(psutil.Error, OSError, RuntimeError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f", by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""
