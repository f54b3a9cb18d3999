"""A sign of life from long work whose output is no terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from fashion_tuning.streams import ReaderGoneError
from fashion_tuning.wording import duration

SECONDS: Final = 30.0


class Pulse:
    """Says what is being done whenever nothing has been said for a while.

    Args:
      say: Told the line, in a thread of its own.
      seconds: The longest silence.
    """

    def __init__(self, say: Callable[[str], None], *, seconds: float = SECONDS) -> None:
        self._say = say
        self._seconds = seconds
        self._changed = threading.Condition()
        self._spoken = time.monotonic()
        self._text, self._suffix, self._since = "", "", self._spoken
        self._thread: threading.Thread | None = None

    @contextmanager
    def beating(self, what: str) -> Iterator[None]:
        """While `what` is being done; may be entered again meanwhile, for a part of it."""
        before, outermost = (self._text, self._suffix, self._since), self._thread is None
        self._set(what, "{} so far")
        if outermost:
            self._thread = threading.Thread(target=self._beat, daemon=True, name="pulse")
            self._spoken = time.monotonic()
            self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._text, self._suffix, self._since = before
                if outermost:
                    self._thread = None
                    self._changed.notify_all()

    def note(self, text: str) -> None:
        """What there is to say from now on, without saying it yet."""
        self._set(text, "{} ago")

    def spoke(self) -> None:
        """Something has been said just now."""
        self._spoken = time.monotonic()

    def _set(self, text: str, suffix: str) -> None:
        with self._changed:
            if text != self._text:
                self._text, self._suffix, self._since = text, suffix, time.monotonic()

    def _beat(self) -> None:
        own = threading.current_thread()
        while True:
            with self._changed:
                self._changed.wait(max(0.0, self._spoken + self._seconds - time.monotonic()))
                if self._thread is not own:
                    return
                now = time.monotonic()
                if now < self._spoken + self._seconds:
                    continue
                self._spoken = now
                age = round(now - self._since)
                text = f"{self._text}, {self._suffix.format(duration(age))}" if age else self._text
            try:
                self._say(text)
            except ReaderGoneError:
                return  # the thread that works meets it as soon as it says something itself
