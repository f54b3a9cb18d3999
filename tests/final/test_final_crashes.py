"""SIGKILL at every durable write of a final run: the same command goes on, and nothing is done twice."""

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from small_card import make_card_text
from study_process import StudyProcess, all_runs

from fashion_tuning.data.source import Dataset
from fashion_tuning.fail_points import FINAL_FAIL_POINTS
from fashion_tuning.model.weights import Weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CARD = (
    make_card_text("random", "max_trials = 3")
    + """
[final]
image_size = 80
epochs = 2
learning_rate_factors = [0.5]
"""
)


def test_killed_at_every_point_in_turn_a_final_run_does_nothing_twice(
    tmp_path: Path, new_uri: Callable[[Path], str], small_dataset: Dataset, weights: Weights
) -> None:
    shutil.copytree(weights.path.parent, tmp_path / "cache" / "weights", copy_function=os.link)
    process = StudyProcess(
        tmp_path / "study", CARD, small_dataset.root, tmp_path / "cache", new_uri(tmp_path / "store")
    )
    assert process.run() == 0
    kills = 0
    for point in ("features:2", "trial run:2", "told:2", "finished:2", *FINAL_FAIL_POINTS):
        kills += process.run(kill_at=point, command="final-train") == -signal.SIGKILL
    assert kills == 8
    assert process.run(command="final-train") == 0

    runs = [run for run in all_runs(process.uri) if run.data.tags["fashion.kind"] != "study"]
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    finished = [run for run in runs if run.info.status == "FINISHED"]
    kinds = Counter(run.data.tags["fashion.kind"] for run in finished)
    assert kinds == {"trial": 3 + 5, "final": 1, "evaluation": 1}
    trials = [run.data.tags["fashion.trial"] for run in finished if "fashion.stage" in run.data.tags]
    assert sorted(trials) == ["1", "2", "3", "4", "5"]
    client = MlflowClient(process.uri)
    (version,) = client.search_model_versions("name = 'fashion-classifier'")
    for alias in ("candidate", "champion"):
        assert client.get_model_version_by_alias("fashion-classifier", alias).version == version.version
    assert "test, look 2: accuracy" in version.description
    assert "test_accuracy" in version.tags
    # The killed look counts all the same: it may have seen the photos.
    evaluations = [run for run in runs if run.data.tags["fashion.kind"] == "evaluation"]
    assert sorted(run.data.tags["fashion.look"] for run in evaluations) == ["1", "2"]
