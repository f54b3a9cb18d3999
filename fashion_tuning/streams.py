"""The three standard streams: there from the start, able to show any text, and never the end of the work."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_NAMES: Final = {0: "stdin", 1: "stdout", 2: "stderr"}

_results: _Stream | None = None


class ReaderGoneError(BaseException):
    """Whoever read standard output has gone, as with `| head`: like an interrupt, for no handler of errors."""


class _Stream(io.BufferedWriter):
    """The bytes of standard output or error; refusals don't reach whoever prints: what can't be written is dropped.

    Args:
      for_reader: Once the reader of a pipe has gone, nothing that is still to come is of use to anybody.
    """

    def __init__(self, descriptor: int, *, for_reader: bool) -> None:
        os.set_blocking(descriptor, True)  # another program on the same pipe may have had it otherwise
        super().__init__(io.FileIO(descriptor, "w", closefd=False))
        self.for_reader = for_reader
        self.refusal: OSError | None = None

    def write(self, data: Any, /) -> int:
        with self._refusals():
            super().write(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        with self._refusals():
            super().flush()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            if self.for_reader:
                raise ReaderGoneError from None
        except OSError as error:
            if error.errno != errno.EIO:  # that is a terminal that was closed, which a signal tells as well
                self.refusal = self.refusal or error


def open_missing() -> None:
    """Opens the null device where one of the file descriptors 0, 1 and 2 is closed.

    Otherwise the next file to be opened, such as a database, would take that number, and get what is printed.
    """
    for descriptor in _NAMES:
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free


def guard_streams(*, for_reader: bool) -> None:
    """Replaces the standard streams by ones that can be printed to whatever happens; before anything else is opened.

    Characters that their encoding lacks are replaced, lines are written as they come, and errors are dropped.

    Args:
      for_reader: Raise ReaderGoneError where standard output is a pipe without a reader; see `refused_output` too.
    """
    global _results
    open_missing()
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    for descriptor in (1, 2):
        name = _NAMES[descriptor]
        before = getattr(sys, name)
        encoding = before.encoding if before is not None else "utf-8"
        stream = _Stream(descriptor, for_reader=for_reader and descriptor == 1)
        text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", line_buffering=True)
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)  # absl's log closes a stream that is neither, once another takes its place
        if descriptor == 1:
            _results = stream


def refused_output() -> OSError | None:
    """Why some of what was printed to standard output is lost, such as a full disk; None where all was taken."""
    return _results.refusal if _results is not None else None


def drop_output() -> None:
    """From now on nothing tells that the reader of standard output has gone."""
    if _results is not None:
        _results.for_reader = False
