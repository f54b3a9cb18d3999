"""Waiting for a store: what is waited for, for how long, and what a person is told."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from requests.exceptions import InvalidURL

from fashion_tuning.errors import DiskError, StoreError
from fashion_tuning.tracking import patience
from fashion_tuning.tracking.failures import explained, passes
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
    ],
)
def test_only_what_passes_is_waited_for(error: Exception, expected: bool) -> None:
    assert passes(error) is expected


def test_a_full_disk_is_the_disks_error_and_others_the_stores() -> None:
    assert isinstance(explained(busy("SQLITE_FULL"), uri="x"), DiskError)
    assert isinstance(explained(busy("SQLITE_IOERR_WRITE"), uri="x"), DiskError)
    assert isinstance(explained(busy("SQLITE_READONLY"), uri="x"), StoreError)
    assert "after 12 s of waiting" in str(explained(busy("SQLITE_BUSY"), uri="x", waited=12.3))


class Failing:
    """An operation that fails a number of times before it succeeds."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self) -> str:
        if self.times:
            self.times -= 1
            raise busy("SQLITE_BUSY")
        return "answer"


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
