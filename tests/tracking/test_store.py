"""The store: made once, found again, its failures worded for a person."""

import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from command_line import run
from mlflow.tracking import MlflowClient

from fashion_tuning.errors import StoreError
from fashion_tuning.tracking.store import Store, resolve_uri


def open_store(uri: str, name: str, barrier: Barrier, results) -> None:
    barrier.wait(60)
    try:
        results.put(Store(uri).make_experiment(name, description=""))
    except BaseException as error:
        results.put(repr(error))


@pytest.mark.slow
def test_many_processes_may_start_at_once_on_a_new_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    names = ["one", "two", "two", "two"]
    processes = [context.Process(target=open_store, args=(uri, name, barrier, results)) for name in names]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert all(result.isdigit() for result in found), found
    assert len(set(found)) == 2


def test_the_default_is_mlflows_own_default_as_an_absolute_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri(None) == f"sqlite:///{tmp_path / 'mlflow.db'}"
    store = Store()
    experiment_id = store.make_experiment("one", description="what it is for")
    experiment = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").get_experiment(experiment_id)
    assert experiment.artifact_location == (tmp_path / "mlruns" / "one").as_uri()
    assert experiment.tags["mlflow.note.content"] == "what it is for"


def test_the_environment_names_another_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'team.db'}")
    assert resolve_uri(None) == f"sqlite:///{tmp_path / 'team.db'}"
    assert resolve_uri("http://127.0.0.1:5000") == "http://127.0.0.1:5000"


@pytest.mark.parametrize("uri", ["mlruns", "file:///somewhere/mlruns"])
def test_a_folder_is_no_store(uri: str) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        Store(uri)


def test_an_experiment_is_made_once(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert store.experiment_id("one") is None
    first = store.make_experiment("one", description="")
    assert store.make_experiment("one", description="") == first == store.experiment_id("one")


def test_a_deleted_experiment_says_how_to_restore_it(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment_id = store.make_experiment("one", description="")
    store.client.delete_experiment(experiment_id)
    with pytest.raises(StoreError, match=f"restore --experiment-id {experiment_id}"):
        store.make_experiment("one", description="")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("not a database, but long enough to be read as the head of one: " * 20)
    with pytest.raises(StoreError, match=r"mlflow\.db"):
        Store(f"sqlite:///{path}")


def test_a_database_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('from_the_future')")
    database.close()
    with pytest.raises(StoreError, match=r"mlflow\.db"):
        Store(f"sqlite:///{path}")


def test_mlflow_says_nothing_by_itself() -> None:
    """Its news would stand among a command's results; ours are worded in failures.py."""
    program = (
        "import fashion_tuning.tracking.store, logging;"
        "print(logging.getLogger('mlflow.pyfunc').getEffectiveLevel() == logging.CRITICAL)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "True"


def test_what_mlflow_does_by_itself_is_off_unless_a_person_switches_it_on(tmp_path: Path) -> None:
    names = ("ARTIFACTS_PROGRESS_BAR", "PROXY_MULTIPART_DOWNLOAD", "PROXY_MULTIPART_UPLOAD")
    code = f"import os, fashion_tuning.tracking; print(*(os.environ['MLFLOW_ENABLE_' + name] for name in {names}))"
    for settings, expected in (({}, "false false false"), ({f"MLFLOW_ENABLE_{names[1]}": "true"}, "false true false")):
        done = run(folder=tmp_path, program=[sys.executable, "-c", code], **settings)
        assert done.stdout.split() == expected.split(), done.stderr


def test_a_local_store_has_its_own_path_whatever_that_looks_like(
    tmp_path: Path, new_uri: Callable[[Path], str]
) -> None:
    uri = new_uri(tmp_path / "token=geheim")
    store = Store(uri, must_exist=True)
    assert (store.uri, store.secret_uri, store.folder) == (uri, uri, tmp_path / "token=geheim")
