"""Silence for libraries that talk at start."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fashion_tuning.streams import open_missing

_kept: list[int] = []  # what file descriptor 2 is in truth, while it is silent


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Drops what is written to file descriptor 2 meanwhile, by C++ code too.

    For imports only: TensorFlow prints before it reads its own log level. An exception passes
    through and is shown as ever.
    """
    open_missing()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    _kept.append(saved)
    try:
        yield
    finally:
        _kept.pop()
        os.dup2(saved, 2)
        os.close(saved)


def ignore_warnings() -> None:
    """Keeps libraries' warnings from this process's terminal, and from ending it or its children.

    PYTHONWARNINGS=error is for those who develop; a library that warns would end a study with it.
    """
    os.environ.pop("PYTHONWARNINGS", None)
    sys.warnoptions.clear()  # what multiprocessing hands on
    warnings.simplefilter("ignore")
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)  # such as of its own cache folder


def tell(text: str) -> None:
    """A line on standard error, in the midst of a silence too."""
    if not _kept:
        sys.stderr.write(f"{text}\n")
        return
    with suppress(OSError, IndexError):  # the silence may just end
        os.write(_kept[0], f"{text}\n".encode(sys.stderr.encoding, errors="replace"))
