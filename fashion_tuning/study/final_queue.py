"""The trials of a final run: every configuration of the study at the final size, the baseline, learning rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fashion_tuning.config import Final
from fashion_tuning.hyperparameters import Value
from fashion_tuning.study.queue import TrialQueue
from fashion_tuning.tracking.records import TrialRecord

CANDIDATE, BASELINE, LEARNING_RATE = "candidate", "baseline", "learning_rate"


class FinalQueue(TrialQueue):
    """Candidates in the order of the study's trials, then the course's configuration, then learning rates.

    Args:
      settings: The card's [final], whose epochs the baseline has; epochs: of all others.
      sources: The study's completed trials.
      baseline: The values of the course's configuration.
      attempts: Every recorded attempt of this final run, none of them RUNNING.
      choose: Picks one of this run's candidates, once all of them have ended.
    """

    def __init__(
        self,
        settings: Final,
        sources: Sequence[TrialRecord],
        attempts: list[TrialRecord],
        *,
        baseline: Mapping[str, Value],
        epochs: int,
        choose: Callable[[], TrialRecord],
    ) -> None:
        super().__init__(attempts, max_trials=len(sources) + 1 + len(settings.learning_rate_factors))
        self._settings = settings
        self._sources = sources
        self._baseline = baseline
        self._epochs = epochs
        self._choose = choose

    def _new_trial(self, trial: int) -> TrialRecord | None:
        place, epochs = trial - 1, self._epochs
        if place < len(self._sources):
            source = self._sources[place]
            return self._new_record(
                trial, source.values, epochs=epochs, stage=CANDIDATE, source=f"trial {source.trial:02d}"
            )
        if place == len(self._sources):
            return self._new_record(
                trial, self._baseline, epochs=self._settings.epochs, stage=BASELINE, source="course"
            )
        if len([one for one in self.ended if one.stage == CANDIDATE]) < len(self._sources):
            return None  # with several workers some still run
        chosen = self._choose()
        factor = self._settings.learning_rate_factors[place - len(self._sources) - 1]
        values = {**chosen.values, "learning_rate": float(f"{float(chosen.values['learning_rate']) * factor:.6g}")}
        return self._new_record(trial, values, epochs=epochs, stage=LEARNING_RATE, source=chosen.source)
