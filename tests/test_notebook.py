"""A study loaded for a notebook: what it says is what MLflow has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from small_card import make_card_text
from test_docs import blocks

import fashion_tuning
from fashion_tuning.errors import NoTrialError, UsageError
from fashion_tuning.notebook import LoadedStudy
from fashion_tuning.tracking.records import StudyRecord

DIVERGING = "1e30"  # a learning rate that leads to NaN in the first epoch
CARD = f"""{make_card_text()}
[[configurations]]
learning_rate = {DIVERGING}
dense_units = 10
dropout = 0.2
"""


@dataclass(frozen=True)
class Setting:
    folder: Path
    uri: str
    study: LoadedStudy


@pytest.fixture(scope="module")
def setting(
    tmp_path_factory: pytest.TempPathFactory,
    new_uri: Callable[[Path], str],
    run_study: Callable[[str, str], StudyRecord],
) -> Setting:
    """A finished study of three trials, the last of which diverged."""
    folder = tmp_path_factory.mktemp("notebook")
    uri = new_uri(folder)
    run_study(CARD, uri)
    return Setting(folder, uri, fashion_tuning.load_study("small", tracking_uri=uri))


def test_trials_are_what_the_runs_say(setting: Setting) -> None:
    trials = setting.study.trials
    assert sorted(trials["trial"]) == [1, 2, 3]
    assert trials["rank"].tolist()[:2] == [1, 2]
    assert trials["best_val_accuracy"].iloc[0] >= trials["best_val_accuracy"].iloc[1]
    client = MlflowClient(setting.uri)
    for row in trials.to_dict("records"):
        run = client.get_run(row["run_id"])
        assert row["status"] == run.info.status
        assert float(run.data.params["learning_rate"]) == row["learning_rate"]
        assert int(run.data.params["dense_units"]) == row["dense_units"]
        if row["status"] == "FINISHED":
            assert run.data.metrics["best_val_accuracy"] == row["best_val_accuracy"]
            assert run.data.metrics["best_epoch"] == row["best_epoch"]


def test_a_failed_trial_stands_at_the_end_with_its_reason(setting: Setting) -> None:
    last = setting.study.trials.iloc[-1]
    assert (last["trial"], last["status"], last["error"]) == (3, "FAILED", "diverged")
    assert last["error_message"]
    assert setting.study.trials["rank"].isna().tolist() == [False, False, True]
    assert not last["tied_with_best"]
    assert not last["chosen"]


def test_the_best_is_the_first_row(setting: Setting) -> None:
    trials, best = setting.study.trials, setting.study.best
    assert best["best_val_accuracy"] == trials["best_val_accuracy"].max()
    assert best["dense_units"] in (0, 10)
    assert trials["chosen"].sum() == 1


def test_epochs_are_long_and_their_means_the_runs_own(setting: Setting) -> None:
    epochs = setting.study.epochs
    completed = epochs[epochs["trial"].isin([1, 2])]
    assert len(completed) == 2 * 2 * 2 * 4  # trials, seeds, epochs, metrics
    assert not epochs.duplicated(["trial", "seed", "epoch", "metric"]).any()
    assert set(epochs["metric"]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    curves = epochs.query("metric == 'val_accuracy'").groupby(["trial", "epoch"])["value"].mean()
    for row in setting.study.trials.to_dict("records")[:2]:
        assert curves[row["trial"]].max() == pytest.approx(row["best_val_accuracy"])
        assert curves[row["trial"]].idxmax() == row["best_epoch"]


def test_figures_can_be_saved(setting: Setting, tmp_path: Path) -> None:
    figures = setting.study.figures
    assert {"history", "curves", "seeds"} <= set(figures)
    figures["history"].savefig(tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_id_is_a_name_too(setting: Setting) -> None:
    again = fashion_tuning.load_study(setting.study.run_id, tracking_uri=setting.uri)
    assert again.name == "small"
    assert repr(again) == f"<study 'small', run {setting.study.run_id}>"


def test_what_is_not_there(setting: Setting, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no study 'other'"):
        fashion_tuning.load_study("other", tracking_uri=setting.uri)
    with pytest.raises(UsageError):
        fashion_tuning.load_study("small", tracking_uri=f"sqlite:///{tmp_path / 'none.db'}")
    assert not (tmp_path / "none.db").exists()


def test_a_study_without_a_completed_trial(
    new_uri: Callable[[Path], str], run_study: Callable[[str, str], StudyRecord], tmp_path: Path
) -> None:
    text = make_card_text().replace("0.001", DIVERGING).replace("0.0005", DIVERGING)
    uri = new_uri(tmp_path)
    run_study(text.replace("dense_units = 0", "dense_units = 100"), uri)
    study = fashion_tuning.load_study("small", tracking_uri=uri)
    with pytest.raises(NoTrialError):
        _ = study.trials


def test_the_readme_in_a_process_of_its_own(setting: Setting, tmp_path: Path) -> None:
    (block,) = blocks("python", after="notebook")
    script = block.replace('load_study("xception-150")', f'load_study("small", tracking_uri="{setting.uri}")')
    script = script.replace('"importance"', '"history"')  # two trials have no importance
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "importance.png").exists()


def test_importing_the_package_imports_no_framework() -> None:
    script = "import fashion_tuning, sys; print(sorted({'mlflow', 'pandas', 'keras', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
