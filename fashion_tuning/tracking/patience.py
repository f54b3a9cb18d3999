"""Waiting for a tracking store that is locked, away or overloaded, and being interrupted meanwhile."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_exponential

from fashion_tuning.errors import StoreError
from fashion_tuning.masking import mask_error
from fashion_tuning.tracking.failures import FAILURES, explained, passes
from fashion_tuning.wording import duration

FINISHING = 2.0  # seconds that writes in hand have to end in when a person interrupts
_QUIET = 2.0  # seconds of waiting that are no news

T = TypeVar("T")


class Patience:
    """How a store is asked: one exchange at a time, again while it can't answer.

    Each exchange runs in a thread of its own. An interrupt reaches the waiting main thread at
    once, and the write in hand still comes to its end.

    Args:
      uri: The store, for what is told of it.
      seconds: How long to wait for it.
      tell: Given a line when the waiting begins and when it ends.
    """

    def __init__(self, uri: str, *, seconds: float, tell: Callable[[str], None]) -> None:
        self.seconds = seconds
        self.seconds_waited = 0.0
        self._answered = False
        self._uri = uri
        self._tell = tell
        self._deadline: float | None = None
        self._turn = threading.Lock()

    def hurry(self, seconds: float = FINISHING) -> None:
        """From now on nothing is waited for, and all that is left must end within `seconds`."""
        self.seconds = 0.0
        self._deadline = self._deadline or time.monotonic() + seconds

    def run(self, operation: Callable[[], T], *, seconds: float | None = None) -> T:
        """One exchange; `seconds` to wait take the place of the usual ones where they are fewer.

        Raises:
          StoreError: The store refuses, or was waited for in vain.
          DiskError: The disk below it refuses.
        """
        patience = self.seconds if seconds is None else min(seconds, self.seconds)
        started = time.monotonic()
        told = tried = False

        def before_sleep(state: RetryCallState) -> None:
            nonlocal told, tried
            tried = True
            if not told and time.monotonic() - started >= _QUIET and state.outcome:
                told = True
                failure = explained(state.outcome.exception() or StoreError(""), uri=self._uri)
                self._tell(f"{failure.received}; waiting up to {duration(patience)}, nothing is lost")

        retrying = Retrying(
            retry=retry_if_exception(lambda error: passes(error, answered=self._answered)),
            stop=stop_after_delay(patience),
            wait=wait_exponential(multiplier=0.1, max=5),
            before_sleep=before_sleep,
            reraise=True,
        )
        try:
            result = retrying(self._once, operation)
        except FAILURES as error:
            if passes(error, answered=self._answered) and patience == self.seconds:
                self.seconds = 0.0  # closing what is open must not take as long again
            raise explained(error, uri=self._uri, waited=time.monotonic() - started if tried else 0.0) from error
        self._answered = True
        took = time.monotonic() - started
        if tried or took >= _QUIET:  # SQLite and a server's client wait for some time by themselves
            self.seconds_waited += took
        if told:
            self._tell(f"the tracking store answers again after {duration(took)}")
        return result

    def beside(self) -> Patience:
        """The same patience for another thread, whose exchanges don't wait for this one's."""
        other = Patience(self._uri, seconds=self.seconds, tell=self._tell)
        other._answered = self._answered
        return other

    def _once(self, operation: Callable[[], T]) -> T:
        future: Future[T] = Future()

        def work() -> None:
            # One at a time: SQLite has one writer, and the filter of warnings is the whole process's.
            with self._turn, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's own deprecations are no news to a person
                try:
                    future.set_result(operation())
                except BaseException as error:
                    mask_error(error)  # whoever prints it: it may name the store with its password
                    future.set_exception(error)

        left = None if self._deadline is None else self._deadline - time.monotonic()
        if left is not None and left <= 0:
            raise StoreError(f"the tracking store {self._uri} was given no time to answer")
        threading.Thread(target=work, daemon=True, name="tracking store").start()
        try:
            return future.result(timeout=left)
        except TimeoutError as error:
            if future.done():
                raise
            raise StoreError(f"the tracking store {self._uri} did not answer in time") from error
        except KeyboardInterrupt:
            wait([future], timeout=FINISHING)
            raise
