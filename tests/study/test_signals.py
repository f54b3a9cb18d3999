"""SIGINT, SIGTERM, SIGHUP: what is being written is finished, runs are closed, and the end comes within 5 seconds."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from small_card import BAYESIAN
from study_process import StudyProcess, all_runs, assert_nothing_lost, events, outcome

from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights

pytestmark = pytest.mark.timeout(900)

SECONDS = 5.0


@pytest.fixture
def study(tmp_path: Path, small_dataset: Dataset, weights: Weights) -> StudyProcess:
    shutil.copytree(weights.path.parent, tmp_path / "cache" / "weights", copy_function=os.link)
    return StudyProcess(tmp_path / "study", BAYESIAN, small_dataset.root, tmp_path / "cache")


def wait_for(process: subprocess.Popen[str], event: str, trial: int = 0) -> None:
    for found in events(process):
        if found["event"] == event and (not trial or found["record"]["trial"] == trial):
            return
    raise AssertionError(process.stderr.read() if process.stderr else "")


def end_with(process: subprocess.Popen[str], number: int, *, group: bool) -> tuple[int, float, str]:
    """Sends a signal to a study, or to its whole process group: exit code, seconds it took, what it told."""
    if group:
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid, number)
    sent = time.monotonic()
    code = process.wait(timeout=60)
    seconds = time.monotonic() - sent
    _, errors = process.communicate()
    return code, seconds, errors


@pytest.mark.slow
def test_signals_in_the_features_and_in_a_trial_cost_nothing(study: StudyProcess, twin: list[dict]) -> None:
    process = study.start()
    wait_for(process, "features")
    code, seconds, errors = end_with(process, signal.SIGINT, group=True)
    assert (code, seconds < SECONDS) == (130, True), errors
    process = study.start()
    wait_for(process, "epoch_ended", 2)
    code, seconds, errors = end_with(process, signal.SIGTERM, group=True)
    assert (code, seconds < SECONDS) == (130, True), errors
    assert errors == "fashion-tuning: interrupted; the same command goes on where it stopped\n"
    statuses = sorted(f"{run.data.tags['fashion.kind']} {run.info.status}" for run in all_runs(study.uri))
    assert statuses == ["study KILLED", "trial FINISHED", "trial KILLED"]

    assert study.run() == 0
    assert_nothing_lost(study.uri, twin)


@pytest.mark.slow
def test_a_signal_while_the_store_is_locked_is_answered_in_time(study: StudyProcess) -> None:
    process = study.start()
    wait_for(process, "trial_started", 2)
    with closing(sqlite3.connect(study.folder / "mlflow.db", timeout=60, isolation_level=None)) as database:
        database.execute("begin exclusive")
        time.sleep(3)
        code, seconds, errors = end_with(process, signal.SIGTERM, group=False)
        database.execute("rollback")
    assert (code, seconds < SECONDS) == (130, True), errors
    assert "interrupted; the same command goes on" in errors
    assert study.run() == 0
    assert {run.info.status for run in all_runs(study.uri)} == {"FINISHED", "KILLED"}


@pytest.mark.slow
def test_signals_at_any_moment_end_a_study_in_time(study: StudyProcess, tmp_path: Path) -> None:
    draws = random.Random(3)
    for _ in range(12):
        process = study.start("--max-trials", "30")
        wait_for(process, "plan")
        time.sleep(draws.uniform(0, 8))
        number = draws.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        code, seconds, errors = end_with(process, number, group=draws.random() < 0.5)
        assert (code, seconds < SECONDS) in ((130, True), (0, True)), errors  # 0: all trials were done by then
        assert "Traceback" not in errors
        assert {run.info.status for run in all_runs(study.uri)} <= {"FINISHED", "KILLED"}
    assert study.run("--max-trials", "30") == 0
    twin = StudyProcess(tmp_path / "twin", study.card_text, study.photos, study.cache)
    assert twin.run("--max-trials", "30") == 0
    assert_nothing_lost(study.uri, outcome(twin.uri))
