"""Which trials are stopped early, and what stands of them afterwards."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient
from pydantic import ValidationError
from small_card import make_card, make_card_text
from study_process import all_runs

from fashion_tuning.config import Card, Pruning, parse_card
from fashion_tuning.study.agenda import Agenda
from fashion_tuning.study.check import check
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.leaderboard import leaderboard
from fashion_tuning.study.pruning import last_epoch, should_stop
from fashion_tuning.study.replay import replay
from fashion_tuning.tracking.records import StudyRecord, current_study, find_studies, read_attempts, read_curve
from fashion_tuning.tracking.store import Store

MEDIAN = Pruning(rule="median", start_epochs=2, start_trials=3)
ASHA = Pruning(rule="asha", start_epochs=2, factor=2)
CURVES = [[0.5, 0.6, 0.7], [0.6, 0.7, 0.8], [0.1, 0.2]]
accuracies = st.floats(0, 1)
curves = st.lists(accuracies, min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("curve", "stops"),
    [
        ([0.0], False),  # before start_epochs
        ([0.0, 0.54], True),  # means up to epoch 2 are 0.55, 0.65 and 0.15
        ([0.0, 0.55], False),
        ([0.56, 0.1], False),  # its best counts
        ([0.5, 0.5, 0.59], True),  # 0.6, 0.7 and, where it had ended, 0.15
    ],
)
def test_median_rule(curve: list[float], stops: bool) -> None:
    assert bool(should_stop(MEDIAN, curve, CURVES)) == stops
    assert not should_stop(MEDIAN, curve, CURVES[:2])  # too few


@pytest.mark.parametrize(
    ("curve", "num_others", "stops"),
    [
        ([0.0], 3, False),
        ([0.0, 0.65], 3, False),  # second of four, of which two go on
        ([0.0, 0.55], 3, True),
        ([0.9, 0.3, 0.0], 3, False),  # no rung
        ([0.0, 0.0], 0, False),  # alone
        ([0.0, 0.0], 1, True),  # second of two, of which one goes on
        ([0.0, 0.6], 1, False),  # as good
        ([0.0, 0.0, 0.0, 0.0], 3, False),  # the first that has come so far
    ],
)
def test_successive_halving(curve: list[float], num_others: int, stops: bool) -> None:
    reason = should_stop(ASHA, curve, CURVES[:num_others])
    assert bool(reason) == stops, reason


def test_successive_halving_counts_the_trials_that_run_beside_and_the_median_does_not() -> None:
    assert should_stop(ASHA, [0.0, 0.55], [], running=CURVES)
    assert not should_stop(ASHA, [0.0, 0.55], [], running=[[0.9]])  # it has not come that far
    assert not should_stop(MEDIAN, [0.0, 0.0], [], running=CURVES)


@pytest.mark.parametrize(
    ("curve", "patience", "last"),
    [
        ([0.5, 0.4, 0.4, 0.6], None, 9),
        ([0.5, 0.4, 0.4], 2, 3),
        ([0.5, 0.5, 0.5], 2, 3),  # as good is no better
        ([0.5, 0.4, 0.6, 0.4], 2, 9),
        ([0.5, 0.4, 0.6, 0.4, 0.6], 2, 5),
    ],
)
def test_a_trial_ends_by_itself_after_its_epochs_or_its_patience(
    curve: list[float], patience: int | None, last: int
) -> None:
    assert last_epoch(curve, 9, patience) == last


@given(st.sampled_from([MEDIAN, ASHA]), curves, st.lists(curves, max_size=8))
def test_who_is_best_at_every_epoch_is_never_stopped(
    settings: Pruning, curve: list[float], others: list[list[float]]
) -> None:
    lead = [
        max([value, *(other[place] for other in others if len(other) > place)]) for place, value in enumerate(curve)
    ]
    for epoch in range(1, 1 + len(lead)):
        full = [other for other in others if len(other) >= epoch]
        assert not should_stop(settings, lead[:epoch], full)


@pytest.mark.parametrize(
    ("tuner", "pruning", "message"),
    [
        ("hyperband", {"rule": "median"}, "stops trials itself"),
        (None, {"rule": "median"}, "a list without a search"),
        ("random", {"rule": "median", "factor": 2}, "only rule = 'asha' has it"),
        ("random", {"rule": "asha", "start_trials": 2}, "only rule = 'median' has it"),
        ("random", {"rule": "asha", "factor": 1}, "greater than or equal to 2"),
    ],
)
def test_cards_that_ask_for_what_is_none(tuner: str | None, pruning: dict[str, object], message: str) -> None:
    values = make_card(tuner, "" if tuner == "hyperband" else "max_trials = 5").model_dump()
    with pytest.raises(ValidationError, match=message):
        Card.model_validate({**values, "pruning": pruning})


PRUNED = (
    make_card_text("random", "max_trials = 8")
    .replace("epochs = 2", "epochs = 4")
    .replace("[search]", '[pruning]\nrule = "median"\nstart_trials = 2\n[search]')
)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory, new_uri, run_study: Callable) -> tuple[Store, StudyRecord]:
    uri = new_uri(tmp_path_factory.mktemp("pruned"))
    return Store(uri), run_study(PRUNED, uri)


def test_a_stopped_trial_is_finished_with_its_curve_and_what_it_reached(pruned: tuple[Store, StudyRecord]) -> None:
    store, study = pruned
    records = read_attempts(store, study)
    assert [record.status for record in records] == ["FINISHED"] * 8
    stopped = [record for record in records if record.pruned]
    assert stopped
    assert not any(record.listed for record in stopped)
    full = {}
    for record in records:
        curve = [value for _, value in read_curve(store, record.run_id, "val_accuracy")]
        assert len(curve) == record.metrics["epochs_run"] == (4 if not record.pruned else len(curve))
        assert record.score == max(curve)
        others = [full[one.trial] for one in records if one.trial < record.trial]
        settings = Pruning(rule="median", start_trials=2)
        reasons = [should_stop(settings, curve[:epoch], others) for epoch in range(1, 4)][: len(curve)]
        full[record.trial] = curve
        if not record.listed:
            assert not any(reasons[: len(curve) - 1])
            assert record.pruned == (reasons[len(curve) - 1] if len(curve) < 4 else "")
    run = store.get_run(stopped[0].run_id)
    assert "the median of" in run.data.tags["fashion.pruned"]
    assert [row.also for row in leaderboard(store, study).rows if row.record == stopped[0]] == [
        f"pruned after epoch {stopped[0].metrics['epochs_run']:.0f}"
    ]


def test_the_oracle_is_told_what_a_stopped_trial_had_reached(pruned: tuple[Store, StudyRecord]) -> None:
    """Played from its record to the oracle, each trial is completed, with the best of the epochs it ran."""
    store, study = pruned
    records = read_attempts(store, study)
    card = parse_card(PRUNED, name="small")
    told = Agenda(card, records, max_trials=8)._search._oracle.trials.values()
    by_number = dict(zip((record.trial for record in records), told, strict=True))
    for record in records:
        trial = by_number[record.trial]
        curve = [value for _, value in read_curve(store, record.run_id, "val_accuracy")]
        assert (trial.status, trial.score) == ("COMPLETED", max(curve))


@pytest.mark.slow  # quick is `last_epoch` above, on which both sides agree
def test_what_ends_by_its_patience_is_not_taken_for_pruned(
    tmp_path: Path, new_uri, run_study: Callable, feature_cache: Path
) -> None:
    """A trial that learns nothing is out of patience at the very epoch at which the rule would first stop it."""
    uri = new_uri(tmp_path)
    text = (
        make_card_text("random", "max_trials = 5")
        .replace("learning_rate = 0.001", "learning_rate = 0.01")
        .replace("learning_rate = 0.0005", "learning_rate = 0.005")
        .replace(
            'min_value = 1e-4\nmax_value = 1e-2\nsampling = "log"', "values = [1e-9, 2e-9, 3e-9, 4e-9, 0.005, 0.01]"
        )
        .replace('type = "float"\nvalues', 'type = "choice"\nvalues')
        .replace("epochs = 2", "epochs = 6\npatience = 3")
        .replace("[search]", '[pruning]\nrule = "median"\nstart_trials = 1\nstart_epochs = 4\n[search]')
    )
    study = run_study(text, uri)
    store = Store(uri)
    idle = [one for one in read_attempts(store, study) if one.values["learning_rate"] < 1e-8]
    assert idle
    for record in idle:
        assert (record.metrics["epochs_run"], record.metrics["best_epoch"], record.pruned) == (4, 1, "")
        assert should_stop(
            Pruning(rule="median", start_epochs=4, start_trials=1),
            [value for _, value in read_curve(store, record.run_id, "val_accuracy")],
            [[value for _, value in read_curve(store, read_attempts(store, study)[0].run_id, "val_accuracy")]],
        )
    assert check(store, study, cache_dir=feature_cache).differences == ()


@pytest.mark.slow
def test_it_agrees_with_itself_and_can_be_trained_again(
    pruned: tuple[Store, StudyRecord], feature_cache: Path, worker: Worker
) -> None:
    store, study = pruned
    assert check(store, study, cache_dir=feature_cache).differences == ()
    stopped = next(record for record in read_attempts(store, study) if record.pruned)
    again = replay(store, stopped.run_id, worker=worker, cache_dir=feature_cache)
    assert again.agrees, again.comparisons


@pytest.mark.slow
def test_stopped_and_started_again_it_prunes_the_same_trials(
    pruned: tuple[Store, StudyRecord], tmp_path: Path, new_uri, inputs_of_text: Callable, worker: Worker
) -> None:
    from fashion_tuning.study.tune import tune

    store, study = pruned
    uri, inputs = new_uri(tmp_path), inputs_of_text(PRUNED)
    for limit in (3, 5, 8):
        tune(inputs, Store(uri), workers=[worker], max_trials=limit, fresh=False, report=lambda _: None)
    ours = current_study(find_studies(Store(uri), "small"), study.digest)
    pairs = zip(read_attempts(Store(uri), ours), read_attempts(store, study), strict=True)
    assert all((one.values, one.pruned, one.score) == (other.values, other.pruned, other.score) for one, other in pairs)
    assert MlflowClient(uri).get_run(ours.run_id).info.status == "FINISHED"
    assert len(all_runs(uri)) == 9
