"""Reports of real studies in a real store: their files, their place in the run, several studies against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from command_line import run
from mlflow.tracking import MlflowClient
from small_card import make_card_text, make_wide_text

import fashion_tuning
from fashion_tuning.errors import DiskError
from fashion_tuning.hyperparameters import is_active
from fashion_tuning.launch_report import _together
from fashion_tuning.report.comparison import read_comparison
from fashion_tuning.report.material import read_material
from fashion_tuning.report.write import write_comparison, write_report
from fashion_tuning.study.check import check
from fashion_tuning.study.comparison import compare
from fashion_tuning.study.leaderboard import leaderboard
from fashion_tuning.tracking.notes import BEGIN, NOTE
from fashion_tuning.tracking.records import StudyRecord, read_curve
from fashion_tuning.tracking.store import Store

pytestmark = pytest.mark.slow

FIRST = make_card_text("random", "max_trials = 3")
SECOND = FIRST.replace('name = "small"', 'name = "other"').replace("epochs = 2", "epochs = 1")


@dataclass(frozen=True)
class Setting:
    uri: str
    first: StudyRecord
    second: StudyRecord

    @property
    def store(self) -> Store:
        return Store(self.uri)


@pytest.fixture(scope="module")
def setting(
    tmp_path_factory: pytest.TempPathFactory,
    new_uri: Callable[[Path], str],
    run_study: Callable[[str, str], StudyRecord],
) -> Setting:
    """Two finished studies in one store."""
    uri = new_uri(tmp_path_factory.mktemp("report"))
    studies = [run_study(text, uri) for text in (FIRST, SECOND)]
    return Setting(uri, *studies)


def test_material_is_what_the_runs_say(setting: Setting) -> None:
    material = read_material(setting.store, setting.first)
    assert [trial.number for trial in material.trials] == [1, 2, 3]
    for trial in material.trials:
        curve = tuple(value for _, value in read_curve(setting.store, trial.record.run_id, "val_accuracy"))
        assert trial.val_accuracy == curve
        assert trial.val_accuracy[trial.best_epoch - 1] == trial.score == max(curve)
        assert sum(trial.row.seeds) / len(trial.row.seeds) == pytest.approx(trial.score)
    assert material.final is None
    assert material.provenance["manifest"]


def test_a_report_stands_in_a_folder_and_in_the_run(setting: Setting, tmp_path: Path) -> None:
    written = write_report(setting.store, setting.first, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "report.html" in names
    assert len(names) == 1 + 2 * written.num_figures
    assert written.num_figures >= 8
    found = MlflowClient(setting.uri).list_artifacts(setting.first.run_id, "report")
    assert {Path(one.path).name for one in found} == names
    for reading in written.readings:
        assert reading


def test_a_folder_that_cannot_be_written_is_named(setting: Setting, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="--output"):
        write_report(setting.store, setting.first, tmp_path / "file" / "report")


def test_several_studies_are_ranked_together_and_told_apart(setting: Setting, tmp_path: Path) -> None:
    store = setting.store
    boards = [leaderboard(store, study) for study in (setting.first, setting.second)]
    comparison = compare(store, boards)
    scores = [one.row.record.metrics["best_val_accuracy"] for one in comparison.rows]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 6
    assert all(one.comparable for one in comparison.rows)
    assert comparison.rows[0].tied
    lines = {(one.kind, line) for one in comparison.differences for line in one.lines}
    assert ("training", "training.epochs: 2 -> 1") in lines
    assert not {kind for kind, _ in lines} & {"data", "space", "versions"}
    sentence = read_comparison(comparison)
    assert f"{scores[0]:.4f}" in sentence
    written = write_comparison(comparison, tmp_path / "both")
    assert "training.epochs" in written.page.read_text(encoding="utf-8")


def test_two_runs_of_one_experiment_do_not_replace_the_report_of_one(setting: Setting) -> None:
    names = _together([leaderboard(setting.store, one) for one in (setting.first, setting.second)])
    assert names == "small-other"
    board = leaderboard(setting.store, setting.first)
    again = replace(board, study=replace(setting.first, run_id="0123456789"))
    assert _together([board, again]) == f"small-{setting.first.run_id[:8]}-small-01234567"


def test_the_commands(setting: Setting, tmp_path: Path) -> None:
    typed = ["report", setting.second.run_id, "--tracking-uri", setting.uri, "--output", str(tmp_path / "page")]
    done = run(*typed, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"report: {tmp_path / 'page' / 'report.html'}")
    both = run("leaderboard", "small", "other", "--tracking-uri", setting.uri, folder=tmp_path)
    assert both.returncode == 0, both.stderr
    assert "other against small, training:" in both.stdout
    assert "training.epochs: 2 -> 1" in both.stdout
    twice = run("report", "small", setting.first.run_id, "--tracking-uri", setting.uri, folder=tmp_path)
    assert twice.returncode == 2
    assert "twice" in twice.stderr


def test_the_run_and_its_experiment_say_what_was_found(setting: Setting, tmp_path: Path) -> None:
    client = MlflowClient(setting.uri)
    experiment = client.get_experiment_by_name("small")
    client.set_experiment_tag(experiment.experiment_id, NOTE, "a person's words\n\n### and heading")
    before = client.get_run(setting.first.run_id).data.tags[NOTE].partition(f"\n\n{BEGIN}")[0]
    for _ in range(2):  # a second report takes the place of the first
        write_report(setting.store, setting.first, tmp_path / "out")
        note = client.get_run(setting.first.run_id).data.tags[NOTE]
        client.set_tag(setting.first.run_id, NOTE, f"{note}\n- and a remark of mine")
    note = client.get_run(setting.first.run_id).data.tags[NOTE]
    assert note.startswith(before)
    assert note.endswith("\n- and a remark of mine\n- and a remark of mine")
    assert note.count("### Leaderboard") == 1
    for trial in read_material(setting.store, setting.first).trials:
        assert f"[{trial.number:02d}](#/experiments/" in note
    said = client.get_experiment_by_name("small").tags[NOTE]
    assert said.startswith(f"a person's words\n\n### and heading\n\n{BEGIN}\n### Where it stands\n")
    assert said.count("### Where it stands") == 1
    assert f"runs/{setting.first.run_id}" in said


def test_a_study_of_many_hyperparameters(
    new_uri: Callable[[Path], str], run_study: Callable[[str, str], StudyRecord], feature_cache: Path, tmp_path: Path
) -> None:
    """Searched, recorded, checked, shown and told, whether active in all trials or in some."""
    store = Store(new_uri(tmp_path))
    study = run_study(make_wide_text(), store.uri)
    assert check(store, study, cache_dir=feature_cache).differences == ()
    assert "views.png" in {one.path for one in MlflowClient(store.uri).list_artifacts(study.run_id)}
    board = leaderboard(store, study)
    for row in board.rows:
        values, parameters = row.record.values, row.record.parameters
        for name in board.hyperparameters:
            assert (name in values) == is_active(name, values), name
            assert (parameters.get(name) == str(values[name])) if name in values else (name not in parameters)
        assert values["schedule"] == "cosine"
    written = write_report(store, study, tmp_path / "out")
    page = written.page.read_text(encoding="utf-8")
    assert "label smoothing" in page
    assert any(reading.startswith("optimizer: ") for reading in written.readings)
    shown = run("leaderboard", "small", "--tracking-uri", store.uri, folder=tmp_path)
    assert "ema momentum 0.5" in " ".join(shown.stdout.lower().split())
    again = fashion_tuning.load_study("small", tracking_uri=store.uri).trials
    assert again["optimizer"].isin(["adam", "adamw", "sgd"]).all()
    assert again.loc[again["optimizer"] != "adamw", "weight_decay"].isna().all()
