"""Disks that are full or read-only: one clear error, and what was recorded stays readable."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from command_line import PROGRAM, clean_environment
from small_card import BAYESIAN
from study_process import StudyProcess

from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    shutil.copytree(weights.path.parent, cache / "weights", copy_function=os.link)
    return cache


def in_small_disk(script: str, folder: Path, **settings: str) -> str:
    """What a shell script prints that has a disk of its own at $DISK; it may mount it anew."""
    disk = folder / "disk"
    disk.mkdir(parents=True)
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        subprocess.run([*command, f"mount -t tmpfs none {disk}"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no disk can be mounted here")
    environment = clean_environment(folder, **settings, DISK=str(disk), TUNING=" ".join(PROGRAM))
    done = subprocess.run(
        [*command, script], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    return done.stdout + done.stderr


FULL = """
mount -t tmpfs -o size=60m none $DISK
export MLFLOW_TRACKING_URI=sqlite:///$DISK/mlflow.db
$TUNING tune card.toml --data $PHOTOS > log 2> errors &
program=$!
while kill -0 $program && ! grep -q "trial 02" log; do sleep 0.1; done
dd if=/dev/zero of=$DISK/filler bs=64k 2> /dev/null
wait $program
echo "tune $?"
cat errors
$TUNING leaderboard small > /dev/null; echo "leaderboard $?"
rm $DISK/filler
$TUNING tune card.toml --data $PHOTOS > /dev/null 2>> errors; echo "again $?"
cp -r $DISK/. kept
"""

READ_ONLY = """
mount -t tmpfs -o size=20m none $DISK
export MLFLOW_TRACKING_URI=sqlite:///$DISK/mlflow.db
$TUNING tune card.toml --data $PHOTOS > /dev/null
mount -o remount,ro $DISK
$TUNING leaderboard small > /dev/null; echo "leaderboard $?"
$TUNING tune card.toml --data $PHOTOS; echo "tune $?"
"""


@pytest.mark.slow
def test_a_full_disk_below_the_store_is_6_and_the_next_start_goes_on(
    tmp_path: Path, small_dataset: Dataset, cache: Path
) -> None:
    (tmp_path / "card.toml").write_text(BAYESIAN.replace("epochs = 2", "epochs = 40"))
    settings = {"PHOTOS": str(small_dataset.root), "FASHION_TUNING_CACHE": str(cache)}
    told = in_small_disk(FULL, tmp_path, **settings)
    assert "tune 6" in told
    assert "Traceback" not in told
    assert told.count("fashion-tuning: ") == 1
    assert "leaderboard 0" in told
    assert "again 0" in told
    with closing(sqlite3.connect(tmp_path / "kept" / "mlflow.db")) as database:
        statuses = database.execute("select status, count(*) from runs group by status").fetchall()
    assert dict(statuses)["FINISHED"] == 5  # the study and four trials
    assert set(dict(statuses)) <= {"FINISHED", "KILLED"}


@pytest.mark.slow
def test_a_read_only_store_is_6_and_still_read(tmp_path: Path, small_dataset: Dataset, cache: Path) -> None:
    (tmp_path / "card.toml").write_text(BAYESIAN)
    settings = {"PHOTOS": str(small_dataset.root), "FASHION_TUNING_CACHE": str(cache)}
    told = in_small_disk(READ_ONLY, tmp_path, **settings)
    assert "leaderboard 0" in told
    assert "tune 6" in told
    assert "Read-only file system" in told
    assert "Traceback" not in told


FULL_CACHE = """
mount -t tmpfs -o size=90m none $DISK
export FASHION_TUNING_CACHE=$DISK MLFLOW_TRACKING_URI=sqlite:///$PWD/mlflow.db
mkdir $DISK/weights && cp -L weights/xception.* $DISK/weights/  # without the wheel
$TUNING tune card.toml --data $PHOTOS > log 2> errors &
program=$!
while kill -0 $program && ! grep -q "plan:" log; do sleep 0.05; done
dd if=/dev/zero of=$DISK/filler bs=64k 2> /dev/null
wait $program
echo "tune $?"
cat errors
rm $DISK/filler
$TUNING tune card.toml --data $PHOTOS > /dev/null; echo "again $?"
$TUNING check small; echo "check $?"
"""

READ_ONLY_CACHE = """
mount -t tmpfs -o size=90m none $DISK
export FASHION_TUNING_CACHE=$DISK MLFLOW_TRACKING_URI=sqlite:///$PWD/mlflow.db
mkdir $DISK/weights && cp -L weights/xception.* $DISK/weights/  # without the wheel
$TUNING tune card.toml --data $PHOTOS --max-trials 2 > /dev/null
mount -o remount,ro $DISK
$TUNING tune card.toml --data $PHOTOS > /dev/null; echo "same features $?"
$TUNING tune larger.toml --data $PHOTOS > /dev/null; echo "other features $?"
$TUNING cache list > /dev/null; echo "cache list $?"
$TUNING check small > /dev/null; echo "check $?"
"""


@pytest.mark.slow
def test_a_full_disk_below_the_cache_is_6_and_the_next_start_goes_on(
    tmp_path: Path, small_dataset: Dataset, cache: Path
) -> None:
    (tmp_path / "card.toml").write_text(BAYESIAN)
    (tmp_path / "weights").symlink_to(cache / "weights")
    told = in_small_disk(FULL_CACHE, tmp_path, PHOTOS=str(small_dataset.root))
    assert "tune 6" in told
    assert "No space left on device" in told
    assert "FASHION_TUNING_CACHE" in told
    assert told.count("fashion-tuning: ") == 1
    assert "again 0" in told
    assert "check 0" in told


@pytest.mark.slow
def test_a_read_only_cache_is_used_for_what_it_holds_and_is_6_for_the_rest(
    tmp_path: Path, small_dataset: Dataset, cache: Path
) -> None:
    (tmp_path / "card.toml").write_text(BAYESIAN)
    (tmp_path / "larger.toml").write_text(BAYESIAN.replace("image_size = 71", "image_size = 80"))
    (tmp_path / "weights").symlink_to(cache / "weights")
    told = in_small_disk(READ_ONLY_CACHE, tmp_path, PHOTOS=str(small_dataset.root))
    assert "same features 0" in told
    assert "other features 6" in told
    assert "Read-only file system" in told
    assert told.count("fashion-tuning: ") == 1
    assert "Traceback" not in told
    assert "cache list 0" in told
    assert "check 0" in told


@pytest.mark.slow
def test_what_cannot_fit_is_6_before_anything_is_computed(tmp_path: Path, small_dataset: Dataset, cache: Path) -> None:
    huge = BAYESIAN.replace("dense_units = 10\n", "dense_units = 100000\n").replace("[0, 10]", "[0, 10, 100000]")
    card = huge.replace("epochs = 2\n", "epochs = 2000\n")
    process = StudyProcess(tmp_path, card, small_dataset.root, cache).start()
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 6
    assert "checkpoints may need" in errors
    assert output == ""  # no plan, no features
