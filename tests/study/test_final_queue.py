"""The order of a final run's trials, after any interruption at any place."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_tuning.config import Final
from fashion_tuning.study.final_queue import FinalQueue
from fashion_tuning.tracking.records import TrialRecord

SETTINGS = Final(epochs=7, learning_rate_factors=(0.5, 2.0))


def source(trial: int) -> TrialRecord:
    values = {"learning_rate": 0.001 * trial, "dense_units": 10 * trial, "dropout": 0.1}
    return TrialRecord("s", trial, 1, 1, 2, "FINISHED", values, {}, 10, listed=False)


BASELINE = {"learning_rate": 0.0005, "dense_units": 100, "dropout": 0.2, "views": 1}
SOURCES = [source(2), source(5), source(9)]


def make_queue(attempts: list[TrialRecord]) -> FinalQueue:
    def choose() -> TrialRecord:
        ended = [one for one in attempts if one.counts and one.stage == "candidate"]
        assert len(ended) == len(SOURCES)
        return max(ended, key=lambda one: one.metrics["best_val_accuracy"])

    return FinalQueue(SETTINGS, SOURCES, attempts, baseline=BASELINE, epochs=SETTINGS.epochs, choose=choose)


def play(stops: list[str]) -> list[TrialRecord]:
    attempts: list[TrialRecord] = []
    queue, left = make_queue(attempts), list(stops)
    while (record := queue.next_trial()) is not None:
        stop = left.pop(0) if left else "end"
        if stop == "killed":
            attempts.append(replace(record, status="KILLED"))
            queue = make_queue(attempts)
            continue
        metrics = {"best_val_accuracy": [0.7, 0.9, 0.8, 0.6, 0.5, 0.4][record.trial - 1]}
        attempts.append(replace(record, status="FINISHED", tell=queue.next_order(), metrics=metrics))
        queue.tell(attempts[-1])
    return attempts


def test_candidates_then_the_baseline_then_learning_rates_around_the_chosen_one() -> None:
    records = play([])
    assert [(one.stage, one.source) for one in records] == [
        ("candidate", "trial 02"),
        ("candidate", "trial 05"),
        ("candidate", "trial 09"),
        ("baseline", "course"),
        ("learning_rate", "trial 05"),
        ("learning_rate", "trial 05"),
    ]
    assert [one.values for one in records[:3]] == [one.values for one in SOURCES]
    assert records[3].values == BASELINE
    assert [one.values["learning_rate"] for one in records[4:]] == [0.0025, 0.01]
    assert {one.values["dense_units"] for one in records[4:]} == {50}
    assert {one.epochs for one in records} == {7}
    assert [place for one in records for place in (one.ask, one.tell)] == list(range(1, 13))


@settings(max_examples=40)
@given(stops=st.lists(st.sampled_from(["end", "killed"]), max_size=20))
def test_broken_anywhere_it_equals_the_unbroken_one(stops: list[str]) -> None:
    counting = [replace(one, attempt=0) for one in play(stops) if one.counts]
    assert counting == [replace(one, attempt=0) for one in play([])]


def test_with_several_workers_learning_rates_wait_for_the_last_candidate() -> None:
    attempts: list[TrialRecord] = []
    queue = make_queue(attempts)
    running = [queue.next_trial() for _ in range(4)]
    assert queue.next_trial() is None
    for record in running:
        assert record is not None
        ended = replace(record, status="FINISHED", tell=queue.next_order(), metrics={"best_val_accuracy": 0.5})
        attempts.append(ended)
        queue.tell(ended)
    following = queue.next_trial()
    assert following is not None
    assert following.stage == "learning_rate"
