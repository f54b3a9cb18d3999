"""What every list of trials does: interrupted ones first, attempts and deaths counted, one order of asks and tells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from fashion_tuning.hyperparameters import Value
from fashion_tuning.tracking.records import TrialRecord, latest_attempts

MAX_ATTEMPTS = 3


class TrialQueue(ABC):
    """The trials of a study or of a final run, rebuilt from their record.

    A trial whose run was deleted in MLflow's UI is trained again with the values on record, and told at the same
    place of the order; one that was removed for good leaves its number and its places to another.

    Args:
      attempts: Every recorded attempt at every trial, deleted ones too, none of them RUNNING.
      max_trials: When to stop; None where the trials come to their own end.
    """

    def __init__(self, attempts: list[TrialRecord], *, max_trials: int | None) -> None:
        self.max_trials = max_trials
        self._history = latest_attempts(attempts)
        self._records = {record.trial: record for record in self._history}
        self._num_runs = Counter(record.trial for record in attempts)
        # Only a death of its own process uses up an attempt, and only such an attempt is FAILED and not told.
        self._num_deaths = Counter(
            record.trial
            for record in attempts
            if record.status == "FAILED" and not record.counts and not record.deleted
        )
        self._again = [record for record in self._history if not record.stands]
        # The places of the one order of asks and tells that are taken, and those kept for a trial's next tell.
        self._places = {record.ask for record in self._history} | {one.tell or 0 for one in self._history if one.counts}
        self._kept_tells = {record.trial: record.tell for record in self._again if record.counts and record.tell}

    @property
    def deleted(self) -> list[int]:
        """The trials that have to be trained again because their runs were deleted."""
        return [record.trial for record in self._again if record.deleted]

    @property
    def num_expected(self) -> int | None:
        """How many trials there will be, as far as that is known."""
        return self.max_trials

    @property
    def why_short(self) -> str:
        """Why there are fewer trials than `max_trials`, now that none is left; "" where there are not."""
        return ""

    @property
    def ended(self) -> list[TrialRecord]:
        """The trials that count and were not deleted, in the order of their numbers."""
        return [self._records[trial] for trial in sorted(self._records) if self._records[trial].stands]

    @property
    def best(self) -> TrialRecord | None:
        """The completed trial with the highest score, the earlier one on ties; None before the first."""
        return max((one for one in self.ended if one.completed), key=lambda one: one.score or 0.0, default=None)

    def next_trial(self) -> TrialRecord | None:
        """A new attempt at the next trial, without a run yet; None where nothing can start now."""
        if self._again:
            record = self._again.pop(0)
            record = replace(
                record, run_id="", status="RUNNING", tell=None, metrics={}, error="", error_message="", deleted=False
            )
        else:
            trial = next(number for number in count(1) if number not in self._records)
            if self.max_trials is not None and trial > self.max_trials:
                return None
            found = self._new_trial(trial)
            if found is None:
                return None
            record = found
        self._num_runs[record.trial] += 1
        record = replace(record, attempt=self._num_runs[record.trial])
        self._records[record.trial] = record
        return record

    @abstractmethod
    def _new_trial(self, trial: int) -> TrialRecord | None:
        """The trial of that number, which was never begun; None where nothing can start now."""

    def _new_record(
        self, trial: int, values: Mapping[str, Value], *, epochs: int, source: str = "", stage: str = ""
    ) -> TrialRecord:
        """A trial that was never begun, at the next place of the order."""
        return TrialRecord(
            run_id="",
            trial=trial,
            attempt=0,
            ask=self.next_order(),
            tell=None,
            status="RUNNING",
            values=dict(values),
            scope={},
            epochs=epochs,
            listed=False,
            source=source,
            stage=stage,
        )

    def seconds_asking(self, trial: int) -> float:  # noqa: ARG002 - for queues that ask somebody
        """What it took to find the values of a trial that was new here."""
        return 0.0

    def died(self, trial: int) -> int:
        """Counts a death of a trial's process; how many more attempts the trial has."""
        self._num_deaths[trial] += 1
        return max(0, MAX_ATTEMPTS - self._num_deaths[trial])

    def try_again(self, record: TrialRecord) -> None:
        """The trial of a failed attempt comes next once more."""
        self._again.append(record)

    def next_order(self) -> int:
        """The next place in the one order of asks and tells."""
        place = next(number for number in count(1) if number not in self._places)
        self._places.add(place)
        return place

    def next_tell(self, trial: int) -> int:
        """The place at which a trial is told: that of its deleted run, or else the next one."""
        return self._kept_tells.pop(trial, None) or self.next_order()

    def tell(self, record: TrialRecord) -> None:
        """A trial has ended and its record stands."""
        self._records[record.trial] = record
