"""`check` on studies that are sound, and on studies with one thing wrong."""

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from small_card import make_card_text

from fashion_tuning.config import Card, parse_card
from fashion_tuning.study.check import Findings, check
from fashion_tuning.study.events import Event, TrialStarted
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.records import StudyRecord, find_studies, read_attempts
from fashion_tuning.tracking.store import Store

pytestmark = pytest.mark.timeout(600)

Inputs = Callable[[Card], StudyInputs]
TEXT = make_card_text("bayesian", "max_trials = 3")


@dataclass
class Study:
    """A finished study whose store and artifacts can be spoiled and restored."""

    store: Store
    record: StudyRecord
    folder: Path
    cache: Path

    @property
    def client(self) -> MlflowClient:
        return self.store.client

    def check(self) -> Findings:
        (record,) = find_studies(self.store, self.record.experiment)
        return check(self.store, record, cache_dir=self.cache)

    def trial(self, number: int) -> Run:
        query = f"tags.`fashion.kind` = 'trial' and tags.`fashion.trial` = '{number}'"
        (run,) = self.client.search_runs([self.client.get_run(self.record.run_id).info.experiment_id], query)
        return run

    def artifacts(self, number: int) -> Path:
        return Path(self.trial(number).info.artifact_uri.removeprefix("file://"))

    def sql(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database, database:
            database.execute(statement, values)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, new_uri, small_dataset, weights, feature_cache, worker) -> Study:
    folder = tmp_path_factory.mktemp("finished")
    store = Store(new_uri(folder))
    inputs = StudyInputs(parse_card(TEXT, name="card"), TEXT, small_dataset, {weights.name: weights}, feature_cache)
    record = tune(inputs, store, workers=[worker], max_trials=None, fresh=False, report=lambda _: None)
    shutil.copytree(folder / "mlruns", folder / "kept")
    with closing(sqlite3.connect(folder / "mlflow.db")) as live, closing(sqlite3.connect(folder / "kept.db")) as kept:
        live.backup(kept)
    return Study(store, record, folder, feature_cache)


@pytest.fixture
def study(finished: Study) -> Iterator[Study]:
    """The finished study; what a test does to it is undone."""
    yield finished
    folder = finished.folder
    shutil.rmtree(folder / "mlruns")
    shutil.copytree(folder / "kept", folder / "mlruns")
    with closing(sqlite3.connect(folder / "mlflow.db")) as live, closing(sqlite3.connect(folder / "kept.db")) as kept:
        kept.backup(live)


def test_a_sound_study_has_no_differences(study: Study) -> None:
    findings = study.check()
    assert findings.differences == ()
    assert (findings.notes, findings.damaged) == ((), ())
    assert (findings.num_trials, findings.num_attempts) == (3, 3)
    assert findings.num_checkpoints == sum(1 for _ in (study.folder / "mlruns").rglob("*.keras")) >= 6


def test_without_features_checkpoints_are_read_but_not_scored(study: Study, tmp_path: Path) -> None:
    findings = check(study.store, study.record, cache_dir=tmp_path)
    assert findings.differences == ()
    (note,) = findings.notes
    assert note.startswith("checkpoints read but not scored")
    checkpoint = next(study.artifacts(1).glob("checkpoints/*/*"))
    os.truncate(checkpoint, 500)
    assert len(check(study.store, study.record, cache_dir=tmp_path).differences) == 1


@pytest.mark.parametrize(("num_completed", "is_sound"), [(3, True), (2, False), (0, False), (4, False)])
def test_a_study_cut_short_is_compared_too(num_completed: int, is_sound: bool, study: Study) -> None:
    """A kill may have come before its own figures, but then they are those of an earlier moment, all of them."""
    study.client.update_run(study.record.run_id, status="KILLED")
    study.client.log_metric(study.record.run_id, "trials_completed", num_completed, step=9)
    assert (study.check().differences == ()) == is_sound


def test_a_study_cut_short_before_its_last_figures_is_sound(study: Study) -> None:
    study.client.update_run(study.record.run_id, status="KILLED")
    study.sql("delete from metrics where run_uuid = ? and step = 3", study.record.run_id)
    study.sql("delete from latest_metrics where run_uuid = ?", study.record.run_id)
    study.sql(
        "insert into latest_metrics select key, value, timestamp, step, is_nan, run_uuid from metrics"
        " where run_uuid = ? and step = 2 and key not like 'system/%'",
        study.record.run_id,
    )
    assert study.check().differences == ()
    study.client.update_run(study.record.run_id, status="FINISHED")
    assert len(study.check().differences) >= 2


def checkpoint(study: Study, trial: int = 2, seed: int = 1, epoch: int = 1) -> Path:
    return study.artifacts(trial) / f"checkpoints/seed_{seed}/epoch_{epoch:02d}.keras"


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_checkpoint(study: Study) -> None:
    cut(checkpoint(study))


def flip_checkpoint(study: Study) -> None:
    flip(checkpoint(study))


def empty_checkpoint(study: Study) -> None:
    checkpoint(study).write_bytes(b"")


def lose_checkpoint(study: Study) -> None:
    checkpoint(study).unlink()


def add_checkpoint(study: Study) -> None:
    shutil.copy(checkpoint(study), checkpoint(study, epoch=9))


def swap_checkpoint(study: Study) -> None:
    shutil.copy(checkpoint(study, seed=2), checkpoint(study))


def checkpoint_of_another_trial(study: Study) -> None:
    shutil.copy(checkpoint(study, trial=1), checkpoint(study))


def predictions(study: Study) -> Path:
    return study.artifacts(2) / "predictions/seed_1.npz"


def cut_predictions(study: Study) -> None:
    cut(predictions(study))


def flip_predictions(study: Study) -> None:
    flip(predictions(study))


def lose_predictions(study: Study) -> None:
    predictions(study).unlink()


def change_predictions(study: Study, **changes: Callable[[np.ndarray], np.ndarray]) -> None:
    with np.load(predictions(study)) as kept:
        arrays = {name: changes.get(name, lambda array: array)(kept[name]) for name in kept.files}
    np.savez(predictions(study), **arrays)


def shuffle_predictions(study: Study) -> None:
    change_predictions(study, probabilities=lambda array: array[..., ::-1])


def sharpen_predictions(study: Study) -> None:
    def sharpen(array: np.ndarray) -> np.ndarray:
        return (array**2 / (array**2).sum(-1, keepdims=True)).astype(np.float32)

    change_predictions(study, probabilities=sharpen)


def relabel_predictions(study: Study) -> None:
    change_predictions(study, labels=lambda array: np.roll(array, 1))


def change_best_value(study: Study) -> None:
    study.client.log_metric(study.trial(2).info.run_id, "best_val_accuracy", 0.99, step=2)


def change_best_epoch(study: Study) -> None:
    study.client.log_metric(study.trial(2).info.run_id, "best_epoch", 7, step=2)


def change_standard_error(study: Study) -> None:
    study.client.log_metric(study.trial(2).info.run_id, "best_val_accuracy_se", 0.5, step=2)


CURVE = "run_uuid = ? and key = ? and step = ?"


def change_mean_curve(study: Study) -> None:
    run_id = study.trial(2).info.run_id
    study.sql(f"update metrics set value = value + 0.01 where {CURVE}", run_id, "val_loss", 1)


def change_seed_curve(study: Study) -> None:
    run_id = study.trial(2).info.run_id
    study.sql(f"update metrics set value = value / 2 where {CURVE}", run_id, "seed_2/val_accuracy", 2)


def lose_an_epoch(study: Study) -> None:
    study.sql(f"delete from metrics where {CURVE}", study.trial(2).info.run_id, "seed_1/loss", 1)


def log_an_epoch_twice(study: Study) -> None:
    study.client.log_metric(study.trial(2).info.run_id, "seed_1/loss", 1.0, step=1)


def infinite_metric(study: Study) -> None:
    study.client.log_metric(study.trial(2).info.run_id, "seconds", float("inf"), step=9)


def change_parameter(study: Study) -> None:
    statement = "update params set value = '0.25' where run_uuid = ? and key = 'dropout'"
    study.sql(statement, study.trial(2).info.run_id)


def change_values(study: Study) -> None:
    values = {"learning_rate": 0.002, "dense_units": 10, "dropout": 0.2}
    study.client.set_tag(study.trial(2).info.run_id, "fashion.values", json.dumps(values))


def leave_the_space(study: Study) -> None:
    run = study.trial(3)
    values = json.loads(run.data.tags["fashion.values"])
    study.client.set_tag(run.info.run_id, "fashion.values", json.dumps({**values, "learning_rate": 0.5}))


def tell_twice_at_one_place(study: Study) -> None:
    study.client.set_tag(study.trial(2).info.run_id, "fashion.tell", "2")


def tell_before_ask(study: Study) -> None:
    for name, place in (("ask", 4), ("tell", 3)):
        study.client.set_tag(study.trial(2).info.run_id, f"fashion.{name}", str(place))


def lose_the_tell(study: Study) -> None:
    study.client.delete_tag(study.trial(2).info.run_id, "fashion.tell")


def leave_a_trial_running(study: Study) -> None:
    study.client.update_run(study.trial(2).info.run_id, status="RUNNING")


def leave_the_study_running(study: Study) -> None:
    study.client.update_run(study.record.run_id, status="RUNNING")


def fail_without_a_reason(study: Study) -> None:
    study.client.update_run(study.trial(3).info.run_id, status="FAILED")


def count_a_trial_twice(study: Study) -> None:
    run = study.trial(2)
    tags = {name: value for name, value in run.data.tags.items() if name.startswith(("fashion", "mlflow.parent"))}
    copy = study.client.create_run(run.info.experiment_id, tags=tags)
    study.client.set_terminated(copy.info.run_id, "FINISHED")


def lose_a_trial(study: Study) -> None:
    study.client.delete_run(study.trial(2).info.run_id)


def count_more_trials(study: Study) -> None:
    study.client.log_metric(study.record.run_id, "trials_completed", 4, step=4)


def praise_the_study(study: Study) -> None:
    study.client.log_metric(study.record.run_id, "best_val_accuracy", 0.99, step=4)


def of_the_study(study: Study, name: str) -> Path:
    return Path(study.client.get_run(study.record.run_id).info.artifact_uri.removeprefix("file://")) / name


def edit_the_card(study: Study) -> None:
    path = of_the_study(study, "card.toml")
    path.write_text(path.read_text().replace("epochs = 2", "epochs = 3"))


def cut_the_card(study: Study) -> None:
    cut(of_the_study(study, "card.toml"))


def lose_the_manifest(study: Study) -> None:
    of_the_study(study, "manifest.csv").unlink()


def edit_the_manifest(study: Study) -> None:
    path = of_the_study(study, "manifest.csv")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def empty_the_environment(study: Study) -> None:
    of_the_study(study, "environment.txt").write_text("")


def change_the_parts(study: Study) -> None:
    study.client.set_tag(study.record.run_id, "fashion.study", "0" * 16)


@pytest.mark.parametrize(
    ("spoil", "trial", "words"),
    [
        (cut_checkpoint, 2, "checkpoints/seed_1/epoch_01.keras is damaged"),
        (flip_checkpoint, 2, "checkpoints/seed_1/epoch_01.keras is damaged"),
        (empty_checkpoint, 2, "checkpoints/seed_1/epoch_01.keras is damaged"),
        (lose_checkpoint, 2, "checkpoints/seed_1/epoch_01.keras is missing"),
        (add_checkpoint, 2, "epoch_09.keras stands where no curve improved"),
        (swap_checkpoint, 2, "epoch_01.keras gives probabilities that differ from the kept ones by up to"),
        (checkpoint_of_another_trial, 2, "epoch_01.keras gives probabilities that differ"),
        (cut_predictions, 2, "predictions/seed_1.npz is missing or damaged"),
        (flip_predictions, 2, "predictions/seed_1.npz is missing or damaged"),
        (lose_predictions, 2, "predictions/seed_1.npz is missing or damaged"),
        (shuffle_predictions, 2, "predictions/seed_1.npz gives another accuracy than seed_1/val_accuracy"),
        (sharpen_predictions, 2, "predictions/seed_1.npz gives another loss than seed_1/val_loss"),
        (relabel_predictions, 2, "predictions/seed_1.npz has other labels than the manifest"),
        (change_best_value, 2, "best_val_accuracy is 0.99, the curves and predictions give"),
        (change_best_epoch, 2, "best_epoch is 7"),
        (change_standard_error, 2, "best_val_accuracy_se is 0.5"),
        (change_mean_curve, 2, "val_loss is not the mean of its seeds"),
        (change_seed_curve, 2, "seed_2.npz gives another accuracy"),
        (lose_an_epoch, 2, "seed_1/loss has steps [2]"),
        (log_an_epoch_twice, 2, "seed_1/loss has steps [1, 1, 2]"),
        (infinite_metric, 2, "only finite numbers may stand there"),
        (change_parameter, 2, "parameter dropout is 0.25, expected 0.2"),
        (change_values, 2, "parameter learning_rate is 0.0005, expected 0.002"),
        (change_values, 0, "the card lists"),
        (leave_the_space, 0, "learning_rate 0.5 is outside the space"),
        (tell_twice_at_one_place, 0, "asks and tells stand at [1, 2, 2, 3, 5, 6]"),
        (tell_before_ask, 0, "trial 2 was told (place 3) before it was asked (place 4)"),
        (lose_the_tell, 2, "FINISHED without a tell order"),
        (leave_a_trial_running, 2, "RUNNING, but no live process owns the study"),
        (leave_the_study_running, 0, "RUNNING, but no live process owns it"),
        (fail_without_a_reason, 3, "FAILED without a typed error"),
        (count_a_trial_twice, 2, "a second run of attempt 1"),
        (count_a_trial_twice, 2, "2 runs of it count"),
        (lose_a_trial, 2, "deleted in MLflow; tune with its card trains it again"),
        (count_more_trials, 0, "trials_completed is 4.0, but its trials give 3.0"),
        (praise_the_study, 0, "best_val_accuracy is 0.99"),
        (edit_the_card, 0, "card.toml is not the card in fashion.parts"),
        (cut_the_card, 0, "no usable card or manifest"),
        (lose_the_manifest, 0, "manifest.csv is missing or empty"),
        (edit_the_manifest, 0, "manifest.csv has digest"),
        (empty_the_environment, 0, "environment.txt is missing or empty"),
        (change_the_parts, 0, "fashion.parts have another digest"),
    ],
)
def test_what_is_wrong_is_named(spoil: Callable[[Study], None], trial: int, words: str, study: Study) -> None:
    spoil(study)
    findings = study.check()
    told = [(one.trial, one.what) for one in findings.differences]
    assert any(place == trial and words in what for place, what in told), told
    artifacts_are_at_fault = "checkpoint" in spoil.__name__ or "predictions" in spoil.__name__
    mendable = artifacts_are_at_fault and words.endswith(("damaged", "missing"))
    assert findings.damaged == ((study.trial(2).info.run_id,) if mendable else findings.damaged)


EVERY = (
    make_card_text("hyperband", "factor = 2\nmax_trials = 5")
    .replace("epochs = 2\n", "epochs = 6\npatience = 1\n")
    .replace("max_value = 1e-2", "max_value = 1e38")
    + "[[configurations]]\nlearning_rate = 1e38\ndense_units = 0\ndropout = 0.0\n"
)


@pytest.mark.slow
def test_a_study_with_every_kind_of_ending_is_sound(
    inputs_of: Inputs, tmp_path: Path, new_uri: Callable[[Path], str], worker: Worker
) -> None:
    """Early stopping, a diverged trial, a dead worker, an interrupt, an extension, and two generations."""
    inputs = replace(inputs_of(parse_card(EVERY, name="card")), card_text=EVERY)
    uri = new_uri(tmp_path)
    deaths = []

    def disturb(event: Event) -> None:
        if isinstance(event, TrialStarted) and event.record.trial == 2 and not deaths:
            deaths.append(event.record.trial)
            os.kill(worker.pid, signal.SIGKILL)
        if isinstance(event, TrialStarted) and event.record.trial == 5:
            raise KeyboardInterrupt

    def run(max_trials: int, *, fresh: bool = False, report: Callable[[Event], None] = lambda _: None) -> StudyRecord:
        return tune(inputs, Store(uri), workers=[worker], max_trials=max_trials, fresh=fresh, report=report)

    with pytest.raises(KeyboardInterrupt):
        run(5, report=disturb)
    store = Store(uri)
    (interrupted,) = find_studies(store, inputs.experiment)
    for record in (interrupted, run(5), run(7), run(4, fresh=True)):
        findings = check(store, record, cache_dir=inputs.cache_dir)
        assert (findings.differences, findings.notes) == ((), ())
    statuses = [one.status for one in read_attempts(store, interrupted)]
    assert {"FINISHED", "FAILED", "KILLED"} == set(statuses)
    assert deaths == [2]
