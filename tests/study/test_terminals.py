"""Whole studies whose standard streams are closed, full, of a poor encoding, or whose terminal goes away."""

import os
import shutil
from pathlib import Path

import pytest
from command_line import PROGRAM, close_terminal
from small_card import BAYESIAN
from study_process import StudyProcess, all_runs, assert_nothing_lost, wait_for

from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def study(tmp_path: Path, small_dataset: Dataset, weights: Weights) -> StudyProcess:
    shutil.copytree(weights.path.parent, tmp_path / "cache" / "weights", copy_function=os.link)
    return StudyProcess(tmp_path / "study", BAYESIAN, small_dataset.root, tmp_path / "cache")


@pytest.mark.parametrize(
    ("redirection", "code", "settings"),
    [
        ("<&- >&- 2>&-", 0, {}),
        ("> /dev/full 2>&1", 6, {}),
        ("", 0, {"PYTHONIOENCODING": "ascii"}),
        ("", 0, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    ],
    ids=["closed", "full", "ascii", "posix"],
)
def test_a_study_is_the_same_whatever_it_is_printed_to(
    redirection: str, code: int, settings: dict[str, str], study: StudyProcess, twin: list[dict]
) -> None:
    process = study.start(prefix=("sh", "-c", f'exec "$@" {redirection}', "sh"), **settings)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    assert_nothing_lost(study.uri, twin)


def test_a_reader_that_has_enough_costs_the_running_trial_alone(study: StudyProcess, twin: list[dict]) -> None:
    process = study.start(prefix=("bash", "-c", '"$@" | head -n 8; exit ${PIPESTATUS[0]}', "bash"))
    _, errors = process.communicate(timeout=600)
    assert (process.returncode, errors) == (141, "")
    assert {run.info.status for run in all_runs(study.uri)} <= {"FINISHED", "KILLED", "FAILED"}
    assert study.run() == 0
    assert_nothing_lost(study.uri, twin)


def test_a_terminal_that_is_closed_costs_the_running_trial_alone(study: StudyProcess, twin: list[dict]) -> None:
    study.folder.mkdir()
    (study.folder / "card.toml").write_text(study.card_text)
    typed = [*PROGRAM, "tune", "card.toml", "--no-report", "--data", str(study.photos), "--tracking-uri", study.uri]
    cache = str(study.cache)
    process = close_terminal(typed, folder=study.folder, until=b"trial 02 starts", FASHION_TUNING_CACHE=cache)
    wait_for(lambda: process.poll() is not None, seconds=10)
    assert process.returncode == 130
    assert {run.info.status for run in all_runs(study.uri)} == {"FINISHED", "KILLED"}
    assert study.run() == 0
    assert_nothing_lost(study.uri, twin)
