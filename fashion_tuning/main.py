"""Runs the command line and ends the process: exit codes, interrupts, words for what went wrong."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import typer

from fashion_tuning.cli import app
from fashion_tuning.errors import DiskError, FashionTuningError
from fashion_tuning.files import refusal
from fashion_tuning.masking import mask, mask_error
from fashion_tuning.quiet import ignore_warnings
from fashion_tuning.streams import ReaderGoneError, drop_output, guard_streams, refused_output

INTERRUPTED = 130
SECONDS_TO_END = 4.5  # after an interrupt, whatever is in hand
# What Python's threads, the loader of shared libraries and C++ say, each in an exception of its own.
_NO_ROOM = ("can't start new thread", "failed to map segment", "out of memory", "Cannot allocate memory")


def main() -> NoReturn:
    """Runs the command line and exits with the code that the contract names."""
    guard_streams(for_reader=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its start-up lines are no news to a person
    os.environ["MPLBACKEND"] = "agg"  # figures go to files, whatever a notebook nearby is set up for
    ignore_warnings()
    # What libraries log, and what ends a thread, may name an address with its password.
    logging.setLogRecordFactory(_MaskedRecord)
    threading.excepthook = lambda died: _print_masked(died.exc_value)
    with _interruptible():
        code = _run() if _has_working_directory() else 2
        if code == INTERRUPTED:
            os._exit(code)  # what had to be closed is closed; Python's own end may take longer than a person waits
    sys.exit(code)


def _run() -> int:
    try:
        # standalone_mode off: click would print and exit by itself, with codes of its own.
        code = typer.main.get_command(app)(prog_name="fashion-tuning", standalone_mode=False)
        if code == INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            raise KeyboardInterrupt
        sys.stdout.flush()
        if (refusal := refused_output()) is not None:
            raise DiskError(
                f"some of what was printed is lost: {refusal.strerror}",
                expected="standard output that can be written; all else is done",
                action="send it elsewhere: the same command prints it again",
            )
    except FashionTuningError as error:
        return _complain(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__context__, EOFError):  # typer takes a file that ends too soon for a closed prompt
            return _complain_of_bug(error.__context__)
        return _complain(_how_to_go_on(), INTERRUPTED)
    except typer.TyperException as error:
        text = error.format_message()
        if text.startswith("Usage:"):  # no command was named: its help is the answer
            print(text, file=sys.stderr)
            return 2
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "fashion-tuning"
        return _complain(f"{text}\nwhat to do: {command} --help shows what there is", 2)
    except ReaderGoneError:
        drop_output()  # Python's own flush at exit must not complain
        return 141
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and isinstance(error.__context__, OSError):
            error = error.__context__  # typer ends silently at any broken pipe; standard output's is met above
        return _complain_of_bug(error)
    return code if isinstance(code, int) else 0


def _complain_of_bug(error: BaseException) -> int:
    """Say what nothing else had words for: the machine's refusal wherever it was met, or a bug."""
    if os.environ.get("FASHION_TUNING_DEBUG"):
        _print_masked(error)
    if (refused := _refusal(error)) is not None:
        return _complain(str(refused), refused.exit_code)
    return _complain(f"a bug: {type(error).__name__}: {error}\nrun it again with: fashion-tuning --debug ...", 70)


def _has_working_directory() -> bool:
    """Whether the folder that the program was started in is there; says so where it was removed."""
    try:
        Path.cwd()
    except OSError as error:
        _complain(f"the working directory: {error.strerror}\nwhat to do: go to a folder that is there", 2)
        return False
    return True


def _refusal(error: BaseException) -> DiskError | None:
    """What the machine refused, in whatever library that was met; None for a bug."""
    if isinstance(error, OSError):
        return refusal(error)
    if str(error).startswith("Symlink loop"):  # pathlib's
        return refusal(OSError(errno.ELOOP, "", str(error).partition(" from ")[2].strip("'")))
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_ROOM):
        return refusal(OSError(errno.ENOMEM, ""))
    return None


def _complain(text: str, code: int) -> int:
    print(f"fashion-tuning: {mask(text)}", file=sys.stderr)
    return code


class _MaskedRecord(logging.LogRecord):
    def getMessage(self) -> str:
        if self.exc_info and self.exc_info[1]:
            mask_error(self.exc_info[1])
        return mask(super().getMessage())


def _print_masked(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        print(mask("".join(traceback.format_exception(error))), end="", file=sys.stderr)


def _how_to_go_on() -> str:
    # --fresh once more would begin one more generation.
    command = "the same command without --fresh" if "--fresh" in sys.argv else "the same command"
    return f"interrupted; {command} goes on where it stopped"


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP do what Ctrl-C does: what is written just now is finished, and the end comes within seconds.

    SIGHUP is what a terminal that is closed sends; nohup, which ignores it, goes on doing so.
    """

    def interrupt(*_: object) -> None:
        # Once: closing what is open takes a moment, and must not be cut short itself.
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_END)
        raise KeyboardInterrupt

    def end(*_: object) -> None:
        with suppress(OSError):  # the terminal may be gone
            os.write(2, f"fashion-tuning: {_how_to_go_on()}\n".encode())
        os._exit(INTERRUPTED)  # the workers follow

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, interrupt)
    signal.signal(signal.SIGALRM, end)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # of a command that a signal is the regular end of
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # all is done, and the exit code is that of what was done
