"""The model that answers now, and how another takes its place without a request being lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from fashion_tuning.errors import FashionTuningError, ParityError
from fashion_tuning.service.loaded import Loaded, try_out
from fashion_tuning.service.sources import Source

_logger = logging.getLogger(__name__)


class Champion:
    """Loads, tries and holds the model of a source; `current` may be read from any thread at any time.

    Requests keep the model that they began with, so that a change needs no pause.

    Args:
      tell: Told of each model that is taken ("taken") or refused ("refused").

    Raises:
      FashionTuningError: The first model can't be had, or fails its self-test.
    """

    def __init__(self, source: Source, *, tell: Callable[[str], None] = lambda _: None) -> None:
        self._source = source
        self._tell = tell
        self._lock = threading.Lock()
        self._identity = source.newest()
        self._refused = ""
        self.current = self._load()

    def look(self) -> bool:
        """Takes a newer model where there is one that has not been refused before; whether it did. For the poll.

        Whatever is wrong with it, or with the store, is logged, and the old one goes on.
        """
        with self._lock:
            try:
                newest = self._source.newest()
                if newest in (self._identity, self._refused):
                    return False
                self._replace(newest)
                return True
            except Exception as error:  # a poll must go on, whatever a new file or a store away comes up with
                _logger.warning("the model stays %s: %s", self.current, error)
                return False

    def reload(self) -> bool:
        """As `look`, but tries one again that was refused, and says what is wrong.

        Raises:
          Exception: The new model can't be had or fails its self-test; the old one goes on.
        """
        with self._lock:
            newest = self._source.newest()
            if newest == self._identity:
                return False
            self._replace(newest)
            return True

    def _replace(self, newest: str) -> None:
        try:
            loaded = self._load()
        except Exception:
            self._refused = newest
            self._tell("refused")
            raise
        self._identity, self._refused, self.current = newest, "", loaded
        self._tell("taken")
        _logger.warning("from now on %s answers", loaded)

    def _load(self) -> Loaded:
        loaded = self._source.load()
        try:
            try_out(loaded)
        except FashionTuningError:
            raise
        except Exception as error:  # Keras and the engines each have kinds of their own
            raise ParityError(f"{loaded} fails on a drawn picture: {type(error).__name__}: {error}") from error
        return loaded
