"""The untouched Xception, with weights and class names that the test makes."""

import json
import subprocess
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from command_line import run
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image

from fashion_tuning.data.decode import UnreadableImageError
from fashion_tuning.errors import WeightsError
from fashion_tuning.model.imagenet import CLASSES, IMAGE_SIZE, WEIGHTS, imagenet_classes


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with weights by which class n gets a probability that grows with n."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "weights").mkdir()
    model = keras.applications.Xception(weights=None)
    kernel, bias = model.get_layer("predictions").get_weights()
    model.get_layer("predictions").set_weights([np.zeros_like(kernel), np.linspace(0, 50, len(bias), dtype=np.float32)])
    with h5py.File(folder / "weights" / WEIGHTS, "w") as file:  # in the old format that Keras's own file has
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    names = {str(n): [f"n{n:08d}", f"class_{n}"] for n in range(1000)}
    (folder / "weights" / CLASSES).write_text(json.dumps(names))
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (30, 40), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.mark.slow
def test_the_five_likeliest_classes_in_order(cache_dir: Path, photo: Path) -> None:
    found = imagenet_classes(photo, cache_dir=cache_dir)
    assert [name for _, name, _ in found] == [f"class_{n}" for n in range(999, 994, -1)]
    assert found[0][0] == "n00000999"
    logits = np.linspace(0, 50, 1000)
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert [probability for *_, probability in found] == pytest.approx(expected[::-1][:5], rel=1e-4)
    assert IMAGE_SIZE == 299
    done = run("imagenet", str(photo), folder=photo.parent, FASHION_TUNING_CACHE=str(cache_dir))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("class_999")


@pytest.mark.slow  # quick are the same words in test_weights.py
def test_without_weights_it_says_where_to_get_them(tmp_path: Path, photo: Path) -> None:
    closed = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done: subprocess.CompletedProcess[str] = run(
        "imagenet",
        str(photo),
        folder=tmp_path,
        FASHION_TUNING_CACHE=str(tmp_path / "cache"),
        KERAS_HOME=str(tmp_path / "keras"),
        **closed,
    )
    assert done.returncode == 3
    assert WEIGHTS in done.stderr
    assert "put it there" in done.stderr
    assert str(tmp_path / "cache" / "weights") in done.stderr


def test_a_file_that_is_no_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    with pytest.raises(UnreadableImageError):
        imagenet_classes(tmp_path / "bad.jpg", cache_dir=tmp_path)


def test_damaged_weights_are_named(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / WEIGHTS).write_bytes(b"not a file of weights")
    with pytest.raises(WeightsError, match=WEIGHTS):
        imagenet_classes(photo, cache_dir=tmp_path)
