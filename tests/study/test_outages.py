"""A store that is locked or away: the study waits, and loses nothing."""

import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow_server import MlflowServer
from small_card import BAYESIAN
from study_process import StudyProcess, assert_nothing_lost, events

from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    shutil.copytree(weights.path.parent, cache / "weights", copy_function=os.link)
    return cache


def wait_for_trial(process: subprocess.Popen[str], trial: int) -> None:
    for event in events(process):
        if event["event"] == "epoch_ended" and event["record"]["trial"] == trial:
            return
    raise AssertionError(process.stderr.read() if process.stderr else "")


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was told on standard error."""
    _, errors = process.communicate(timeout=600)
    return process.returncode, errors


@pytest.mark.parametrize("seconds", [4, 30, 50])
def test_a_locked_database_is_waited_for(
    seconds: float, tmp_path: Path, small_dataset: Dataset, cache: Path, twin: list[dict]
) -> None:
    study = StudyProcess(tmp_path, BAYESIAN, small_dataset.root, cache)
    process = study.start()
    wait_for_trial(process, 2)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", timeout=60, isolation_level=None)) as writer:
        writer.execute("begin exclusive")
        time.sleep(seconds)
        writer.execute("rollback")
    code, errors = finish(process)
    assert code == 0, errors
    # SQLite itself waits 20 s in silence.
    assert ("database is locked" in errors) == (seconds > 20)
    assert_nothing_lost(study.uri, twin)


@pytest.mark.parametrize("seconds", [4, 60])
def test_a_server_that_comes_back_is_waited_for(
    seconds: float, tmp_path: Path, small_dataset: Dataset, cache: Path, twin: list[dict]
) -> None:
    with MlflowServer(tmp_path / "server") as server:
        study = StudyProcess(tmp_path, BAYESIAN, small_dataset.root, cache, store=server.uri)
        process = study.start()
        wait_for_trial(process, 2)
        server.stop()
        time.sleep(seconds)
        server.start()
        code, errors = finish(process)
        assert code == 0, errors
        assert "the tracking store answers again" in errors
        assert_nothing_lost(study.uri, twin)


def test_a_server_that_stays_away_is_5_and_the_next_start_goes_on(
    tmp_path: Path, small_dataset: Dataset, cache: Path, twin: list[dict]
) -> None:
    with MlflowServer(tmp_path / "server") as server:
        study = StudyProcess(tmp_path, BAYESIAN, small_dataset.root, cache, store=server.uri)
        process = study.start("--store-timeout", "3")
        wait_for_trial(process, 2)
        server.stop()
        gone = time.monotonic()
        code, errors = finish(process)
        assert code == 5
        assert 3 <= time.monotonic() - gone < 15
        assert "waiting" in errors
        assert "Traceback" not in errors
        server.start()
        code, errors = finish(study.start(FASHION_TUNING_STORE_TIMEOUT="3"))
        assert code == 0, errors
        assert_nothing_lost(study.uri, twin)
