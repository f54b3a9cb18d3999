"""The process around the application: its socket, its patience with slow clients, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from fashion_tuning.service.limits import Limits
from fashion_tuning.service.problems import MEDIA_TYPE, ProblemError

SECONDS_TO_DRAIN = 7  # for requests in hand, after a signal
SECONDS_TO_END = 9.0  # whatever happens
KEEP_ALIVE_SECONDS = 15
CONNECTIONS = 512  # the usual limit of open files is 1024


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run_server(app: ASGIApp, listening: socket.socket, *, limits: Limits, started: Callable[[], None]) -> None:
    """Serves until SIGTERM, SIGHUP or Ctrl-C, then answers what is in hand and returns, within 10 s.

    Args:
      started: Called when connections are taken.
    """
    config = uvicorn.Config(
        app,
        http=_protocol(limits.header_seconds),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SECONDS_TO_DRAIN,
        limit_concurrency=CONNECTIONS,
    )
    _Server(config, started).run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's, but a signal is the regular end of it, and that end comes in time."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which nohup wants
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield  # uvicorn's own raises the signal once more here
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            # By the kernel's own clock: a thread of ours would wait for whoever holds the interpreter just then.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_END)
        super().handle_exit(sig, frame)


def _protocol(header_seconds: float) -> type[H11Protocol]:
    """uvicorn's HTTP, with an end to waiting for a request's headers, which it has not."""

    class Patient(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_waiting()
            elif self._waiting is None:
                self._wait()  # the beginning of another request's headers

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self._problem(ProblemError("malformed", msg))

        def _wait(self) -> None:
            self._waiting = self.loop.call_later(header_seconds, self._too_slow)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _too_slow(self) -> None:
            if not self.transport.is_closing():
                self._problem(ProblemError("slow-upload", f"no headers within {header_seconds:g} s"))

        def _problem(self, error: ProblemError) -> None:
            """Past the application, which has not seen the request; bytes, since h11 is in no state to send any."""
            body = json.dumps(error.body("")).encode()
            head = f"HTTP/1.1 {error.status} \r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
            self.transport.close()

    return Patient
