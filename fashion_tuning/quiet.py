"""Silence for libraries that talk at start."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Drops what is written to file descriptor 2 meanwhile, by C++ code too.

    For imports only: TensorFlow prints before it reads its own log level. An exception passes
    through and is shown as ever.
    """
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def ignore_warnings() -> None:
    """Keeps libraries' warnings from this process's terminal, and from ending it or its children.

    PYTHONWARNINGS=error is for those who develop; a library that warns would end a study with it.
    """
    os.environ.pop("PYTHONWARNINGS", None)
    sys.warnoptions.clear()  # what multiprocessing hands on
    warnings.simplefilter("ignore")
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)  # such as of its own cache folder
