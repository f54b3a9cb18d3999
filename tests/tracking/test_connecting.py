"""Opening a store that can't be one: told at once, with what to do."""

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from mlflow.entities import Experiment

from fashion_tuning.errors import FashionTuningError, StoreError
from fashion_tuning.tracking.sharing import is_database, require_shared
from fashion_tuning.tracking.store import Store

AT_ONCE = 10.0  # seconds; MLflow itself tries for 102


def refused(uri: str, *, must_exist: bool = False) -> FashionTuningError:
    """How a store refuses to be opened, at once."""
    started = time.monotonic()
    with pytest.raises(FashionTuningError) as caught:
        Store(uri, must_exist=must_exist)
    assert time.monotonic() - started < AT_ONCE
    return caught.value


@pytest.mark.parametrize("must_exist", [False, True])
@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_file_is_no_database(kind: str, must_exist: bool, tmp_path: Path) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "mlflow.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    error = refused(f"sqlite:///{path}", must_exist=must_exist)
    assert error.exit_code == 5
    assert ("is a folder" if kind == "folder" else "is a device or a pipe") in str(error)
    assert "--tracking-uri sqlite:///PATH" in error.action


@pytest.mark.parametrize("place", ["/proc/mlflow.db", "/dev/null/mlflow.db", "/tmp/" + 300 * "a" + ".db"])
def test_where_nothing_can_be_made_is_named(place: str) -> None:
    error = refused(f"sqlite:///{place}")
    assert error.exit_code in (5, 6)
    assert "--tracking-uri" in error.action


def test_a_database_in_memory_would_be_lost() -> None:
    error = refused("sqlite://")
    assert error.exit_code == 5
    assert "sqlite:///PATH" in str(error)


@pytest.mark.parametrize(
    ("uri", "module", "package"),
    [
        ("postgresql://user@127.0.0.1:1/mlflow", "psycopg", "psycopg[binary]"),
        ("postgresql+psycopg2://user@127.0.0.1:1/mlflow", "psycopg2", "psycopg2-binary"),
        ("mysql+pymysql://user@127.0.0.1:1/mlflow", "pymysql", "pymysql"),
        ("mysql://user@127.0.0.1:1/mlflow", "MySQLdb", "mysqlclient"),
        ("mssql+pyodbc://user@127.0.0.1:1/mlflow", "pyodbc", "pyodbc"),
    ],
)
def test_a_database_without_its_driver_names_the_package(uri: str, module: str, package: str) -> None:
    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed")
    error = refused(uri)
    assert error.exit_code == 5
    assert module in error.received
    assert f"pip install '{package}'" in error.action


@pytest.mark.parametrize("uri", ["postgresql://host:port/mlflow", "mysql+nothing://127.0.0.1/mlflow", "nothing://x"])
def test_a_uri_that_nobody_understands_is_5(uri: str) -> None:
    assert refused(uri).exit_code == 5


@contextmanager
def answering(status: int, body: str = "no") -> Iterator[str]:
    """The address of a server that answers all the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (401, "You are not authenticated.", "MLFLOW_TRACKING_USERNAME"),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}', "MLFLOW_TRACKING_USERNAME"),
        (404, "<html>nothing</html>", "an MLflow server"),
        (200, "<html>another page</html>", "an MLflow server"),
        (302, "", "an MLflow server"),
    ],
)
def test_what_a_server_refuses_for_good_is_told_at_once(status: int, body: str, remedy: str) -> None:
    with answering(status, body) as uri:
        error = refused(uri)
    assert error.exit_code == 5
    assert remedy in error.action
    assert "of waiting" not in str(error)


def experiment(location: str) -> Experiment:
    return Experiment("7", "small", location, "active")


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("postgresql://db/mlflow", "/home/somebody/mlruns/7"),
        ("mysql+pymysql://db/mlflow", "file:///home/somebody/mlruns/7"),
        ("postgresql+psycopg2://db/mlflow", "mlflow-artifacts:/7"),
        ("http://mlflow.example.org", "/home/somebody/mlruns/7"),
    ],
)
def test_artifacts_on_one_machine_are_refused_where_the_runs_are_shared(uri: str, location: str) -> None:
    with pytest.raises(StoreError, match="mlflow server --backend-store-uri") as caught:
        require_shared(uri, experiment(location))
    assert "every machine reaches" in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("postgresql://db/mlflow", "s3://bucket/7"),
        ("postgresql://db/mlflow", "file:///mnt/shared/small"),
        ("http://mlflow.example.org", "mlflow-artifacts:/7"),
        ("http://127.0.0.1:5000", "/home/somebody/mlruns/7"),
        ("sqlite:////home/somebody/mlflow.db", "/home/somebody/mlruns/7"),
    ],
)
def test_artifacts_that_every_machine_reaches_are_fine(uri: str, location: str) -> None:
    require_shared(uri, experiment(location))


def test_a_new_experiment_in_a_database_would_have_its_artifacts_here() -> None:
    with pytest.raises(StoreError, match="this machine alone"):
        require_shared("postgresql://db/mlflow", None)
    require_shared("http://127.0.0.1:5000", None)


def test_only_uris_of_databases_are_asked_as_such() -> None:
    assert is_database("mysql+pymysql://db/mlflow")
    assert not is_database("http://127.0.0.1:5000")
