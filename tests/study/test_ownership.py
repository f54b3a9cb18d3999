"""One study, one process, and any other takes over once it is gone."""

import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from mlflow_server import MlflowServer
from small_card import make_card_text
from study_process import StudyProcess, all_runs, events, kill_program

from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights

pytestmark = pytest.mark.timeout(900)

CARD = make_card_text()
LONG = CARD.replace("dropout = 0.2", "dropout = 0.2\nepochs = 1500")  # its second trial


@pytest.fixture
def cache(tmp_path: Path, weights: Weights) -> Path:
    shutil.copytree(weights.path.parent, tmp_path / "cache" / "weights", copy_function=os.link)
    return tmp_path / "cache"


def wait_for_long_trial(process: subprocess.Popen[str]) -> None:
    for event in events(process):
        if event["event"] == "epoch_ended" and event["record"]["trial"] == 2:
            return
    raise AssertionError(process.stderr.read() if process.stderr else "")


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=600)
    return process.returncode, errors


def statuses(uri: str) -> list[str]:
    """Kind and status of every run, sorted."""
    return sorted(f"{run.data.tags['fashion.kind']} {run.info.status}" for run in all_runs(uri))


@pytest.mark.slow
def test_a_second_start_names_the_owner_and_takes_over_once_it_is_gone(
    tmp_path: Path, small_dataset: Dataset, cache: Path
) -> None:
    study = StudyProcess(tmp_path / "study", LONG, small_dataset.root, cache)
    owner = study.start()
    wait_for_long_trial(owner)
    code, errors = finish(study.start())
    assert code == 7
    assert f"process {owner.pid} on {platform.node()}" in errors
    assert "last heartbeat" in errors
    assert len(errors.strip().splitlines()) == 2
    assert "trial RUNNING" in statuses(study.uri)

    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate()
    again = study.start()
    wait_for_long_trial(again)
    assert statuses(study.uri) == ["study RUNNING", "trial FINISHED", "trial KILLED", "trial RUNNING"]
    kill_program(again)
    again.communicate()


@pytest.mark.slow
def test_eight_starts_of_one_card_run_one_study(tmp_path: Path, small_dataset: Dataset, cache: Path) -> None:
    study = StudyProcess(tmp_path / "study", LONG, small_dataset.root, cache)
    processes = [study.start() for _ in range(8)]
    until = time.monotonic() + 400
    while sum(process.poll() is None for process in processes) > 1:
        assert time.monotonic() < until
        time.sleep(0.2)
    (owner,) = (process for process in processes if process.poll() is None)
    for process in processes:
        if process is not owner:
            code, errors = finish(process)
            assert code == 7, errors
            assert f"process {owner.pid} on {platform.node()}, last heartbeat" in errors
    wait_for_long_trial(owner)
    kill_program(owner)
    owner.communicate()
    assert statuses(study.uri) == ["study RUNNING", "trial FINISHED", "trial RUNNING"]


@pytest.mark.slow
def test_eight_cards_start_at_once_on_a_store_that_is_not_there_yet(
    tmp_path: Path, small_dataset: Dataset, cache: Path
) -> None:
    store = f"sqlite:///{tmp_path / 'team' / 'mlflow.db'}"
    studies = [
        StudyProcess(
            tmp_path / str(number),
            CARD.replace('name = "small"', f'name = "small-{number}"'),
            small_dataset.root,
            cache,
            store=store,
        )
        for number in range(8)
    ]
    processes = [study.start() for study in studies]
    for process in processes:
        code, errors = finish(process)
        assert code == 0, errors
    assert statuses(store) == ["study FINISHED"] * 8 + ["trial FINISHED"] * 16


def on_another_machine(study: StudyProcess, host: str) -> subprocess.Popen[str]:
    """Starts a study on what the program takes for another machine: another host name, another cache."""
    try:
        subprocess.run(["unshare", "-ru", "hostname", host], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no host name can be set here")
    script = f'hostname {host} && exec "$@"'
    return study.start(prefix=("unshare", "--user", "--map-root-user", "--uts", "sh", "-c", script, "sh"))


@pytest.mark.slow
def test_between_machines_the_lease_decides(tmp_path: Path, small_dataset: Dataset, cache: Path) -> None:
    shutil.copytree(cache, tmp_path / "other-cache", copy_function=os.link)
    with MlflowServer(tmp_path / "server") as server:
        here = StudyProcess(tmp_path / "here", LONG, small_dataset.root, cache, store=server.uri)
        there = StudyProcess(tmp_path / "there", LONG, small_dataset.root, tmp_path / "other-cache", store=server.uri)
        owner = on_another_machine(there, "elsewhere")
        wait_for_long_trial(owner)
        code, errors = finish(here.start())
        assert code == 7
        assert "on elsewhere, last heartbeat" in errors

        kill_program(owner)
        owner.communicate()
        code, errors = finish(here.start())
        assert code == 7  # a dead machine looks like a slow one until its lease has run out
        time.sleep(60)
        again = here.start()
        wait_for_long_trial(again)
        assert statuses(server.uri) == ["study RUNNING", "trial FINISHED", "trial KILLED", "trial RUNNING"]

        # Somebody else takes it: the owner finds out before it tells, and leaves what is not its own.
        study = next(run for run in all_runs(server.uri) if run.data.tags["fashion.kind"] == "study")
        other = '{"token": "x", "host": "third", "pid": 1, "started": 0.0, "beat": 9999999999.0}'
        MlflowClient(server.uri).set_tag(study.info.run_id, "fashion.owner", other)
        code, errors = finish(again)
        assert code == 7
        assert "process 1 on third" in errors
        assert statuses(server.uri) == ["study RUNNING", "trial FINISHED", "trial KILLED", "trial KILLED"]


@pytest.mark.slow
def test_two_machines_that_begin_at_once_make_one_study(tmp_path: Path, small_dataset: Dataset, cache: Path) -> None:
    shutil.copytree(cache, tmp_path / "other-cache", copy_function=os.link)
    with MlflowServer(tmp_path / "server") as server:
        here = StudyProcess(tmp_path / "here", CARD, small_dataset.root, cache, store=server.uri)
        there = StudyProcess(tmp_path / "there", CARD, small_dataset.root, tmp_path / "other-cache", store=server.uri)
        processes = [on_another_machine(there, "elsewhere"), here.start()]
        codes = sorted(finish(process)[0] for process in processes)
        assert codes in ([0, 7], [0, 0])  # the later one, or both in turn where it came late enough
        counting = [one for one in statuses(server.uri) if not one.startswith("withdrawn")]
        assert counting == ["study FINISHED", "trial FINISHED", "trial FINISHED"]
