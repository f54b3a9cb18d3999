"""Which trial comes next, and what has become of the earlier ones: a study's state, rebuilt from its record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fashion_tuning.config import Card
from fashion_tuning.quiet import silent_stderr
from fashion_tuning.study.combinations import describe_offer, trials_offered
from fashion_tuning.study.queue import TrialQueue
from fashion_tuning.study.suggestion import WAITING, Suggestion
from fashion_tuning.tracking.records import TrialRecord

if TYPE_CHECKING:
    from fashion_tuning.study.search import Search


class Agenda(TrialQueue):
    """The trials of a study: interrupted ones first, then the card's list, then what the oracle suggests.

    Args:
      card: The study's card.
      attempts: Every recorded attempt at every trial, deleted ones too, none of them RUNNING. The oracle is fresh
        and is played the recorded asks and tells, in their order and with their values.
      max_trials: When to stop; None where the tuner or the list comes to its own end.
      show_published: Keep the published figures of the card's list with its trials.

    Raises:
      StoreError: The search would ask for other values than those on record.
    """

    def __init__(
        self, card: Card, attempts: list[TrialRecord], *, max_trials: int | None, show_published: bool = False
    ) -> None:
        super().__init__(attempts, max_trials=max_trials)
        self._card = card
        self._offered = trials_offered(card)
        self._show_published = show_published
        self._search = _make_search(card)
        self._seconds_asking: dict[int, float] = {}
        self._told: set[int] = set()
        self._replay(self._history)

    @property
    def num_expected(self) -> int | None:
        known = [number for number in (self.max_trials, self._offered) if number is not None]
        return min(known, default=None)

    @property
    def why_short(self) -> str:
        if self.max_trials is None or len(self.ended) >= self.max_trials:
            return ""
        return f"the study ends after {len(self.ended)} of {self.max_trials} trials: {describe_offer(self._card)}"

    def seconds_asking(self, trial: int) -> float:
        """What the oracle took for the values of a trial that was new here."""
        return self._seconds_asking.pop(trial, 0.0)

    def tell(self, record: TrialRecord) -> None:
        """A trial has ended and its record stands: the oracle is told, unless it knows the trial's deleted run."""
        super().tell(record)
        if self._search is not None and record.trial not in self._told:
            self._told.add(record.trial)
            self._search.tell(record.trial, record.score, standard_error=self._noise(record))

    def _noise(self, record: TrialRecord) -> float | None:
        """Standard error of a score as the oracle should see it.

        All trials are scored on the same images, whose luck moves them together and ranks none
        of them; what is left is the spread over seeds. With one seed nothing tells the two apart.
        """
        spread = record.metrics.get("best_val_accuracy_seed_sd")
        if spread is None:
            return record.metrics.get("best_val_accuracy_se")
        return spread / math.sqrt(self._card.training.seeds)

    def _replay(self, history: list[TrialRecord]) -> None:
        if self._search is None:
            return
        moments: list[tuple[int, Callable[[], None]]] = []
        for record in history:
            moments.append((record.ask, lambda record=record: self._replay_ask(record)))  # type: ignore[misc]
            if record.counts:
                moments.append((record.tell or 0, lambda record=record: self.tell(record)))  # type: ignore[misc]
        for _, play in sorted(moments, key=lambda moment: moment[0]):
            play()

    def _replay_ask(self, record: TrialRecord) -> None:
        if self._search is None:
            return
        if record.listed:
            self._search.list(record.trial, record.values)
        else:
            self._search.replay(record.trial, Suggestion(dict(record.values), dict(record.scope)))

    def _new_trial(self, trial: int) -> TrialRecord | None:
        if trial <= len(self._card.configurations):
            return self._listed(trial)
        return self._suggested(trial)

    def _listed(self, trial: int) -> TrialRecord:
        configuration = self._card.configurations[trial - 1]
        values = self._card.values_of(configuration)
        if self._search is not None:
            self._search.list(trial, values)
        epochs = configuration.epochs or self._card.training.epochs
        return replace(
            self._new_record(trial, values, epochs=epochs, source=configuration.source),
            listed=True,
            published_val_accuracy=configuration.published_val_accuracy if self._show_published else None,
        )

    def _suggested(self, trial: int) -> TrialRecord | None:
        if self._search is None:
            return None
        started = time.perf_counter()
        suggestion = self._search.ask(trial)
        self._seconds_asking[trial] = time.perf_counter() - started
        if suggestion is None or suggestion is WAITING:
            return None
        epochs = suggestion.epochs or self._card.training.epochs
        return replace(self._new_record(trial, suggestion.values, epochs=epochs), scope=suggestion.scope)


def _make_search(card: Card) -> Search | None:
    """The search of a card; a mere list needs no Keras Tuner, whose import takes seconds."""
    if card.search is None:
        return None
    with silent_stderr():
        from fashion_tuning.study.search import Search

    return Search(card)
