"""Every command that computes, as real processes on drawn garments, on the backend that the tests run on."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import PROGRAM, clean_environment
from mlflow.tracking import MlflowClient
from small_card import make_card_text

from fashion_tuning.backend import choose_backend
from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CARD = (
    make_card_text("bayesian", "max_trials = 3\nnum_initial_points = 1")
    + """
[final]
image_size = 80
epochs = 2
learning_rate_factors = []
"""
)

Typed = Callable[..., str]


@pytest.fixture(scope="module")
def typed(
    tmp_path_factory: pytest.TempPathFactory,
    new_uri: Callable[[Path], str],
    weights: Weights,
    small_dataset: Dataset,
) -> Typed:
    """A function that types a command, in a folder with a card, photos, weights and a store."""
    folder = tmp_path_factory.mktemp("commands")
    uri = new_uri(folder)
    shutil.copytree(weights.path.parent, folder / "cache" / "weights")
    (folder / "card.toml").write_text(CARD)
    settings = {"MLFLOW_TRACKING_URI": uri, "FASHION_TUNING_DATA": str(small_dataset.root)}

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [*PROGRAM, *words],
            cwd=folder,
            env=clean_environment(folder, **settings),
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    run.uri = uri
    return run


@pytest.fixture(scope="module")
def study(typed: Typed) -> list[dict]:
    """A whole study and its final run; the events of the former."""
    events = [json.loads(line) for line in typed("tune", "card.toml", "--json", "--no-report").splitlines()]
    typed("final-train", "card.toml", "--no-report")
    return events


def test_a_study_is_sound_and_says_what_it_was_computed_by(typed: Typed, study: list[dict]) -> None:
    assert "all agree" in typed("check", "small")
    client = MlflowClient(typed.uri)
    plan = next(event for event in study if event["event"] == "plan")
    tags = client.get_run(plan["study_run"]).data.tags
    backend = choose_backend()
    assert f"keras-{backend}" in json.dumps(tags)
    others = {"tensorflow", "torch"} - {backend}
    versions = json.loads(tags["fashion.versions"])
    assert backend in versions
    assert not others & set(versions)


def test_a_trial_trained_again_gives_the_numbers_on_record(typed: Typed, study: list[dict]) -> None:
    ended = [event["record"]["run_id"] for event in study if event["event"] == "trial_ended"]
    assert len(ended) == 3
    typed("replay", ended[-1])


@pytest.mark.usefixtures("study")
def test_the_model_is_measured_and_answers(typed: Typed, small_dataset: Dataset) -> None:
    measured = json.loads(typed("evaluate", "--split", "validation", "--json"))
    assert measured["metrics"]["accuracy"] > 0.1  # which chance gives
    photos = small_dataset.manifest.select("validation")[:3]
    lines = typed("predict", *(str(small_dataset.root / photo.path) for photo in photos), "--json").splitlines()
    for line in map(json.loads, lines):
        assert sum(row["probability"] for row in line["ranked"]) <= 1.001
        assert line["ranked"][0]["category"] in small_dataset.manifest.classes
    assert len(lines) == 3


@pytest.mark.usefixtures("study")
def test_what_pytorch_can_not_export_is_refused_with_what_to_do(typed: Typed) -> None:
    if choose_backend() == "tensorflow":
        pytest.skip("there it can, see tests/service/test_export.py")
    for name in ("saved_model", "onnx"):
        said = typed("export", "--format", name, code=2)
        assert "KERAS_BACKEND=tensorflow" in said
        assert "Traceback" not in said
