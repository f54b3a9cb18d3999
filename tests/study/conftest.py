"""A small study on real features: drawn garments at 71 px through the real Xception."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from fashion_tuning.config import Card
from fashion_tuning.data.drawn import draw_dataset
from fashion_tuning.data.source import Dataset, open_dataset
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs


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
