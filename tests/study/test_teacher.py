"""Studies whose trials learn what a trial of another study says."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from fashion_tuning.config import parse_card
from fashion_tuning.data.source import Dataset
from fashion_tuning.errors import DataError, StoreError, UsageError
from fashion_tuning.final.job import make_job
from fashion_tuning.final.train import final_train
from fashion_tuning.model.checkpoint import predict
from fashion_tuning.model.features import load_features
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.best_epoch import best_heads
from fashion_tuning.study.check import check
from fashion_tuning.study.events import Event, Notice, Plan
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.finished import finished_study
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.leaderboard import leaderboard
from fashion_tuning.study.replay import replay
from fashion_tuning.study.teacher import TARGETS, find_teacher, read_targets
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.records import StudyRecord, latest_attempts, read_attempts, read_study
from fashion_tuning.tracking.store import Store

TEACHER = """
name = "teacher"
seed = 5
[images]
image_size = 80
[training]
epochs = 2
seeds = 2
[[configurations]]
learning_rate = 0.001
dense_units = 0
dropout = 0.0
[[configurations]]
learning_rate = 0.01
dense_units = 0
dropout = 0.0
"""
PUPIL = """
name = "pupil"
seed = 3
[images]
image_size = 71
[teacher]
study = "teacher"
[views]
number = 1
horizontal_flip = true
[training]
epochs = 2
[final]
image_size = 75
epochs = 1
learning_rate_factors = []
[[configurations]]
learning_rate = 0.001
dense_units = 0
dropout = 0.0
distillation = 0.9
[[configurations]]
learning_rate = 0.001
dense_units = 0
dropout = 0.0
distillation = 0.0
"""


@dataclass
class School:
    """A finished teacher's study and what its pupils are run on; `said` is what the last run reported."""

    store: Store
    teacher: StudyRecord
    dataset: Dataset
    weights: Weights
    cache: Path
    worker: Worker
    said: list[Event]

    def inputs(self, text: str = PUPIL) -> StudyInputs:
        card = parse_card(text, name="card")
        teacher = find_teacher(self.store, card, self.dataset)
        return StudyInputs(card, text, self.dataset, {"xception": self.weights}, self.cache, teacher)

    def run(self, text: str = PUPIL, *, fresh: bool = False) -> StudyRecord:
        self.said.clear()
        return tune(
            self.inputs(text), self.store, workers=[self.worker], max_trials=None, fresh=fresh, report=self.said.append
        )

    def targets(self, study: StudyRecord) -> Path:
        uri = self.store.call(lambda client: client.get_run(study.run_id)).info.artifact_uri
        return Path(uri.removeprefix("file://")) / TARGETS

    def plan(self) -> Plan:
        return next(event for event in self.said if isinstance(event, Plan))

    def notices(self) -> list[str]:
        return [event.text for event in self.said if isinstance(event, Notice)]


@pytest.fixture(scope="module")
def school(
    tmp_path_factory: pytest.TempPathFactory,
    new_uri: Callable[[Path], str],
    small_dataset: Dataset,
    weights: Weights,
    feature_cache: Path,
    worker: Worker,
) -> School:
    store = Store(new_uri(tmp_path_factory.mktemp("school")))
    inputs = StudyInputs(parse_card(TEACHER, name="card"), TEACHER, small_dataset, {"xception": weights}, feature_cache)
    teacher = tune(inputs, store, workers=[worker], max_trials=None, fresh=False, report=lambda _: None)
    return School(store, teacher, small_dataset, weights, feature_cache, worker, [])


@pytest.fixture(scope="module")
def pupil(school: School) -> StudyRecord:
    return school.run()


def test_targets_are_what_the_chosen_trial_says_of_each_view(school: School, pupil: StudyRecord) -> None:
    chosen = leaderboard(school.store, school.teacher).chosen
    inputs = school.inputs()
    assert inputs.teacher is not None
    assert inputs.teacher.record == chosen
    expected = []
    for ref in inputs.teacher.features(inputs.card, school.cache):
        assert ref.key.image_size == 80
        with best_heads(school.store, chosen) as heads:
            answers = [predict(head, load_features(ref)) for head in heads]
        assert len(answers) == 2
        expected.append((answers[0] + answers[1]) / 2)
    found = read_targets(school.store, pupil.run_id)
    assert found.shape == (2, len(inputs.dataset.manifest.select("train")), 10)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(found[0], found[1], atol=1e-3)  # the mirror image is another picture


def test_a_study_with_a_teacher_tells_of_it_and_agrees_with_itself(school: School, pupil: StudyRecord) -> None:
    run = school.store.call(lambda client: client.get_run(pupil.run_id))
    teacher = leaderboard(school.store, school.teacher).chosen
    assert run.data.tags["fashion.teacher_run"] == pupil.parts["inputs"]["teacher"] == teacher.run_id
    assert 0 < run.data.metrics["teacher_accuracy"] <= 1
    assert "study teacher" in run.data.tags["mlflow.note.content"]
    found = check(school.store, pupil, cache_dir=school.cache)
    assert (found.differences, found.notes) == ((), ())
    taught, alone = latest_attempts(read_attempts(school.store, pupil))
    assert taught.metrics["best_val_accuracy"] > 0
    curves = [
        [point.value for point in school.store.client.get_metric_history(one.run_id, "loss")] for one in (taught, alone)
    ]
    assert curves[0] != curves[1]
    again = replay(school.store, taught.run_id, worker=school.worker, cache_dir=school.cache, tolerance=0.0)
    assert again.agrees


def test_what_the_teacher_has_said_is_kept_and_made_again_where_it_is_lost(school: School, pupil: StudyRecord) -> None:
    path, before = school.targets(pupil), read_targets(school.store, pupil.run_id)
    assert school.run().run_id == pupil.run_id
    assert school.notices() == []
    path.write_bytes(path.read_bytes()[:500])
    (found,) = check(school.store, pupil, cache_dir=school.cache).differences
    assert "targets.npz is missing or damaged" in found.what
    first, _ = latest_attempts(read_attempts(school.store, pupil))
    with pytest.raises(StoreError, match="what its teacher has said") as caught:
        replay(school.store, first.run_id, worker=school.worker, cache_dir=school.cache)
    assert "fashion-tuning tune" in caught.value.action
    school.run()
    assert "trial 0" in school.plan().teacher
    assert "160 images" in school.notices()[0]  # 80 photos and their mirror images
    np.testing.assert_array_equal(read_targets(school.store, pupil.run_id), before)
    assert check(school.store, pupil, cache_dir=school.cache).differences == ()


def test_what_learns_from_no_teacher_is_replayed_without_its_answers(school: School, pupil: StudyRecord) -> None:
    path = school.targets(pupil)
    path.rename(path.with_suffix(".away"))
    try:
        _, alone = latest_attempts(read_attempts(school.store, pupil))
        assert replay(school.store, alone.run_id, worker=school.worker, cache_dir=school.cache, tolerance=0.0).agrees
    finally:
        path.with_suffix(".away").rename(path)


def test_a_damaged_checkpoint_of_the_teacher_is_named(school: School, pupil: StudyRecord) -> None:
    teacher = leaderboard(school.store, school.teacher).chosen
    school.targets(pupil).unlink()
    with best_heads(school.store, teacher) as heads:
        whole = heads[1].read_bytes()
        heads[1].write_bytes(whole[:1000])
        try:
            with pytest.raises(StoreError, match=f"a checkpoint of run {teacher.run_id} can't be read") as caught:
                school.run()
        finally:
            heads[1].write_bytes(whole)
    assert "--repair" in caught.value.action
    school.run()
    assert read_targets(school.store, pupil.run_id) is not None


def test_another_run_of_the_teacher_makes_another_study(school: School, pupil: StudyRecord) -> None:
    text = TEACHER.replace("seed = 5", "seed = 6")
    school.run(text)
    try:
        assert school.inputs().study.digest != pupil.digest
        later = school.run()
        assert later.run_id != pupil.run_id
        assert any(line.startswith("inputs.teacher") for line in school.plan().changed)
    finally:
        school.run(TEACHER, fresh=True)  # the newest study of that name, again


def test_without_such_a_study_or_before_its_end_there_is_no_teacher(school: School, tmp_path: Path, new_uri) -> None:
    card = parse_card(PUPIL, name="card")
    empty = Store(new_uri(tmp_path))
    with pytest.raises(UsageError, match="the card's teacher: no study 'teacher'"):
        find_teacher(empty, card, school.dataset)
    client = MlflowClient(school.store.uri)
    newest = find_teacher(school.store, card, school.dataset).study.record
    client.set_terminated(newest.run_id, "KILLED")
    try:
        with pytest.raises(UsageError, match="is KILLED: it has trials to come"):
            find_teacher(school.store, card, school.dataset)
    finally:
        client.set_terminated(newest.run_id, "FINISHED")
    with pytest.raises(StoreError, match=r"not in sqlite.* any more"):
        find_teacher(empty, card, school.dataset, run_id="0" * 32)


def test_drawn_garments_are_taught_by_a_study_of_drawn_garments(
    school: School, tmp_path: Path, new_uri: Callable[[Path], str]
) -> None:
    """Whichever way it is named; where there is none, by that of the name itself."""
    drawn = replace(school.dataset, kind="drawn")
    by_run = PUPIL.replace('"teacher"', f'"{school.teacher.run_id}"')
    for text in (PUPIL, by_run):  # there is none of drawn garments yet
        assert find_teacher(school.store, parse_card(text, name="card"), drawn).study.record.experiment == "teacher"
    store = Store(new_uri(tmp_path))
    weights = {"xception": school.weights}
    for one in (school.dataset, drawn):
        inputs = StudyInputs(parse_card(TEACHER, name="card"), TEACHER, one, weights, school.cache)
        tune(inputs, store, workers=[school.worker], max_trials=1, fresh=False, report=lambda _: None)
    for text in (PUPIL, PUPIL.replace('"teacher"', '"teacher-drawn"')):
        found = find_teacher(store, parse_card(text, name="card"), drawn)
        assert found.study.record.experiment == "teacher-drawn"
    assert find_teacher(store, parse_card(PUPIL, name="card"), school.dataset).study.record.experiment == "teacher"


def test_a_teacher_of_other_photos_is_refused(school: School) -> None:
    manifest = replace(school.dataset.manifest, photos=school.dataset.manifest.photos[:-1])
    verification = replace(school.dataset.verification, manifest=manifest)
    with pytest.raises(DataError, match="of manifest"):
        find_teacher(school.store, parse_card(PUPIL, name="card"), replace(school.dataset, verification=verification))


@pytest.mark.slow
def test_the_final_run_of_a_study_has_its_teacher(school: School, pupil: StudyRecord) -> None:
    inputs = school.inputs()
    earlier = find_teacher(school.store, inputs.card, school.dataset, run_id=str(pupil.parts["inputs"]["teacher"]))
    inputs = replace(inputs, teacher=earlier)
    study = finished_study(school.store, inputs, read_study(school.store, pupil.run_id))
    job = make_job(inputs, school.store, study, top=1)
    outcome = final_train(job, school.store, workers=[school.worker], report=lambda _: None, tell=lambda _: None)
    tags = school.store.call(lambda client: client.get_run(outcome.final.run_id)).data.tags
    assert tags["fashion.teacher_run"] == pupil.parts["inputs"]["teacher"]
    assert tags["fashion.source_study_run"] == pupil.run_id
    targets = read_targets(school.store, outcome.final.run_id)
    np.testing.assert_array_equal(targets, read_targets(school.store, pupil.run_id))  # of the teacher's own pictures
    assert "teacher_accuracy" not in school.store.client.get_run(outcome.final.run_id).data.metrics  # taken over
    taught = next(one for one in outcome.trials if one.values.get("distillation") == 0.9)
    again = replay(school.store, taught.run_id, worker=school.worker, cache_dir=school.cache, tolerance=0.0)
    assert again.agrees
