"""Files that something else has damaged between two starts: named, set aside, made again, and nothing differs."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from small_card import BAYESIAN
from study_process import StudyProcess, assert_nothing_lost

from fashion_tuning.data.source import Dataset
from fashion_tuning.model import wheel
from fashion_tuning.model.weights import Weights

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def stopped(tmp_path: Path, small_dataset: Dataset, weights: Weights, wheel_file: Path) -> StudyProcess:
    """A study that was killed when its third trial had begun; the wheel is at hand for new weights."""
    cache = tmp_path / "cache"
    shutil.copytree(weights.path.parent, cache / "weights", copy_function=shutil.copy)
    (cache / "weights" / wheel.FILE_NAME).unlink(missing_ok=True)
    (cache / "weights" / wheel.FILE_NAME).symlink_to(wheel_file)
    process = StudyProcess(tmp_path / "study", BAYESIAN, small_dataset.root, cache)
    assert process.run(kill_at="trial run:3") == -signal.SIGKILL
    return process


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_version(path: Path) -> None:
    """Something that was sound once, of a program that wrote it differently."""
    path.write_text('{"version": 99}')


@pytest.mark.slow
@pytest.mark.parametrize("damage", [truncate, flip, empty, of_another_version])
def test_every_kind_of_file_in_the_cache_is_mended(
    damage: Callable[[Path], None], stopped: StudyProcess, twin: list[dict]
) -> None:
    cache = stopped.cache
    (features,) = (path for path in (cache / "features").iterdir() if path.is_dir())
    damaged = [
        features / "train.npy",
        features / "validation.json",
        cache / "weights" / "xception.weights.h5",
        next((cache / "manifests").glob("*.json")),
    ]
    for path in damaged:
        damage(path)
    process = stopped.start()
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    for path in damaged:
        name = path.with_suffix("")  # a flipped digest makes it the array that does not fit
        assert any(str(name) in line for line in (output + errors).splitlines()), path
        assert list(path.parent.glob(f"{name.name}*.broken")), path
    assert "Traceback" not in errors
    assert_nothing_lost(stopped.uri, twin)


@pytest.mark.slow
def test_a_damaged_shard_costs_that_shard(stopped: StudyProcess, twin: list[dict]) -> None:
    (path,) = stopped.cache.glob("features/*/train.npy")
    flip(path)
    process = stopped.start()
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert f"features {path}: shard 0 of 1 is damaged" in output
    assert_nothing_lost(stopped.uri, twin)
