"""Work in child processes: outputs in order, errors as values, deaths told."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from fashion_tuning.errors import DataError, FashionTuningError
from fashion_tuning.model.training import DivergedError
from fashion_tuning.study.executors import Done, Failed, Output, Worker, ready


def count(limit: int, *, start: int = 0) -> Iterator[int]:
    yield from range(start, limit)


def tell_pid() -> Iterator[int]:
    yield os.getpid()


def fail(kind: str) -> Iterator[int]:
    yield 1
    errors = {
        "diverged": DivergedError("loss is not finite in epoch 2"),
        "memory": MemoryError("no room"),
        "person": DataError("photo x is gone", action="look for it"),
        "bug": ZeroDivisionError("by zero"),
    }
    raise errors[kind]


def die() -> Iterator[int]:
    yield 1
    os.kill(os.getpid(), signal.SIGKILL)


def sleep() -> Iterator[int]:
    yield 1
    time.sleep(60)


def test_outputs_come_in_order_with_keywords(worker: Worker) -> None:
    assert list(worker.run(count, 5, start=2)) == [2, 3, 4]


def test_the_process_stays_for_the_next_work(worker: Worker) -> None:
    first, second = list(worker.run(tell_pid)), list(worker.run(tell_pid))
    assert first == second == [worker.pid]


@pytest.mark.parametrize(
    ("kind", "expected", "words"),
    [
        ("diverged", "diverged", "loss is not finite in epoch 2"),
        ("memory", "out_of_memory", "no room"),
        ("bug", "exception", "ZeroDivisionError: by zero"),
    ],
)
def test_an_exception_becomes_a_typed_failure(worker: Worker, kind: str, expected: str, words: str) -> None:
    worker.submit(fail, kind)
    assert worker.receive() == Output(1)
    failure = worker.receive()
    assert isinstance(failure, Failed)
    assert failure.kind == expected
    assert words in failure.message
    assert failure.error is None
    assert list(worker.run(count, 1)) == [0]


def test_an_error_for_a_person_arrives_whole(worker: Worker) -> None:
    with pytest.raises(DataError, match="photo x is gone") as caught:
        list(worker.run(fail, "person"))
    assert caught.value.action == "look for it"


def test_a_death_is_told_and_the_next_work_runs(worker: Worker) -> None:
    worker.submit(die)
    assert worker.receive() == Output(1)
    failure = worker.receive()
    assert isinstance(failure, Failed)
    assert failure.kind == "worker_died"
    assert "SIGKILL" in failure.message
    assert list(worker.run(count, 2)) == [0, 1]


def test_a_busy_worker_takes_no_second_work(worker: Worker) -> None:
    worker.submit(count, 1)
    with pytest.raises(RuntimeError, match="busy"):
        worker.submit(count, 1)
    assert [type(worker.receive()) for _ in range(2)] == [Output, Done]


def test_ready_names_those_with_something_to_say(worker: Worker) -> None:
    worker.submit(sleep)
    assert ready([worker], timeout=30) == [worker]
    worker.receive()
    assert ready([worker], timeout=0.2) == []
    worker.close()
    with pytest.raises(FashionTuningError):
        list(worker.run(fail, "bug"))
