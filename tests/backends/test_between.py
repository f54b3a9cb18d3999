"""TensorFlow and PyTorch on the same photos: the same features, and what one has stored the other loads."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import PROJECT, clean_environment

from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

WORK = Path(__file__).with_name("work.py")
# Where a backend is installed that this Python has not: the Makefile's own environments.
ELSEWHERE = {"tensorflow": PROJECT / ".venv/bin/python", "torch": PROJECT / ".venv-torch/bin/python"}
BACKENDS = tuple(ELSEWHERE)
PAIRS = [BACKENDS, BACKENDS[::-1]]


def python_of(backend: str) -> str:
    """An interpreter that has a backend: this one, the one that TENSORFLOW_PYTHON or TORCH_PYTHON names, or make's."""
    named = os.environ.get(f"{backend.upper()}_PYTHON")
    if named:
        return named
    if importlib.util.find_spec(backend) is not None:
        return sys.executable
    if not ELSEWHERE[backend].exists():
        pytest.skip(f"needs {backend}, which is neither installed here nor in {ELSEWHERE[backend]}: make test-torch")
    return str(ELSEWHERE[backend])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, weights: Weights, small_dataset: Dataset) -> Path:
    """What both backends have made of the same photos and weights, and of what the other has made."""
    folder = tmp_path_factory.mktemp("backends")
    pythons = {backend: python_of(backend) for backend in BACKENDS}
    shutil.copytree(small_dataset.root, folder / "photos")
    shutil.copytree(weights.path.parent, folder / "cache" / "weights")
    for work in ("make", "read"):
        for backend, python in pythons.items():
            done = subprocess.run(
                [python, str(WORK), work, str(folder)],
                env=clean_environment(folder, KERAS_BACKEND=backend),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("cut", ["avg_pool", "block14"])
def test_the_same_photos_have_the_same_features(folder: Path, cut: str) -> None:
    with np.load(folder / "tensorflow.npz") as one, np.load(folder / "torch.npz") as other:
        for split in ("train", "validation"):
            assert one[f"{cut}/{split}"].std() > 0.1
            np.testing.assert_allclose(one[f"{cut}/{split}"], other[f"{cut}/{split}"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
@pytest.mark.parametrize("cut", ["avg_pool", "block14"])
def test_a_checkpoint_says_the_same_on_the_other_backend(folder: Path, cut: str, writer: str, reader: str) -> None:
    with np.load(folder / f"{writer}.npz") as made, np.load(folder / f"{writer}-by-{reader}.npz") as said:
        assert made[f"{cut}/probabilities"].std() > 0.01
        np.testing.assert_allclose(said[cut], made[f"{cut}/probabilities"], rtol=0, atol=1e-5)


def test_a_trial_scores_the_same_within_the_spread_of_its_seeds(folder: Path) -> None:
    """Other draws of initial weights and dropout: the means differ by less than three standard errors."""
    with np.load(folder / "tensorflow.npz") as one, np.load(folder / "torch.npz") as other:
        scores = np.stack([one["scores"], other["scores"]])
    error = np.sqrt(scores.var(axis=1, ddof=1).sum() / scores.shape[1])
    assert error > 0
    assert scores.mean() > 0.3  # by chance one in ten is right
    assert abs(scores[0].mean() - scores[1].mean()) < 3 * error


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_a_whole_model_says_the_same_on_the_other_backend(folder: Path, writer: str, reader: str) -> None:
    with np.load(folder / f"{writer}.npz") as made, np.load(folder / f"{writer}-by-{reader}.npz") as said:
        np.testing.assert_allclose(said["whole"], made["whole"], rtol=0, atol=1e-5)
