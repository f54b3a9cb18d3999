"""Whole studies on a real SQLite store, read back through MLflow's own client."""

import json
import multiprocessing
import multiprocessing.synchronize
import os
import signal
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from filelock import FileLock
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from small_card import make_card

from fashion_tuning.config import Card
from fashion_tuning.errors import NoTrialError, StudyOwnedError
from fashion_tuning.model.features import load_features
from fashion_tuning.study import ownership
from fashion_tuning.study.events import AttemptEnded, EpochEnded, Event, Plan, TrialEnded, TrialStarted
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.leaderboard import leaderboard
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.records import StudyRecord
from fashion_tuning.tracking.store import Store

Inputs = Callable[[Card], StudyInputs]


NewUri = Callable[[Path], str]


@pytest.fixture
def store(tmp_path: Path, new_uri: NewUri) -> Store:
    return Store(new_uri(tmp_path))


def run(
    inputs: StudyInputs,
    store: Store,
    worker: Worker,
    *,
    max_trials: int | None = None,
    fresh: bool = False,
    report: Callable[[Event], None] = lambda _: None,
) -> StudyRecord:
    """One start of the program; each opens the store anew, as an interrupted one waits for nothing any more."""
    store = Store(store.uri)
    return tune(inputs, store, workers=[worker], max_trials=max_trials, fresh=fresh, report=report)


def trial_runs(store: Store, study: StudyRecord) -> list[Run]:
    client = MlflowClient(store.uri)
    runs = client.search_runs(
        [client.get_run(study.run_id).info.experiment_id], f"tags.`mlflow.parentRunId` = '{study.run_id}'"
    )
    return sorted(runs, key=lambda one: (int(one.data.tags["fashion.trial"]), int(one.data.tags["fashion.attempt"])))


def outcome(store: Store, study: StudyRecord) -> list[tuple[dict, dict]]:
    """Values and timeless metrics of every trial that counts, in order."""
    return [
        (
            json.loads(one.data.tags["fashion.values"]),
            {name: value for name, value in one.data.metrics.items() if not name.startswith("seconds")},
        )
        for one in trial_runs(store, study)
        if one.info.status == "FINISHED"
    ]


class Interrupt:
    """Presses Ctrl-C at the first epoch of a trial."""

    def __init__(self, trial: int) -> None:
        self.trial = trial

    def __call__(self, event: Event) -> None:
        if isinstance(event, EpochEnded) and event.record.trial == self.trial:
            raise KeyboardInterrupt


def test_everything_stands_in_mlflow(inputs_of: Inputs, store: Store, worker: Worker) -> None:
    inputs = inputs_of(make_card("bayesian"))
    events: list[Event] = []
    study = run(inputs, store, worker, report=events.append)

    client = MlflowClient(store.uri)
    study_run = client.get_run(study.run_id)
    assert study_run.info.status == "FINISHED"
    assert study_run.data.tags["fashion.study"] == inputs.study.digest
    assert study_run.data.metrics["trials_completed"] == 5
    assert study_run.data.metrics["trials_failed"] == 0
    assert study_run.inputs.dataset_inputs[0].dataset.digest == inputs.dataset.manifest.digest
    artifacts = {entry.path for entry in client.list_artifacts(study.run_id)}
    assert artifacts == {"card.toml", "manifest.csv", "environment.txt"}
    assert json.loads(study_run.data.tags["fashion.versions"])["keras"] == keras.__version__

    runs = trial_runs(store, study)
    assert [one.info.status for one in runs] == ["FINISHED"] * 5
    assert [one.data.tags["fashion.listed"] for one in runs] == ["true"] * 2 + ["false"] * 3
    orders = [int(one.data.tags[f"fashion.{moment}"]) for one in runs for moment in ("ask", "tell")]
    assert orders == list(range(1, 11))
    labels = inputs.features.labels("validation")
    features = np.array(load_features(inputs.features.of({})["validation"]))
    for one in runs:
        check_trial(client, one, features, labels, num_seeds=2, num_epochs=2)
    best = max(one.data.metrics["best_val_accuracy"] for one in runs)
    assert study_run.data.metrics["best_val_accuracy"] == best
    assert isinstance(events[0], Plan)
    assert sum(isinstance(event, TrialEnded) for event in events) == 5


def check_trial(
    client: MlflowClient, one: Run, features: np.ndarray, labels: np.ndarray, *, num_seeds: int, num_epochs: int
) -> None:
    """Curves at true epochs, means that are means, checkpoints and predictions that score as recorded."""
    run_id = one.info.run_id
    values = json.loads(one.data.tags["fashion.values"])
    assert {name: float(one.data.params[name]) for name in values} == values
    assert one.inputs.dataset_inputs
    curves = {}
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        for prefix in ("", *(f"seed_{seed}/" for seed in range(1, num_seeds + 1))):
            history = client.get_metric_history(run_id, prefix + name)
            assert sorted(point.step for point in history) == list(range(1, num_epochs + 1))
            curves[prefix + name] = [point.value for point in sorted(history, key=lambda point: point.step)]
        seeds = [curves[f"seed_{seed}/{name}"] for seed in range(1, num_seeds + 1)]
        np.testing.assert_allclose(np.mean(seeds, axis=0), curves[name], rtol=1e-12)
    mean = curves["val_accuracy"]
    assert one.data.metrics["best_val_accuracy"] == max(mean)
    assert one.data.metrics["best_epoch"] == 1 + int(np.argmax(mean))
    assert one.data.metrics["epochs_run"] == num_epochs

    best_epoch = int(one.data.metrics["best_epoch"])
    folder = Path(client.download_artifacts(run_id, ""))
    for seed in range(1, num_seeds + 1):
        assert (folder / f"checkpoints/seed_{seed}/epoch_{best_epoch:02d}.keras").exists()
        with np.load(folder / f"predictions/seed_{seed}.npz") as kept:
            assert kept["probabilities"].dtype == np.float32
            accuracy = (kept["probabilities"].argmax(-1) == kept["labels"]).mean(-1)
        np.testing.assert_array_equal(accuracy, curves[f"seed_{seed}/val_accuracy"])
        for path in (folder / f"checkpoints/seed_{seed}").iterdir():
            epoch = int(path.stem.removeprefix("epoch_"))
            logits = keras.saving.load_model(path, safe_mode=True).predict_on_batch(features)
            assert (logits.argmax(-1) == labels).mean() == curves[f"seed_{seed}/val_accuracy"][epoch - 1]


def test_only_train_and_validation_are_computed(inputs_of: Inputs, store: Store, worker: Worker) -> None:
    inputs = inputs_of(make_card())
    run(inputs, store, worker)
    folder = inputs.features.of({})["train"].folder
    assert {path.stem for path in folder.glob("*.npy")} == {"train", "validation"}


@pytest.mark.slow  # quick are the replay of all four without training, in test_search.py, and a kill in test_crashes.py
@pytest.mark.parametrize(
    ("tuner", "settings"),
    [
        ("random", "max_trials = 5"),
        ("bayesian", "max_trials = 5\nnum_initial_points = 2"),
        ("grid", "max_trials = 5"),
        ("hyperband", "factor = 2\nmax_trials = 6"),
    ],
)
def test_an_interrupted_study_goes_on_as_if_unbroken(
    tuner: str, settings: str, inputs_of: Inputs, tmp_path: Path, worker: Worker, new_uri: NewUri
) -> None:
    inputs = inputs_of(make_card(tuner, settings))
    unbroken = Store(new_uri(tmp_path / "unbroken"))
    expected = outcome(unbroken, run(inputs, unbroken, worker))

    broken = Store(new_uri(tmp_path / "broken"))
    with pytest.raises(KeyboardInterrupt):
        run(inputs, broken, worker, report=Interrupt(4))
    study = run(inputs, broken, worker)

    assert outcome(broken, study) == expected
    statuses = [one.info.status for one in trial_runs(broken, study)]
    assert statuses.count("KILLED") == 1
    assert statuses.count("FINISHED") == len(expected)
    assert len(statuses) == len(expected) + 1


def test_a_finished_study_runs_nothing_again(inputs_of: Inputs, store: Store, worker: Worker) -> None:
    inputs = inputs_of(make_card())
    first = run(inputs, store, worker)
    assert first.status == "FINISHED"  # as whoever shows it or writes its report will say
    assert not first.runs
    events: list[Event] = []
    again = run(inputs, store, worker, report=events.append)
    assert again.run_id == first.run_id
    assert not any(isinstance(event, TrialStarted) for event in events)
    assert isinstance(events[0], Plan)
    assert events[0].resumed


def test_raising_max_trials_extends_the_study(inputs_of: Inputs, store: Store, worker: Worker) -> None:
    inputs = inputs_of(make_card("random"))
    first = run(inputs, store, worker, max_trials=3)
    assert len(outcome(store, first)) == 3
    again = run(inputs, store, worker, max_trials=4)
    assert again.run_id == first.run_id
    assert len(outcome(store, again)) == 4


def test_a_changed_card_is_another_study_and_says_what_changed(inputs_of: Inputs, store: Store, worker: Worker) -> None:
    first = run(inputs_of(make_card()), store, worker)
    events: list[Event] = []
    second = run(inputs_of(make_card(seed=4)), store, worker, report=events.append)
    assert second.run_id != first.run_id
    assert isinstance(events[0], Plan)
    assert events[0].changed == ("seed: 3 -> 4",)
    assert outcome(store, first) != outcome(store, second)


def test_fresh_begins_a_new_generation_and_keeps_the_old(inputs_of: Inputs, store: Store, worker: Worker) -> None:
    inputs = inputs_of(make_card())
    first = run(inputs, store, worker)
    second = run(inputs, store, worker, fresh=True)
    assert (first.generation, second.generation) == (1, 2)
    assert outcome(store, first) == outcome(store, second)


def diverging(num_configurations: int) -> Card:
    """The small card with its first configurations made to diverge, each in its own way."""
    card = make_card()
    good = card.configurations[0]
    bad = [good.model_copy(update={"learning_rate": 1e38 * (number + 1)}) for number in range(num_configurations)]
    return card.model_copy(update={"configurations": (*bad, good)})


def test_a_diverging_trial_fails_and_the_study_goes_on(inputs_of: Inputs, store: Store, worker: Worker) -> None:
    study = run(inputs_of(diverging(2)), store, worker)
    runs = trial_runs(store, study)
    assert [one.info.status for one in runs] == ["FAILED", "FAILED", "FINISHED"]
    assert runs[0].data.tags["fashion.error"] == "diverged"
    assert "not finite" in runs[0].data.tags["fashion.error_message"]
    assert all(np.isfinite(value) and abs(value) < 1e300 for value in runs[0].data.metrics.values())
    board = leaderboard(store, study)
    assert [row.record.trial for row in board.rows] == [3]
    assert [record.trial for record in board.failed] == [1, 2]


def test_three_failures_in_a_row_stop_the_study_until_the_next_start(
    inputs_of: Inputs, store: Store, worker: Worker
) -> None:
    inputs = inputs_of(diverging(3))
    with pytest.raises(NoTrialError, match="3 trials in a row") as caught:
        run(inputs, store, worker)
    assert str(caught.value).count("diverged") == 3
    study = run(inputs, store, worker)
    assert [one.info.status for one in trial_runs(store, study)] == ["FAILED"] * 3 + ["FINISHED"]


class KillWorker:
    """Kills the worker whenever trial 1 starts, up to a number of times."""

    def __init__(self, worker: Worker, times: int) -> None:
        self.worker = worker
        self.times = times
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, TrialStarted) and event.record.trial == 1 and self.times:
            self.times -= 1
            os.kill(self.worker.pid, signal.SIGKILL)


def test_a_trial_whose_worker_dies_runs_again(
    inputs_of: Inputs, store: Store, worker: Worker, tmp_path: Path, new_uri: NewUri
) -> None:
    inputs = inputs_of(make_card())
    unbroken = Store(new_uri(tmp_path / "unbroken"))
    expected = outcome(unbroken, run(inputs, unbroken, worker))
    kill = KillWorker(worker, times=2)
    study = run(inputs, store, worker, report=kill)
    runs = trial_runs(store, study)
    assert [one.info.status for one in runs] == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    assert [one.data.tags.get("fashion.error") for one in runs] == ["worker_died", "worker_died", None, None]
    assert [event.attempts_left for event in kill.events if isinstance(event, AttemptEnded)] == [2, 1]
    assert outcome(store, study) == expected
    assert MlflowClient(store.uri).get_run(study.run_id).data.metrics["trials_failed"] == 0


@pytest.mark.slow
def test_a_trial_fails_with_the_third_death_even_over_several_starts(
    inputs_of: Inputs, store: Store, worker: Worker
) -> None:
    inputs = inputs_of(make_card())

    def die_then_interrupt(event: Event) -> None:
        if isinstance(event, TrialStarted) and event.record.attempt == 1:
            os.kill(worker.pid, signal.SIGKILL)
        elif isinstance(event, TrialStarted):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(inputs, store, worker, report=die_then_interrupt)
    study = run(inputs, store, worker, report=KillWorker(worker, times=5))
    runs = trial_runs(store, study)
    # The interrupted attempt used up none.
    assert [one.info.status for one in runs] == ["FAILED", "KILLED", "FAILED", "FAILED", "FINISHED"]
    assert ["fashion.tell" in one.data.tags for one in runs] == [False, False, False, True, True]
    assert "SIGKILL" in runs[3].data.tags["fashion.error_message"]


@pytest.mark.slow
def test_a_trial_that_takes_too_long_is_stopped(inputs_of: Inputs, store: Store, worker: Worker) -> None:
    card = make_card()
    slow = card.configurations[0].model_copy(update={"epochs": 100_000})
    training = card.training.model_copy(update={"max_seconds": 30.0})
    card = card.model_copy(update={"configurations": (slow, card.configurations[1]), "training": training})
    study = run(inputs_of(card), store, worker, report=KillWorker(worker, times=2))
    runs = trial_runs(store, study)
    assert [one.info.status for one in runs] == ["FAILED", "FAILED", "FAILED", "FINISHED"]
    assert [one.data.tags.get("fashion.error") for one in runs] == ["worker_died", "worker_died", "time_limit", None]
    assert "30 s" in runs[2].data.tags["fashion.error_message"]
    board = leaderboard(store, study)
    assert [record.error for record in board.failed] == ["time_limit"]


@pytest.mark.slow
def test_two_workers_give_each_trial_the_same_numbers(
    inputs_of: Inputs, tmp_path: Path, worker: Worker, new_uri: NewUri
) -> None:
    inputs = inputs_of(make_card())
    one = Store(new_uri(tmp_path / "one"))
    two = Store(new_uri(tmp_path / "two"))
    expected = outcome(one, run(inputs, one, worker))
    second = Worker()
    try:
        study = tune(inputs, two, workers=[worker, second], max_trials=None, fresh=False, report=lambda _: None)
    finally:
        second.close()
    assert outcome(two, study) == expected


def test_listed_epochs_take_the_place_of_the_cards(inputs_of: Inputs, store: Store, worker: Worker) -> None:
    card = make_card()
    longer = card.configurations[0].model_copy(update={"epochs": 3})
    study = run(inputs_of(card.model_copy(update={"configurations": (longer,)})), store, worker)
    assert outcome(store, study)[0][1]["epochs_run"] == 3


def hold(path: str, held: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    with FileLock(path):
        held.set()
        done.wait(60)


def test_a_study_has_one_owner(
    inputs_of: Inputs, store: Store, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case of an owner that has not made its study run yet; test_ownership.py has the others."""
    monkeypatch.setattr(ownership, "_NAMING_SECONDS", 1.0)
    inputs = inputs_of(make_card())
    lock = ownership.lock_path(store, inputs.experiment, inputs.study.digest, cache_dir=inputs.cache_dir)
    lock.parent.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(str(lock), held, done))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(StudyOwnedError, match=f"held by process {other.pid} "):
            run(inputs, store, worker)
    finally:
        done.set()
        other.join()


def test_the_leaderboard_names_ties_and_orders_by_score(inputs_of: Inputs, store: Store, worker: Worker) -> None:
    study = run(inputs_of(make_card("random")), store, worker)
    board = leaderboard(store, study)
    scores = [row.record.score for row in board.rows]
    assert scores == sorted(scores, reverse=True)
    assert [row.rank for row in board.rows] == [1, 2, 3, 4, 5]
    assert board.rows[0].tied
    assert {row.record.source for row in board.rows if row.record.listed} == {"first", ""}
    # They are published for clothing-dataset-small, not for whatever else a card is run on.
    assert {row["published_val_accuracy"] for row in board.as_dicts()} == {None}
