"""Waiting for a store: what is waited for, for how long, and what a person is told."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from socket import EAI_AGAIN, EAI_NONAME, gaierror
from ssl import SSLCertVerificationError

import pytest
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import InvalidURL

from fashion_tuning.errors import DiskError, StoreError
from fashion_tuning.tracking import patience
from fashion_tuning.tracking.failures import ArtifactError, explained, passes
from fashion_tuning.tracking.patience import Patience
from fashion_tuning.tracking.store import Store


def busy(name: str) -> Exception:
    """The error of SQLite with that name, as MLflow passes it on."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    original = sqlite3.OperationalError("told by SQLite")
    original.sqlite_errorname = name
    error = MlflowException("wrapped")
    error.__cause__ = OperationalError("insert", {}, original)
    return error


def said_by_a_driver(text: str) -> Exception:
    """The error of a connection that was not made, as drivers of PostgreSQL and MySQL word it."""
    from sqlalchemy.exc import OperationalError

    return OperationalError("connect", {}, Exception(text))


def of_an_artifact_store(name: str, **attributes: object) -> Exception:
    """An error like those of boto3 and its siblings, as the store passes it on."""
    error = ArtifactError(name)
    error.__cause__ = type(name, (Exception,), attributes)(name)
    return error


def of_s3(code: str, status: int) -> Exception:
    return of_an_artifact_store(
        "ClientError", response={"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    )


def unreachable(error: Exception) -> Exception:
    """A connection that requests could not make."""
    failure = RequestsConnectionError("Max retries exceeded")
    failure.__cause__ = error
    return failure


# What PostgreSQL 15 and MySQL say through psycopg 3, psycopg2 and pymysql.
SHUT_OUT = [
    'connection to server at "127.0.0.1", port 5999 failed: FATAL:  password authentication failed for user "x"',
    'connection to server at "127.0.0.1", port 5999 failed: fe_sendauth: no password supplied',
    'connection to server at "127.0.0.1", port 5999 failed: FATAL:  database "nosuch" does not exist',
    'connection to server at "127.0.0.1", port 5999 failed: FATAL:  role "x" does not exist',
    'connection to server at "127.0.0.1", port 5999 failed: FATAL:  permission denied for database "closed"',
    'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "x", database "mlflow", no encryption',
    'connection to server at "127.0.0.1", port 5999 failed: server does not support SSL, but SSL was required',
    """(1045, "Access denied for user 'x'@'localhost' (using password: YES)")""",
    """(1049, "Unknown database 'mlflow'")""",
]
AWAY = [
    'connection to server at "127.0.0.1", port 5998 failed: Connection refused',
    'connection to server on socket "/var/run/postgresql/.s.PGSQL.5432" failed: No such file or directory',
    "FATAL:  the database system is starting up",
    "FATAL:  sorry, too many clients already",
    "terminating connection due to administrator command",
    """(2003, "Can't connect to MySQL server on '127.0.0.1' ([Errno 111] Connection refused)")""",
]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (busy("SQLITE_BUSY"), True),
        (busy("SQLITE_BUSY_SNAPSHOT"), True),
        (busy("SQLITE_LOCKED"), True),
        (busy("SQLITE_FULL"), False),
        (busy("SQLITE_READONLY"), False),
        (busy("SQLITE_CANTOPEN"), False),
        (InvalidURL("no URL"), False),
        (ValueError("a bug"), False),
        *((said_by_a_driver(text), False) for text in SHUT_OUT),
        *((said_by_a_driver(text), True) for text in AWAY),
        (ModuleNotFoundError("No module named 'psycopg'", name="psycopg"), False),
        (of_an_artifact_store("NoCredentialsError"), False),
        (of_an_artifact_store("DefaultCredentialsError"), False),
        (of_an_artifact_store("EndpointConnectionError"), True),
        (of_s3("AccessDenied", 403), False),
        (of_s3("NoSuchBucket", 404), False),
        (of_s3("SlowDown", 503), True),
        (of_an_artifact_store("HttpResponseError", status_code=403), False),
        (of_an_artifact_store("HttpResponseError", status_code=503), True),
        (unreachable(ConnectionRefusedError(111, "Connection refused")), True),
        (unreachable(SSLCertVerificationError(1, "certificate verify failed")), False),
        (unreachable(OSError("Could not find a suitable TLS CA certificate bundle, invalid path: /x")), False),
    ],
)
def test_only_what_passes_is_waited_for(error: Exception, expected: bool) -> None:
    assert passes(error) is expected


@pytest.mark.parametrize(
    "error",
    [
        unreachable(gaierror(EAI_NONAME, "Name or service not known")),
        said_by_a_driver("failed to resolve host 'x.invalid': [Errno -2] Name or service not known"),
        said_by_a_driver('could not translate host name "x.invalid" to address: Name or service not known'),
    ],
)
def test_a_host_that_nobody_knows_is_a_mistake_at_first_and_an_outage_later(error: Exception) -> None:
    assert not passes(error, answered=False)
    assert passes(error, answered=True)
    assert "tracking URI's host" in explained(error, uri="x").action
    asking = Patience("x", seconds=30, tell=lambda _: None)
    with pytest.raises(StoreError, match="no host of that name"):
        asking.run(Raising(error, times=1))
    asking.run(Raising(error, times=0))
    assert asking.run(Raising(error, times=1)) == "answer"


def test_a_name_server_that_is_away_passes() -> None:
    assert passes(unreachable(gaierror(EAI_AGAIN, "Temporary failure in name resolution")), answered=False)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (said_by_a_driver(SHUT_OUT[0]), "user, password"),
        (of_s3("AccessDenied", 403), "AWS_ACCESS_KEY_ID"),
        (of_an_artifact_store("NoCredentialsError"), "AWS_ACCESS_KEY_ID"),
        (of_s3("NoSuchBucket", 404), "bucket"),
        (ModuleNotFoundError("No module named 'psycopg'", name="psycopg"), "pip install 'psycopg[binary]'"),
        (ModuleNotFoundError("No module named 'boto3'", name="boto3"), "pip install 'boto3'"),
        (ModuleNotFoundError("No module named 'azure.storage'", name="azure.storage"), "azure-storage-blob"),
    ],
)
def test_what_lasts_says_what_to_do(error: Exception, remedy: str) -> None:
    told = explained(error, uri="x")
    assert told.exit_code == 5
    assert remedy in told.action


def test_a_full_disk_is_the_disks_error_and_others_the_stores() -> None:
    assert isinstance(explained(busy("SQLITE_FULL"), uri="x"), DiskError)
    assert isinstance(explained(busy("SQLITE_IOERR_WRITE"), uri="x"), DiskError)
    assert isinstance(explained(busy("SQLITE_READONLY"), uri="x"), StoreError)
    assert "after 12 s of waiting" in str(explained(busy("SQLITE_BUSY"), uri="x", waited=12.3))


class Raising:
    """An operation that fails a number of times before it succeeds."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error = error
        self.times = times

    def __call__(self) -> str:
        if self.times:
            self.times -= 1
            raise self.error
        return "answer"


class Failing(Raising):
    """One that fails because the database is locked."""

    def __init__(self, times: int) -> None:
        super().__init__(busy("SQLITE_BUSY"), times)


def test_the_answer_after_some_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_QUIET", 0.05)
    told: list[str] = []
    asking = Patience("x", seconds=30, tell=told.append)
    assert asking.run(Failing(3)) == "answer"
    assert 0.3 < asking.seconds_waited < 10
    assert len(told) == 2
    assert "waiting up to 30 s, nothing is lost" in told[0]
    assert "answers again" in told[1]


def test_short_waits_are_no_news() -> None:
    told: list[str] = []
    assert Patience("x", seconds=30, tell=told.append).run(Failing(1)) == "answer"
    assert told == []


def test_patience_ends_and_is_not_spent_twice() -> None:
    asking = Patience("x", seconds=0.5, tell=lambda _: None)
    with pytest.raises(StoreError):
        asking.run(Failing(1000))
    second = Failing(1000)
    with pytest.raises(StoreError):
        asking.run(second)
    assert second.times == 999  # asked once


def test_a_call_with_less_patience_spends_none_of_the_others() -> None:
    asking = Patience("x", seconds=30, tell=lambda _: None)
    with pytest.raises(StoreError):
        asking.run(Failing(1), seconds=0)
    assert asking.run(Failing(2)) == "answer"


def test_in_a_hurry_nothing_is_waited_for() -> None:
    asking = Patience("x", seconds=30, tell=lambda _: None)
    asking.hurry(0.5)
    assert asking.run(Failing(0)) == "answer"
    started = time.monotonic()
    with pytest.raises(StoreError, match="in time"):
        asking.run(lambda: time.sleep(3))
    with pytest.raises(StoreError, match="no time"):
        asking.run(Failing(0))
    assert time.monotonic() - started < 1.5


def test_a_run_is_made_once_though_its_first_answer_is_lost(tmp_path: Path, new_uri: Callable[[Path], str]) -> None:
    store = Store(new_uri(tmp_path))
    experiment = store.make_experiment("one", description="")
    create, made = store.client.create_run, []

    class LosingClient:
        """Answers with an error after it has done what it was asked."""

        def __getattr__(self, name: str):
            return getattr(store_client, name)

        def create_run(self, *arguments, **keywords):
            made.append(create(*arguments, **keywords).info.run_id)
            raise busy("SQLITE_BUSY")

    store_client = store.client
    store.client = LosingClient()  # type: ignore[assignment]
    assert store.create_run(experiment, name="trial 01 · lr 1", tags={"a": "b"}) == made[0]
    assert len(made) == 1


def test_a_reader_and_a_writer_do_not_wait_for_each_other(tmp_path: Path, new_uri: Callable[[Path], str]) -> None:
    store = Store(new_uri(tmp_path))
    store.make_experiment("one", description="")
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as writer:
        assert writer.execute("pragma journal_mode").fetchone() == ("wal",)
        writer.execute("begin immediate")
        started = time.monotonic()
        assert store.experiment_id("one") is not None
        assert time.monotonic() - started < 2
        writer.execute("rollback")


def test_a_locked_store_is_written_to_once_it_is_free(tmp_path: Path, new_uri: Callable[[Path], str]) -> None:
    store = Store(new_uri(tmp_path))
    experiment = store.make_experiment("one", description="")
    writer = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None, check_same_thread=False)
    writer.execute("begin immediate")
    freeing = threading.Timer(1.0, writer.execute, args=("rollback",))
    freeing.start()
    run_id = store.create_run(experiment, name="late", tags={})
    freeing.join()
    writer.close()
    assert store.call(lambda client: client.get_run(run_id)).info.run_name == "late"
