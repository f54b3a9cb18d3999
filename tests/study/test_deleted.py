"""A study, its experiment or its trials deleted or renamed in MLflow's UI: what is said, and what is done about it."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient
from small_card import BAYESIAN

from fashion_tuning.errors import FashionTuningError, StoreError, UsageError
from fashion_tuning.study.check import check
from fashion_tuning.study.events import Notice
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.lookup import find_own_studies, find_study
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.records import StudyRecord, TrialRecord, latest_attempts, read_attempts
from fashion_tuning.tracking.store import Store


@dataclass
class Setting:
    store: Store
    client: MlflowClient
    study: StudyRecord
    cache: Path
    tune: Callable[..., tuple[StudyRecord, list[str]]]

    def trials(self, **settings: bool) -> list[TrialRecord]:
        return latest_attempts(read_attempts(self.store, self.study, **settings))

    def differences(self) -> list[str]:
        return [difference.what for difference in check(self.store, self.study, cache_dir=self.cache).differences]


@pytest.fixture(scope="module")
def setting(
    new_uri, inputs_of_text, worker: Worker, feature_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Setting:
    """A finished study of four trials; each test leaves it as it was."""
    store = Store(new_uri(tmp_path_factory.mktemp("deleted")))

    def run(text: str = BAYESIAN, *, fresh: bool = False) -> tuple[StudyRecord, list[str]]:
        notices: list[str] = []

        def report(event: object) -> None:
            if isinstance(event, Notice):
                notices.append(event.text)

        inputs = inputs_of_text(text)
        return tune(inputs, store, workers=[worker], max_trials=None, fresh=fresh, report=report), notices

    study, _ = run()
    return Setting(store, MlflowClient(store.uri), study, feature_cache, run)


def type_remedy(error: FashionTuningError) -> None:
    """Types the command that an error names."""
    command = re.match(r"(.*) brings it back", error.action)
    assert command, error.action
    done = subprocess.run(command[1], shell=True, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def refused(*parts: str, then: Callable[[FashionTuningError], object] = type_remedy) -> Iterator[None]:
    """A StoreError that names all these parts; what it says to type is typed, or done by MLflow's client."""
    with pytest.raises(StoreError) as raised:
        yield
    for part in parts:
        assert part in str(raised.value)
    then(raised.value)


def test_a_deleted_experiment_is_named_and_the_command_restores_it(setting: Setting) -> None:
    experiment_id = setting.study.experiment_id
    setting.client.delete_experiment(experiment_id)
    with refused("experiment 'small' was deleted", experiment_id):
        setting.tune()
    assert find_study(setting.store, "small").run_id == setting.study.run_id
    for name in ("small", setting.study.run_id):
        setting.client.delete_experiment(experiment_id)
        with refused("experiment 'small' was deleted", then=lambda _: setting.client.restore_experiment(experiment_id)):
            find_study(setting.store, name)
    assert setting.differences() == []


def test_a_renamed_experiment_is_gone_on_with_under_its_new_name(setting: Setting) -> None:
    setting.client.rename_experiment(setting.study.experiment_id, "coats")
    try:
        study, notices = setting.tune()
        assert study.run_id == setting.study.run_id
        assert notices == ["the experiment 'small' was renamed to 'coats'; the study is there"]
        assert find_study(setting.store, "coats").run_id == study.run_id
        with pytest.raises(UsageError, match="renamed to 'coats'"):
            find_study(setting.store, "small")
        # The same settings under another name are another person's study.
        own = {"card_name": "other", "fresh": False}
        assert find_own_studies(setting.store, "other", study.digest, **own) == ("other", [])
    finally:
        setting.client.rename_experiment(setting.study.experiment_id, "small")


def test_a_renamed_and_deleted_experiment_is_found_by_the_study_s_digest(setting: Setting) -> None:
    setting.client.rename_experiment(setting.study.experiment_id, "coats")
    setting.client.delete_experiment(setting.study.experiment_id)
    try:
        experiment_id = setting.study.experiment_id
        with refused("experiment 'coats' was deleted", then=lambda _: setting.client.restore_experiment(experiment_id)):
            setting.tune()
    finally:
        setting.client.rename_experiment(setting.study.experiment_id, "small")


def test_a_deleted_study_run_is_named_and_begun_anew_only_when_asked_to(setting: Setting) -> None:
    setting.client.delete_run(setting.study.run_id)
    with refused(setting.study.run_id, "was deleted", "--fresh"):
        setting.tune()
    for name in ("small", setting.study.run_id):
        setting.client.delete_run(setting.study.run_id)
        with refused(setting.study.run_id, then=lambda _: setting.client.restore_run(setting.study.run_id)):
            find_study(setting.store, name)


def test_a_deleted_trial_is_trained_again_with_its_values_in_its_place(setting: Setting) -> None:
    before = setting.trials()
    gone = before[2]
    setting.client.delete_run(gone.run_id)
    (difference,) = setting.differences()
    assert difference.startswith("deleted in MLflow; tune with its card trains it again with its recorded values, or ")
    study, notices = setting.tune()
    assert study.run_id == setting.study.run_id
    assert notices == ["deleted in MLflow, and trained again with the values on record: trial 03"]
    after = setting.trials()
    assert setting.differences() == []
    assert [(record.trial, record.ask, record.tell, record.values) for record in after] == [
        (one.trial, one.ask, one.tell, one.values) for one in before
    ]
    assert after[2].run_id != gone.run_id
    assert after[2].attempt == gone.attempt + 1
    assert after[2].metrics["best_val_accuracy"] == gone.metrics["best_val_accuracy"]
    assert setting.tune()[1] == []


def test_several_deleted_trials_and_what_a_stop_left_of_one_of_them(setting: Setting) -> None:
    before = setting.trials()
    for record in (before[0], before[3]):
        setting.client.delete_run(record.run_id)
    assert len(setting.differences()) == 2
    _, notices = setting.tune()
    assert notices == ["deleted in MLflow, and trained again with the values on record: trial 01, trial 04"]
    assert setting.differences() == []
    assert [record.values for record in setting.trials()] == [one.values for one in before]


def test_a_trial_that_was_removed_for_good_gives_its_place_to_another(setting: Setting) -> None:
    gone = setting.trials()[1]
    setting.client.delete_run(gone.run_id)
    setting.client._tracking_client.store._hard_delete_run(gone.run_id)
    assert any("numbered [1, 3, 4]" in difference for difference in setting.differences())
    setting.tune()
    assert [record.trial for record in setting.trials()] == [1, 2, 3, 4]
    assert setting.trials()[1].values == gone.values  # the card lists them
    assert setting.differences() == []


@pytest.mark.parametrize(("tag", "value"), [("fashion.ask", "soon"), ("fashion.values", "{"), ("fashion.trial", None)])
def test_a_tag_that_a_person_has_changed_is_named_with_its_run(setting: Setting, tag: str, value: str | None) -> None:
    run_id = setting.trials()[0].run_id
    before = setting.client.get_run(run_id).data.tags[tag]
    if value is None:
        setting.client.delete_tag(run_id, tag)
    else:
        setting.client.set_tag(run_id, tag, value)
    try:
        with pytest.raises(StoreError, match=run_id):
            setting.trials()
    finally:
        setting.client.set_tag(run_id, tag, before)


def test_nothing_is_left_deleted_that_a_person_has_not_deleted(setting: Setting) -> None:
    deleted = setting.client.search_runs([setting.study.experiment_id], run_view_type=ViewType.DELETED_ONLY)
    assert len(deleted) == 3
    assert find_study(setting.store, "small").run_id == setting.study.run_id
