"""Where work runs: warm child processes, so that memory and crashes stay out of the study."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fashion_tuning.backend import choose_backend
from fashion_tuning.errors import DiskError, FashionTuningError
from fashion_tuning.quiet import ignore_warnings, silent_stderr
from fashion_tuning.streams import guard_streams
from fashion_tuning.surroundings import clear_surroundings

# These reach the whole process group; the coordinator decides what they mean.
_FOR_COORDINATOR = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Output:
    """One value that the work yielded."""

    value: Any


@dataclass(frozen=True)
class Done:
    """The work came to its end."""


@dataclass(frozen=True)
class Failed:
    """The work raised, or its process died.

    `kind` is a short type such as "diverged" or "worker_died"; `died` says that the process
    is gone, so that the same work may well succeed in another; `error` is set where a person has
    to act before anything can go on.
    """

    kind: str
    message: str
    died: bool = False
    error: FashionTuningError | None = None


Message = Output | Done | Failed
Work = Callable[..., Iterator[Any]]


class Worker:
    """A child process that runs one piece of work at a time and stays warm in between.

    Work is a generator function that a child can import; its arguments and what it yields
    must pickle.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        self._connection, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end,), daemon=True, name="fashion-tuning worker")
        # A child that is only just beginning would end by them, with words of its own; it takes them over blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_COORDINATOR)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        far_end.close()
        self.busy = False

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def submit(self, work: Work, *arguments: Any, **keywords: Any) -> None:
        """Begins a piece of work; a worker whose process has died is started again first.

        Raises:
          DiskError: No process can be started.
        """
        if self.busy:
            raise RuntimeError("the worker is busy: receive until Done or Failed first")
        if not self._process.is_alive():
            self.close()
            self._start()
        try:
            self._connection.send((work, arguments, keywords))
        except (BrokenPipeError, ConnectionError):
            # It died between the look and the send; a fresh one has not seen this work yet.
            self.close()
            self._start()
            try:
                self._connection.send((work, arguments, keywords))
            except (BrokenPipeError, ConnectionError) as error:
                self._process.join(timeout=5)
                raise _cannot_work(self._obituary()) from error
        self.busy = True
        self._kernel_kills = _kernel_kills()

    def receive(self) -> Message:
        """Waits for the next message of the work in hand."""
        try:
            message: Message = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(timeout=5)
            message = self._obituary()
        if not isinstance(message, Output):
            self.busy = False
        return message

    def run(self, work: Work, *arguments: Any, **keywords: Any) -> Iterator[Any]:
        """Runs a piece of work to its end and yields what it yields.

        Raises:
          FashionTuningError: What the work raised.
          DiskError: Its process died.
        """
        self.submit(work, *arguments, **keywords)
        while True:
            message = self.receive()
            if isinstance(message, Done):
                return
            if isinstance(message, Failed):
                raise message.error or _cannot_work(message)
            yield message.value

    def close(self) -> None:
        """Ends the process, whatever it is doing; the next `submit` starts another."""
        self.busy = False
        self._connection.close()
        # Not terminated: it ignores that, see _serve; whatever it writes can be cut short anywhere.
        self._process.kill()
        self._process.join()

    def _obituary(self) -> Failed:
        code = self._process.exitcode
        if code is None or code >= 0:
            return Failed("worker_died", f"the worker process ended with exit code {code}", died=True)
        name = signal.Signals(-code).name
        if code == -signal.SIGKILL and _kernel_kills() > self._kernel_kills:
            return Failed("out_of_memory", f"the kernel ended the worker process ({name}): out of memory", died=True)
        return Failed("worker_died", f"the worker process was ended by {name}", died=True)


def _cannot_work(message: Failed) -> FashionTuningError:
    """For a person: what is no trial's is not tried again by itself."""
    if not message.died:
        return FashionTuningError(f"{message.kind}: {message.message}")
    return DiskError(
        f"{message.kind}: {message.message}",
        expected="a process that may start and has some GiB of memory",
        action="end other programs, or raise the limits that ulimit -a shows; then type the same command again",
    )


def ready(workers: list[Worker], *, timeout: float | None = None) -> list[Worker]:
    """Those busy workers that have something to say, waiting for the first one."""
    by_connection = {worker.connection: worker for worker in workers if worker.busy}
    return [by_connection[connection] for connection in wait(list(by_connection), timeout)]  # type: ignore[index]


def _serve(connection: Connection) -> None:
    ignore_warnings()
    for number in _FOR_COORDINATOR:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_COORDINATOR)
    guard_streams(for_reader=False)
    threading.Thread(target=_follow_parent, daemon=True, name="parent").start()
    # Logs of the libraries go where errors go, never between a command's results.
    os.dup2(2, 1)
    clear_surroundings(choose_backend())
    with silent_stderr():
        from fashion_tuning.model import engine  # the slow import, while the coordinator still prepares

        engine.prepare()
    while True:
        try:
            work, arguments, keywords = connection.recv()
        except (EOFError, OSError):
            return
        try:
            for value in work(*arguments, **keywords):
                connection.send(Output(value))
            message: Message = Done()
        except (BrokenPipeError, ConnectionResetError):
            return  # the coordinator is gone
        except Exception as error:
            message = _explain(error)
        try:
            connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            return


def _follow_parent() -> None:
    """Ends this process as soon as the coordinator's is gone, in the middle of whatever it computes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _explain(error: Exception) -> Failed:
    if isinstance(error, FashionTuningError):
        return Failed(type(error).__name__, str(error), error=error)
    kind = "diverged" if type(error).__name__ == "DivergedError" else "exception"
    # TensorFlow has an error of its own for it, PyTorch one for a GPU and mere words for a processor.
    wants_memory = type(error).__name__ in ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
    if wants_memory or "DefaultCPUAllocator" in str(error):
        kind = "out_of_memory"
    where = traceback.extract_tb(error.__traceback__)[-1]
    message = (
        str(error) if kind == "diverged" else f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
    )
    return Failed(kind, message)


def _kernel_kills() -> int:
    """How often the kernel has ended a process for want of memory since it started; 0 where it doesn't say."""
    try:
        counters = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(counters.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0
