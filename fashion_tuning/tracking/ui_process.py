"""MLflow's UI as a process that ends with the one that has started it; that one holds the other end of its stdin."""

import os
import runpy
import signal
import sys
import threading
import time

SECONDS_TO_END = 2.0


def run_ui() -> None:
    """Does what `python -m mlflow` does with the arguments of this process."""
    threading.Thread(target=_follow_parent, daemon=True, name="parent").start()
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)


def _follow_parent() -> None:
    sys.stdin.buffer.read()  # nobody writes: it ends as the parent does, whatever ends that
    os.killpg(0, signal.SIGTERM)
    time.sleep(SECONDS_TO_END)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    run_ui()
