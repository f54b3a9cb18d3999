"""Pictures that stand in several splits are told by `tune`, by the study's run and by its report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run
from mlflow.tracking import MlflowClient
from small_card import make_card_text

from fashion_tuning.config import parse_card
from fashion_tuning.data.source import Dataset, open_dataset
from fashion_tuning.final.job import make_job
from fashion_tuning.final.model_card import model_card
from fashion_tuning.final.train import final_train
from fashion_tuning.model.weights import Weights
from fashion_tuning.report.write import write_report
from fashion_tuning.study.events import Event, Plan
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.records import read_study
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import StudyRun
from fashion_tuning.tracking.tag_names import SHARED

CARD = make_card_text() + "[final]\nimage_size = 71\nepochs = 1\nlearning_rate_factors = []\n"
FOUND = {"train and test": 1, "train and validation": 2}
TOLD = "3 pictures stand in several splits: 1 in train and test, 2 in train and validation"


@pytest.fixture(scope="module")
def overlapping(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("overlapping") / "garments"
    shutil.copytree(small_dataset.root, root)
    train = sorted((root / "train" / "hat").iterdir())
    for number, split in enumerate(("validation", "validation", "test")):
        shutil.copy(train[number], root / split / "hat" / f"copy-{number}.jpg")
    return open_dataset(root, cache_dir=tmp_path_factory.mktemp("verified"))


@pytest.fixture
def inputs(overlapping: Dataset, feature_cache: Path, weights: Weights) -> StudyInputs:
    return StudyInputs(parse_card(CARD, name="card"), CARD, overlapping, {weights.name: weights}, feature_cache)


def test_the_run_of_a_study_says_so_one_of_an_earlier_version_once_it_goes_on(
    inputs: StudyInputs, small_dataset: Dataset, new_uri: Callable[[Path], str], tmp_path: Path
) -> None:
    store = Store(new_uri(tmp_path))
    client = MlflowClient(store.uri)
    begun = StudyRun.begin(store, "small", inputs.origin, generation=1)
    assert json.loads(client.get_run(begun.run_id).data.tags[SHARED]) == FOUND
    begun.start(inputs.origin)
    begun.end("KILLED")
    client.delete_tag(begun.run_id, SHARED)  # as if an earlier version had begun it
    record = read_study(store, begun.run_id)
    assert record is not None
    resumed = StudyRun.resume(store, record, inputs.origin.dataset)
    resumed.start(inputs.origin)
    resumed.end("KILLED")
    assert json.loads(client.get_run(begun.run_id).data.tags[SHARED]) == FOUND
    others = replace(inputs, dataset=small_dataset)
    alone = StudyRun.begin(store, "alone", others.origin, generation=1)
    assert SHARED not in client.get_run(alone.run_id).data.tags


def test_data_counts_them(overlapping: Dataset, tmp_path: Path) -> None:
    done = run("data", "--data", str(overlapping.root), folder=tmp_path)
    assert f"  {TOLD}\n" in done.stdout
    done = run("data", "--data", str(overlapping.root), "--json", folder=tmp_path)
    assert json.loads(done.stdout)["shared"] == FOUND


@pytest.mark.slow
def test_plan_run_report_and_model_say_so(
    inputs: StudyInputs, worker: Worker, new_uri: Callable[[Path], str], tmp_path: Path
) -> None:
    store, events = Store(new_uri(tmp_path)), list[Event]()
    for _ in range(2):  # the second goes on with what the first has begun
        study = tune(inputs, store, workers=[worker], max_trials=None, fresh=False, report=events.append)
    job = make_job(inputs, store, study, top=1)
    outcome = final_train(job, store, workers=[worker], report=events.append, tell=lambda _: None)
    plans = [event for event in events if isinstance(event, Plan)]
    assert [(plan.tuner, plan.shared) for plan in plans] == [("list", FOUND), ("list", FOUND), ("final", FOUND)]
    for run_id in (study.run_id, outcome.final.run_id):
        assert json.loads(MlflowClient(store.uri).get_run(run_id).data.tags[SHARED]) == FOUND
    page = write_report(store, study, tmp_path / "report").page.read_text()
    assert page.count(TOLD) == 2  # at its head, and where it says how it was measured
    assert TOLD in model_card(outcome, job.inputs)
