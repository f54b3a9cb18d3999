"""A fixed card with a cut, from photos to a registered model that has been looked at, killed on its way."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from study_process import StudyProcess, all_runs

from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CARD = """
name = "fine"
seed = 3
[images]
image_size = 71
[views]
number = 1
average = true
horizontal_flip = true
[training]
epochs = 9
seeds = 2
[final]
image_size = 71
epochs = 4
learning_rate_factors = []
[[configurations]]
epochs = 2
cut = "block14"
learning_rate = 0.0003
dense_units = 0
dropout = 0.5
"""


def test_a_fixed_card_with_a_cut_needs_no_study_and_goes_on_where_it_was_killed(
    tmp_path: Path, new_uri: Callable[[Path], str], small_dataset: Dataset, weights: Weights
) -> None:
    shutil.copytree(weights.path.parent, tmp_path / "cache" / "weights", copy_function=os.link)
    process = StudyProcess(
        tmp_path / "final", CARD, small_dataset.root, tmp_path / "cache", new_uri(tmp_path / "store")
    )

    def final_train(kill_at: str = "") -> int:
        started = process.start(kill_at=kill_at, command="final-train")
        _, errors = started.communicate(timeout=900)
        assert started.returncode in (0, -signal.SIGKILL), errors
        return started.returncode

    assert final_train("state:1") == -signal.SIGKILL
    assert final_train("version:1") == -signal.SIGKILL
    assert final_train() == 0

    runs = {run.info.run_id: run for run in all_runs(process.uri)}
    finished = [run for run in runs.values() if run.info.status == "FINISHED"]
    by_stage = {run.data.tags.get("fashion.stage", run.data.tags["fashion.kind"]): run for run in finished}
    assert sorted(by_stage) == ["baseline", "candidate", "evaluation", "final"]
    candidate, baseline = by_stage["candidate"].data, by_stage["baseline"].data
    assert candidate.params["cut"] == "block14"
    assert candidate.metrics["epochs_run"] == 2  # the configuration's own
    assert runs[candidate.tags["fashion.resumed_from"]].info.status == "KILLED"
    assert "cut" not in baseline.params
    assert baseline.params["views"] == "1"
    assert baseline.params["epochs"] == "4"
    assert candidate.params["validation_views"] == "2"
    assert baseline.params["validation_views"] == "1"
    evaluation = by_stage["evaluation"].data
    assert evaluation.params["views"] == "2"
    assert 0 <= evaluation.metrics["mcnemar_p"] <= 1
    final = by_stage["final"].data
    assert final.metrics["parity"] <= 1e-4
    assert np.isclose(final.metrics["best_val_accuracy"], candidate.metrics["best_val_accuracy"])
    (version,) = MlflowClient(process.uri).search_model_versions("name = 'fashion-classifier'")
    assert "frozen before block14" in version.description
