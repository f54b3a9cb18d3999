"""A gate for what C libraries print to standard error; our own words go past it."""

from __future__ import annotations

import atexit
import fcntl
import io
import multiprocessing
import os
import re
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO

LINES_PER_MINUTE: Final = 5  # of a server
_MINUTE: Final = 60.0
_LONGEST: Final = 300  # letters of a line; what has no end is counted as lines of this length
_PIPE_BYTES: Final = 1 << 20
_SECONDS_TO_END: Final = 2.0

_turn = threading.Lock()
_users = 0
_gate: _Gate | None = None
# Where standard error leads in truth, and our own way there: never closed, since handlers of logs may keep it.
_real = -1
_own: TextIO | None = None


@contextmanager
def gated_stderr(*, lines_per_minute: int = 0) -> Iterator[None]:
    """Puts a gate before file descriptor 2, for as long as anybody is inside; `sys.stderr` goes past it.

    libtiff prints a line for each row of a damaged picture, and whoever sends it would fill a server's log. What
    doesn't come through is told in one line a minute, and at the end of the process. A writer never waits: where
    the gate can't follow, the rest is dropped.

    Args:
      lines_per_minute: How many come through; of the first one who enters.
    """
    global _users, _gate
    with _turn:
        _users += 1
        if _users == 1:
            _gate = _open(lines_per_minute)
    try:
        yield
    finally:
        with _turn:
            _users -= 1
            gate, _gate = (None, _gate) if _users else (_gate, None)
            if gate is not None:
                gate.close()


def lines_printed() -> int:
    """How many lines C libraries have printed while a gate was there, in this process."""
    return _tally.printed


def tell_held_back() -> None:
    """Tells in one line how many lines have not come through since the last time, if any."""
    _tally.sum_up()


def _open(lines_per_minute: int) -> _Gate | None:
    global _real, _own
    try:
        _real = os.dup(2) if _real < 0 else os.dup2(2, _real, inheritable=False)
    except OSError:
        return None  # closed: nothing can be printed there
    before = sys.stderr
    if before is not None and _descriptor(before) == 2:
        before.flush()
        if _own is None:
            stream = io.BufferedWriter(_Lenient(_real, "w", closefd=False))
            _own = io.TextIOWrapper(stream, before.encoding, "backslashreplace", line_buffering=True)
        sys.stderr = _own
    _tally.lines_per_minute = lines_per_minute
    return _Gate(before)


def _descriptor(stream: TextIO) -> int:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # a notebook's
        return -1


class _Lenient(io.FileIO):
    """Drops what can't be written: there is no other place to complain."""

    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


class _Tally:
    """Lines of libraries, and how many of them may still come through in this minute."""

    def __init__(self) -> None:
        self.printed = 0
        self.held_back = 0
        self.lines_per_minute = 0
        self.until = 0.0
        self._through = 0
        self._example = ""

    def count(self, line: bytes) -> None:
        """Counts a line and lets it through or not."""
        self.printed += 1
        self.begin_minute()
        text = _printable(line)
        if self._through < self.lines_per_minute:
            self._through += 1
            _write(text)
        else:
            self.held_back += 1
            self._example = self._example or text

    def begin_minute(self) -> None:
        """Tells what the last minute has held back, once it is over."""
        now = time.monotonic()
        if now >= self.until:
            if self.until:
                self.sum_up()
            self._through, self.until = 0, now + _MINUTE

    def sum_up(self) -> None:
        """Tells what has been held back so far."""
        held_back, example = self.held_back, self._example
        self.held_back, self._example = 0, ""
        if held_back:
            lines = "1 line" if held_back == 1 else f"{held_back:,} lines"
            _write(f"note: {lines} printed by libraries, not shown here, such as: {example}")


_tally = _Tally()
if multiprocessing.parent_process() is None:  # a worker reads what its parent has verified, and told of
    atexit.register(tell_held_back)


class _Gate:
    """File descriptor 2 is a pipe, and a thread reads it."""

    def __init__(self, before: TextIO | None) -> None:
        self._before = before
        self._rest = b""
        self._process = os.getpid()
        self._pipe, far_end = os.pipe()
        with suppress(OSError, AttributeError):  # it may not be allowed so much, and Linux alone knows the name
            fcntl.fcntl(far_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        # Whoever prints may hold the interpreter, which our thread needs: to wait here would be for ever.
        os.set_blocking(far_end, False)
        os.set_blocking(self._pipe, False)
        self._ending, self._end = os.pipe()
        os.dup2(far_end, 2)
        os.close(far_end)
        self._thread = threading.Thread(target=self._watch, name="stderr", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Takes the gate away."""
        if self._process != os.getpid():
            return  # of a parent, which has the thread as well
        os.dup2(_real, 2)
        if self._before is not None and sys.stderr is _own:
            sys.stderr = self._before
        os.close(self._end)
        self._thread.join(_SECONDS_TO_END)
        if not self._thread.is_alive():  # else standard error is stuck, and the thread with it
            os.close(self._pipe)
            os.close(self._ending)

    def _watch(self) -> None:
        waiting = select.poll()  # select() knows no descriptor above 1023
        waiting.register(self._pipe, select.POLLIN)
        waiting.register(self._ending, select.POLLIN)
        ended = False
        try:
            while not ended:
                seconds = max(0.0, _tally.until - time.monotonic()) if _tally.held_back else None
                ready = dict(waiting.poll(None if seconds is None else seconds * 1000 + 1))
                if ready.get(self._pipe, 0) & select.POLLIN:
                    with suppress(BlockingIOError):
                        self._take(os.read(self._pipe, _PIPE_BYTES))
                else:
                    ended = self._ending in ready
                if _tally.held_back:
                    _tally.begin_minute()
        finally:
            if not ended:
                os.dup2(_real, 2)  # nothing may be printed into a pipe that nobody reads
        if self._rest:
            _tally.count(self._rest)

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            _tally.count(line)
        while len(self._rest) > _LONGEST:
            line, self._rest = self._rest[:_LONGEST], self._rest[_LONGEST:]
            _tally.count(line)


def _printable(line: bytes) -> str:
    """A line as it may stand in a log: no picture writes there what it likes."""
    return re.sub(r"[^\x20-\x7e\xa0-\U0010ffff]", "�", line[:_LONGEST].decode("utf-8", errors="replace"))


def _write(line: str) -> None:
    encoding = _own.encoding if _own is not None else "utf-8"
    with suppress(OSError):
        os.write(_real, f"{line}\n".encode(encoding, errors="replace"))
