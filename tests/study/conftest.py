"""The small Bayesian study that crashes and outages are measured against."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_card import BAYESIAN
from study_process import outcome

from fashion_tuning.config import parse_card
from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.store import Store


@pytest.fixture(scope="session")
def twin(
    tmp_path_factory: pytest.TempPathFactory,
    new_uri: Callable[[Path], str],
    small_dataset: Dataset,
    feature_cache: Path,
    weights: Weights,
    worker: Worker,
) -> list[dict]:
    """The outcome of the small Bayesian study, which nothing has disturbed."""
    uri = new_uri(tmp_path_factory.mktemp("twin"))
    inputs = StudyInputs(
        parse_card(BAYESIAN, name="small"), BAYESIAN, small_dataset, {weights.name: weights}, feature_cache
    )
    tune(inputs, Store(uri), workers=[worker], max_trials=None, fresh=False, report=lambda _: None)
    return outcome(uri)
