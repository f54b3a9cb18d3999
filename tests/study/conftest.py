"""A small study on real features: drawn garments at 71 px through the real Xception."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from small_card import BAYESIAN
from study_process import outcome

from fashion_tuning.config import Card, parse_card
from fashion_tuning.data.drawn import draw_dataset
from fashion_tuning.data.source import Dataset, open_dataset
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.store import Store


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("drawn") / "garments"
    draw_dataset(folder, per_class={"train": 8, "validation": 4, "test": 2})
    return open_dataset(folder, cache_dir=tmp_path_factory.mktemp("verified"))


@pytest.fixture(scope="session")
def feature_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture
def inputs_of(small_dataset: Dataset, feature_cache: Path, weights: Weights):
    """A function from a card to what `tune` takes, all on the same photos and cache."""

    def make(card: Card) -> StudyInputs:
        return StudyInputs(card, "# the card's text\n", small_dataset, weights, feature_cache)

    return make


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """One warm worker for the whole session; one that a test ends starts again by itself."""
    worker = Worker()
    yield worker
    worker.close()


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
    inputs = StudyInputs(parse_card(BAYESIAN, name="small"), BAYESIAN, small_dataset, weights, feature_cache)
    tune(inputs, Store(uri), workers=[worker], max_trials=None, fresh=False, report=lambda _: None)
    return outcome(uri)
