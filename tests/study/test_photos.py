"""A small study on the real photos, where they are."""

import os
from pathlib import Path

import pytest

from fashion_tuning.config import load_card
from fashion_tuning.data.source import open_dataset
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.leaderboard import leaderboard
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.store import Store

CARD = Path(__file__).parents[2] / "experiments" / "xception_150.toml"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif("FASHION_TUNING_DATA" not in os.environ, reason="needs the photos: set FASHION_TUNING_DATA")
def test_three_trials_on_the_photos(tmp_path: Path, weights: Weights, worker: Worker) -> None:
    """The first configurations of the course come out near what it published."""
    cache = Path(os.environ.get("FASHION_TUNING_CACHE", tmp_path / "cache"))
    dataset = open_dataset(Path(os.environ["FASHION_TUNING_DATA"]), cache_dir=cache)
    inputs = StudyInputs(load_card(CARD), CARD.read_text(), dataset, {weights.name: weights}, cache)
    store = Store(f"sqlite:///{tmp_path / 'mlflow.db'}")
    study = tune(inputs, store, workers=[worker], max_trials=3, fresh=False, report=lambda _: None)
    rows = {row.record.trial: row.record for row in leaderboard(store, study).rows}
    assert sorted(rows) == [1, 2, 3]
    for record in rows.values():
        assert record.published_val_accuracy is not None
        # One image is 0.003; a published figure is the best epoch of one seed.
        assert record.metrics["best_val_accuracy"] == pytest.approx(record.published_val_accuracy, abs=0.03)
