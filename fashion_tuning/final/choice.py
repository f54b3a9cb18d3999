"""Which trial of a final run ships: chosen on validation photos, with what they can tell apart."""

from __future__ import annotations

from collections.abc import Sequence

from fashion_tuning.errors import NoTrialError
from fashion_tuning.final.job import Job
from fashion_tuning.final.outcome import Correlation
from fashion_tuning.study import selection
from fashion_tuning.study.final_queue import CANDIDATE, LEARNING_RATE
from fashion_tuning.study.leaderboard import at_best_epoch, correct_by_epoch, pick
from fashion_tuning.tracking.records import StudyRecord, TrialRecord, latest_attempts, read_attempts
from fashion_tuning.tracking.store import Store


def completed_trials(store: Store, final: StudyRecord) -> list[TrialRecord]:
    """The completed trials of a final run, in their order; read-only."""
    return [record for record in latest_attempts(read_attempts(store, final)) if record.completed]


def choose_candidate(job: Job, store: Store, trials: Sequence[TrialRecord]) -> TrialRecord:
    """Of the configurations that may be chosen the one that the card's rule picks at the final size; read-only.

    Raises:
      NoTrialError: None of them came to its end.
    """
    allowed = {f"trial {number:02d}" for number in job.chosen_from}
    found = [one for one in trials if one.stage == CANDIDATE and one.source in allowed]
    if not found:
        raise NoTrialError(
            f"none of {', '.join(sorted(allowed))} came to its end at {job.card.final_size} px",
            action="allow more of the study's trials with --top",
        )
    return pick(store, found, rule=job.card.final.choose)


def choose_winner(job: Job, store: Store, trials: Sequence[TrialRecord], candidate: TrialRecord) -> TrialRecord:
    """The candidate, or another learning rate of it; read-only."""
    rates = [one for one in trials if one.stage == LEARNING_RATE and one.source == candidate.source]
    return pick(store, [candidate, *rates], rule=job.card.final.choose)


def correlate(job: Job, store: Store, trials: Sequence[TrialRecord]) -> Correlation | None:
    """Whether the study's size predicts the final one; None where there was no study; read-only."""
    if job.study is None:
        return None
    by_source = {one.source: one for one in trials if one.stage == CANDIDATE}
    pairs = [(source, by_source[name]) for source in job.sources if (name := f"trial {source.trial:02d}") in by_source]
    small, large = (
        [at_best_epoch(correct_by_epoch(store, pair[side]), pair[side]) for pair in pairs] for side in (0, 1)
    )
    return Correlation(*selection.rank_correlation(small, large), num_trials=len(pairs))
