"""A shipped model in use, made small: what it takes, what it refuses, and what stands in its file."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.data.views import View
from fashion_tuning.model.checkpoint import BrokenCheckpointError
from fashion_tuning.model.classifier import BATCH_SIZE, Classifier, _load_pyfunc
from fashion_tuning.model.head import build_head
from fashion_tuning.model.shipped import ModelCard, load, read_card
from fashion_tuning.model.weights import Weights
from fashion_tuning.model.whole import compose, save

CARD = ModelCard(("hat", "shoes", "skirt"), 80, "nearest")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    values = {"dense_units": 4, "dropout": 0.5}
    build_head(values, feature_size=2048, num_classes=3, study_seed=1, seed=1).save(folder / "head.keras")
    save(compose(weights, folder / "head.keras", CARD), CARD, folder / "model.keras")
    return folder / "model.keras"


@pytest.fixture(scope="module")
def classifier(path: Path) -> Classifier:
    return Classifier(path)


def photo(seed: int = 1, size: tuple[int, int] = (50, 70), format: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (7, 5, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(content, format)
    return content.getvalue()


def test_the_file_says_what_it_is_and_is_still_keras(path: Path) -> None:
    assert read_card(path) == CARD
    with zipfile.ZipFile(path) as content:
        metadata = json.loads(content.read("metadata.json"))
    assert metadata["keras_version"] == keras.__version__
    assert metadata["fashion_tuning"]["class_names"] == ["hat", "shoes", "skirt"]
    model = keras.saving.load_model(path, safe_mode=True)
    assert model.input_shape == (None, 80, 80, 3)
    assert not (path.parent / "plain-model.keras").exists()


def test_files_bytes_and_arrays_of_one_photo_get_one_answer(classifier: Classifier, tmp_path: Path) -> None:
    content = photo(format="PNG")
    (tmp_path / "a.png").write_bytes(content)
    array = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    answers = [answer.probabilities for answer in classifier.answers([tmp_path / "a.png", content, array])]
    for probabilities in answers:
        assert probabilities is not None
        assert probabilities.dtype == np.float32
        assert probabilities.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(probabilities, answers[0], atol=1e-6)  # places in a batch differ in the last bit


def test_pixels_are_those_that_features_are_made_of(classifier: Classifier) -> None:
    content = photo()
    expected = decode(io.BytesIO(content), Sizing(80))
    np.testing.assert_array_equal(classifier.pixels(content), expected)


def test_a_bad_photo_does_not_stop_the_others(classifier: Classifier, tmp_path: Path) -> None:
    photos = [photo(seed) for seed in range(BATCH_SIZE + 2)]
    photos[1], photos[BATCH_SIZE] = b"not a photo", b""
    answers = list(classifier.answers([*photos, tmp_path / "gone.jpg"]))
    problems = {place: answer.problem for place, answer in enumerate(answers) if answer.problem}
    assert set(problems) == {1, BATCH_SIZE, BATCH_SIZE + 2}
    assert "not an image" in problems[1]
    assert problems[BATCH_SIZE] == "the file is empty"
    alone = next(classifier.answers([photos[2]])).probabilities
    np.testing.assert_allclose(answers[2].probabilities, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((9, 8), np.uint8), ((9, 8, 1), np.uint8), ((9, 8, 3), np.uint8), ((9, 8, 4), np.uint8)]
)
def test_arrays_of_any_size_and_channels(classifier: Classifier, shape: tuple[int, ...], dtype: type) -> None:
    (answer,) = classifier.answers([np.full(shape, 200, dtype)])
    assert answer.problem == ""


@pytest.mark.parametrize("array", [np.zeros((9, 8, 3)), np.zeros((9, 8, 2), np.uint8), np.zeros((0, 8, 3), np.uint8)])
def test_other_arrays_are_refused(classifier: Classifier, array: np.ndarray) -> None:
    (answer,) = classifier.answers([array])
    assert "an array of" in answer.problem


def test_mlflows_entry_answers_with_a_table(path: Path) -> None:
    import pandas as pd

    table = _load_pyfunc(str(path)).predict(pd.DataFrame({"image": [photo(1), photo(2)]}))
    assert list(table.columns) == ["hat", "shoes", "skirt"]
    assert len(table) == 2
    with pytest.raises(ValueError, match="image 1: the file is empty"):
        _load_pyfunc(str(path)).predict(pd.DataFrame({"image": [photo(1), b""]}))


@pytest.mark.parametrize("damage", ["empty", "cut", "plain"])
def test_a_file_that_is_no_such_model_is_named(damage: str, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.keras"
    content = path.read_bytes()
    other.write_bytes({"empty": b"", "cut": content[:1000], "plain": content}[damage])
    if damage == "plain":
        keras.saving.load_model(path, safe_mode=True).save(other)  # without our card
    with pytest.raises(BrokenCheckpointError, match=r"other\.keras"):
        load(other)


def test_mlflow_needs_no_more_than_what_the_version_pins() -> None:
    """What a server installs from its requirements.txt: tensorflow, keras, mlflow, numpy, pandas, pillow."""
    program = (
        "import sys; import fashion_tuning.model.classifier, fashion_tuning.model.shipped\n"
        "print([name for name in ('filelock', 'pydantic', 'h5py', 'mlflow', 'keras', 'typer') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_answers_may_be_averaged_over_views(path: Path, tmp_path: Path, weights: Weights) -> None:
    views = (View(1, horizontal_flip=True), View(2, horizontal_flip=True, rotation=20.0))
    card = replace(CARD, views=tuple(view.name for view in views))
    save(compose(weights, path.parent / "head.keras", card), card, tmp_path / "model.keras")
    assert read_card(tmp_path / "model.keras") == card
    plain, averaged = Classifier(tmp_path / "model.keras"), Classifier(tmp_path / "model.keras", average_views=True)
    pixels = plain.pixels(photo())
    name = hashlib.sha256(photo()).hexdigest()  # as in a manifest: `evaluate` draws the same views
    every = np.stack([pixels, *(view.apply(pixels, name) for view in views)])
    (tmp_path / "photo.jpg").write_bytes(photo())
    answer, of_file = averaged.answers([photo(), tmp_path / "photo.jpg"])
    np.testing.assert_allclose(answer.probabilities, of_file.probabilities, atol=1e-6)
    np.testing.assert_allclose(answer.probabilities, plain.probabilities(every).mean(0), atol=1e-6)
    (alone,) = plain.answers([photo()])
    assert not np.allclose(answer.probabilities, alone.probabilities, atol=1e-5)


@pytest.mark.slow  # quick are the averages above, and what is asked of them in test_sources.py
def test_a_model_whose_figures_are_averages_answers_with_averages(path: Path, tmp_path: Path, weights: Weights) -> None:
    card = replace(CARD, views=(View(1, horizontal_flip=True).name,), average=True)
    save(compose(weights, path.parent / "head.keras", card), card, tmp_path / "model.keras")
    (unasked,), (averaged,), (alone,) = (
        Classifier(tmp_path / "model.keras", average_views=asked).answers([photo()]) for asked in (None, True, False)
    )
    np.testing.assert_array_equal(unasked.probabilities, averaged.probabilities)
    assert not np.allclose(unasked.probabilities, alone.probabilities, atol=1e-5)


def test_a_model_without_views_has_none_to_average_over(path: Path) -> None:
    with pytest.raises(ValueError, match="without views"):
        Classifier(path, average_views=True)
