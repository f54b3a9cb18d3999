"""`replay`: a recorded trial trained again gives the same numbers, wherever and after whatever it is trained."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import PROGRAM, clean_environment
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from small_card import make_card_text

from fashion_tuning.config import parse_card
from fashion_tuning.data.source import Dataset
from fashion_tuning.errors import UsageError
from fashion_tuning.model.key import keras_engine
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.check import check
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.replay import Replay, replay
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.records import StudyRecord
from fashion_tuning.tracking.store import Store

pytestmark = pytest.mark.timeout(600)

FAILING = "[[configurations]]\nlearning_rate = 1e38\ndense_units = 0\ndropout = 0.0\n"
TEXT = make_card_text("bayesian", "max_trials = 5").replace("max_value = 1e-2", "max_value = 1e38") + FAILING

Study = tuple[Store, StudyRecord, Path]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, new_uri, small_dataset, weights, feature_cache, worker) -> Study:
    """Two listed trials, one that diverges, and two that the tuner asked for."""
    store = Store(new_uri(tmp_path_factory.mktemp("store")))
    inputs = StudyInputs(parse_card(TEXT, name="card"), TEXT, small_dataset, {weights.name: weights}, feature_cache)
    record = tune(inputs, store, workers=[worker], max_trials=None, fresh=False, report=lambda _: None)
    return store, record, feature_cache


def runs_of(store: Store) -> list[Run]:
    (experiment,) = (one for one in store.client.search_experiments() if one.name == "small")
    found = store.client.search_runs([experiment.experiment_id], "tags.`fashion.kind` = 'trial'")
    return sorted(found, key=lambda run: int(run.data.tags["fashion.trial"]))


def replayed(study: Study, run: Run, worker: Worker, **options: object) -> Replay:
    store, _, cache = study
    return replay(store, run.info.run_id, worker=worker, cache_dir=cache, **options)


def test_a_trial_gives_the_same_numbers_alone_after_others_first_and_last(study: Study, worker: Worker) -> None:
    store, _, _ = study
    runs = runs_of(store)
    assert [run.info.status for run in runs].count("FAILED") >= 1
    fresh = Worker()
    try:
        outcomes = [replayed(study, runs[3], fresh)]  # alone, in a worker that has trained nothing
        outcomes += [replayed(study, run, worker) for run in reversed(runs)]
    finally:
        fresh.close()
    for outcome in outcomes:
        assert outcome.agrees
        assert {one.difference for one in outcome.comparisons} == {0.0}  # to the last bit, on one machine
        assert outcome.notes == ()
    names = {one.name for one in outcomes[0].comparisons}
    assert {
        "best_val_accuracy",
        "best_val_accuracy_se",
        "best_val_accuracy_seed_sd",
        "best_epoch",
        "predictions",
        "seed_2/val_loss",
    } <= names
    assert next(one for one in outcomes if one.trial == 3).comparisons[0].name == "outcome"


def test_another_number_on_record_is_a_difference(study: Study, worker: Worker) -> None:
    store, _, _ = study
    run = runs_of(store)[1]
    value = run.data.metrics["best_val_accuracy"]
    store.client.log_metric(run.info.run_id, "best_val_accuracy", value + 0.01, step=2)
    outcome = replayed(study, run, worker)
    assert not outcome.agrees
    assert [one.name for one in outcome.comparisons if one.difference] == ["best_val_accuracy"]
    assert replayed(study, run, worker, tolerance=0.02).agrees
    store.client.log_metric(run.info.run_id, "best_val_accuracy", value, step=2)


def test_another_machine_on_record_is_noted(study: Study, worker: Worker) -> None:
    store, record, _ = study
    tags = store.client.get_run(record.run_id).data.tags
    other = json.dumps({**json.loads(tags["fashion.versions"]), "keras": "2.0"})
    store.client.set_tag(record.run_id, "fashion.versions", other)
    (note,) = replayed(study, runs_of(store)[0], worker).notes
    assert note.startswith("keras was 2.0, here it is 3.")
    store.client.set_tag(record.run_id, "fashion.versions", tags["fashion.versions"])


def test_a_trial_of_another_backend_is_refused(study: Study, worker: Worker) -> None:
    (other,) = {"keras-tensorflow", "keras-torch"} - {keras_engine()}
    with (
        recorded_otherwise(study, keras_engine(), other),
        pytest.raises(UsageError, match=f"set KERAS_BACKEND={other.removeprefix('keras-')}"),
    ):
        replayed(study, runs_of(study[0])[0], worker)


def test_a_trial_of_another_device_is_refused(study: Study, worker: Worker) -> None:
    with (
        recorded_otherwise(study, '"cut": ', '"device": "tpu", "cut": '),
        pytest.raises(UsageError, match="was trained on tpu, and Keras computes on cpu here"),
    ):
        replayed(study, runs_of(study[0])[0], worker)


@contextmanager
def recorded_otherwise(study: Study, text: str, other: str) -> Iterator[None]:
    """Meanwhile the study's run says `other` where its parts say `text`."""
    store, record, _ = study
    kept = {
        name: value
        for name, value in store.client.get_run(record.run_id).data.tags.items()
        if name.startswith("fashion.parts")
    }
    for name, value in kept.items():
        assert text in "".join(kept.values())
        store.client.set_tag(record.run_id, name, value.replace(text, other))
    yield
    for name, value in kept.items():
        store.client.set_tag(record.run_id, name, value)


def test_what_is_no_finished_trial_is_refused(study: Study, worker: Worker) -> None:
    store, record, cache = study
    for run_id in (record.run_id, "0" * 32):
        with pytest.raises(UsageError, match="no trial's run"):
            replay(store, run_id, worker=worker, cache_dir=cache)
    run = runs_of(store)[0]
    store.client.update_run(run.info.run_id, status="KILLED")
    with pytest.raises(UsageError, match="is KILLED"):
        replayed(study, run, worker)
    store.client.update_run(run.info.run_id, status="FINISHED")


def test_damaged_artifacts_are_made_again_and_kept_aside(study: Study, worker: Worker) -> None:
    store, record, cache = study
    run = runs_of(store)[1]
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    checkpoints = sorted(folder.glob("checkpoints/*/*.keras"))
    os.truncate(checkpoints[0], 100)
    checkpoints[-1].unlink()
    (folder / "predictions/seed_2.npz").write_bytes(b"")
    assert check(store, record, cache_dir=cache).damaged == (run.info.run_id,)

    assert replayed(study, run, worker).repaired == ()
    assert check(store, record, cache_dir=cache).damaged == (run.info.run_id,)

    damaged = [checkpoints[0], checkpoints[-1], folder / "predictions/seed_2.npz"]
    repaired = replayed(study, run, worker, repair=True).repaired
    assert sorted(repaired) == sorted(path.relative_to(folder).as_posix() for path in damaged)
    assert check(store, record, cache_dir=cache).differences == ()
    aside = [path.relative_to(folder / "broken") for path in (folder / "broken").rglob("*") if path.is_file()]
    assert sorted(aside) == sorted(path.relative_to(folder) for path in (damaged[0], damaged[2]))


@pytest.mark.slow
def test_features_that_are_gone_are_computed_from_the_photos_on_record(
    study: Study, worker: Worker, weights: Weights, tmp_path: Path, small_dataset: Dataset
) -> None:
    store, record, _ = study
    cache = tmp_path / "cache"
    shutil.copytree(weights.path.parent, cache / "weights", copy_function=os.link)
    told: list[str] = []
    outcome = replayed((store, record, cache), runs_of(store)[0], worker, tell=told.append)
    assert outcome.agrees
    assert any("train photos are computed" in line for line in told)

    shutil.rmtree(cache / "features")
    with pytest.raises(UsageError, match="its photos are not at"):
        replayed((store, record, cache), runs_of(store)[0], worker, data_dir=tmp_path / "moved")
    shutil.copytree(small_dataset.root, tmp_path / "moved")
    assert replayed((store, record, cache), runs_of(store)[0], worker, data_dir=tmp_path / "moved").agrees


@pytest.mark.slow
def test_the_commands_end_with_0_or_1(study: Study, tmp_path: Path) -> None:
    store, _, cache = study
    run = runs_of(store)[0]

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = clean_environment(tmp_path, FASHION_TUNING_CACHE=str(cache), MLFLOW_TRACKING_URI=store.uri)
        typed = [*PROGRAM, *arguments]
        return subprocess.run(typed, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    done = command("replay", run.info.run_id)
    assert (done.returncode, done.stderr) == (0, "")
    assert "trial 01 agrees with its record (tolerance 1e-06)" in done.stdout
    client = MlflowClient(store.uri)
    client.log_metric(run.info.run_id, "best_val_accuracy", 0.001, step=2)
    done = command("check", "small", "--json")
    assert done.returncode == 1
    (difference,) = [one for one in json.loads(done.stdout)["differences"] if one["trial"]]
    assert difference["run_id"] == run.info.run_id
    assert difference["what"].startswith("best_val_accuracy is 0.001, ")
    client.log_metric(run.info.run_id, "best_val_accuracy", run.data.metrics["best_val_accuracy"], step=2)


def test_a_curve_on_record_that_no_replay_reaches_is_a_difference(study: Study, worker: Worker) -> None:
    """Of a trial that diverges before its first epoch has ended there is none. The last test: it spoils the record."""
    store, _, _ = study
    run = next(one for one in runs_of(store) if one.data.tags.get("fashion.error") == "diverged")
    names = {one.name for one in replayed(study, run, worker).comparisons}
    assert {"outcome", "seed_1/loss", "seed_2/val_accuracy"} <= names
    store.client.log_metric(run.info.run_id, "seed_2/val_accuracy", 0.5, step=9)
    assert not replayed(study, run, worker).agrees
