"""What comes next in a study, after any interruption at any place: as if there had been none."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_card import make_card

from fashion_tuning.config import Card
from fashion_tuning.study.agenda import Agenda
from fashion_tuning.study.queue import MAX_ATTEMPTS
from fashion_tuning.tracking.records import TrialRecord

TUNERS = {
    "random": "max_trials = 12",
    "bayesian": "max_trials = 12\nnum_initial_points = 3",
    "grid": "max_trials = 12",
    "hyperband": "factor = 2\nmax_trials = 12",
}


def ended(record: TrialRecord, *, tell: int, seed: int) -> TrialRecord:
    """The trial's outcome: now and then a failure, else a score that its number decides."""
    draws = random.Random(f"{seed} {record.trial}")
    if draws.random() < 0.15:
        return replace(record, status="FAILED", tell=tell, error="diverged")
    metrics = {"best_val_accuracy": draws.random(), "best_val_accuracy_seed_sd": draws.random() / 50}
    return replace(record, status="FINISHED", tell=tell, metrics=metrics)


def play(card: Card, stops: list[str], *, seed: int) -> list[TrialRecord]:
    """Runs a study; `stops` says trial by trial how each new attempt goes, "end" when it is used up.

    "killed" stands for a dead coordinator, so that the agenda is built anew from the record;
    "died" for a dead worker, which no trial has three times: that would be another study.
    """
    attempts: list[TrialRecord] = []
    deaths: Counter[int] = Counter()
    agenda = Agenda(card, attempts, max_trials=12)
    left = list(stops)
    while (record := agenda.next_trial()) is not None:
        stop = left.pop(0) if left else "end"
        if stop == "killed":
            attempts.append(replace(record, status="KILLED"))
            agenda = Agenda(card, attempts, max_trials=12)
        elif stop == "told":  # killed between the tell order and FINISHED
            attempts.append(replace(record, status="KILLED", tell=agenda.next_order()))
            agenda = Agenda(card, attempts, max_trials=12)
        elif stop == "died" and deaths[record.trial] < MAX_ATTEMPTS - 1:
            deaths[record.trial] += 1
            assert agenda.died(record.trial) == MAX_ATTEMPTS - deaths[record.trial]
            attempts.append(replace(record, status="FAILED", error="worker_died"))
            agenda.try_again(attempts[-1])
        else:
            attempts.append(ended(record, tell=agenda.next_order(), seed=seed))
            agenda.tell(attempts[-1])
    return attempts


def counting(attempts: list[TrialRecord]) -> list[TrialRecord]:
    """What counts, without the number of the attempt."""
    return [replace(record, attempt=0) for record in attempts if record.counts]


@pytest.mark.parametrize("tuner", TUNERS)
@settings(max_examples=15)
@given(stops=st.lists(st.sampled_from(["end", "killed", "told", "died"]), max_size=30), seed=st.integers(1, 10**6))
def test_a_study_broken_anywhere_equals_the_unbroken_one(tuner: str, stops: list[str], seed: int) -> None:
    card = make_card(tuner, TUNERS[tuner], seed=seed)
    broken = play(card, stops, seed=seed)
    assert counting(broken) == counting(play(card, [], seed=seed))
    numbers = [(record.trial, record.attempt) for record in broken]
    assert len(set(numbers)) == len(numbers)


def test_attempts_are_used_up_by_deaths_alone() -> None:
    card = make_card("random")
    stops = ["killed", "died", "killed", "killed", "told", "died", "killed"]
    attempts = play(card, stops, seed=7)
    assert [record.attempt for record in attempts if record.trial == 1] == list(range(1, 9))
    assert Agenda(card, attempts[:7], max_trials=12).died(1) == 0
    assert Agenda(card, attempts[:5], max_trials=12).died(1) == 1


def test_more_trials_extend_a_study() -> None:
    card = make_card("bayesian", TUNERS["bayesian"])
    attempts = play(card, [], seed=1)
    assert Agenda(card, attempts, max_trials=12).next_trial() is None
    record = Agenda(card, attempts, max_trials=13).next_trial()
    assert record is not None
    assert (record.trial, record.ask, record.attempt) == (13, 25, 1)
