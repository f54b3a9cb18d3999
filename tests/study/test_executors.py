"""Work in child processes: outputs in order, errors as values, deaths told."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fashion_tuning.backend import choose_backend
from fashion_tuning.errors import DataError, DiskError, FashionTuningError
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
    assert (failure.kind, failure.died) == ("worker_died", True)
    assert "SIGKILL" in failure.message
    assert list(worker.run(count, 2)) == [0, 1]


def test_a_worker_that_can_not_start_is_told_and_is_no_broken_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", b"/bin/false")
    worker = Worker()
    try:
        with pytest.raises(DiskError, match="exit code 1") as caught:
            list(worker.run(count, 2))
    finally:
        worker.close()
    assert "ulimit" in caught.value.action


def test_a_death_in_the_midst_of_what_is_no_trial_says_what_to_do(worker: Worker) -> None:
    with pytest.raises(DiskError, match="SIGKILL"):
        list(worker.run(die))


def allocate_tensor() -> Iterator[int]:
    import keras

    yield keras.ops.zeros((2**22, 2**22)).shape[0]  # 64 TiB


def test_a_backends_own_out_of_memory_is_out_of_memory(worker: Worker) -> None:
    worker.submit(allocate_tensor)
    failure = worker.receive()
    assert isinstance(failure, Failed)
    assert (failure.kind, failure.died) == ("out_of_memory", False)
    words = {"tensorflow": "OOM when allocating tensor", "torch": "DefaultCPUAllocator"}
    assert words[choose_backend()] in failure.message


def fill_memory() -> Iterator[int]:
    yield len(bytearray(2**30))


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A control group whose processes may take 100 MB more (docs.kernel.org/admin-guide/cgroup-v1/memory.html)."""
    group = Path("/sys/fs/cgroup/memory/fashion-tuning-test")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text("100000000")
    except OSError:
        pytest.skip("no control group can be made here")
    yield group
    time.sleep(0.5)  # until the kernel has let go of the killed process
    group.rmdir()


def test_a_worker_that_the_kernel_ends_is_out_of_memory(worker: Worker, small_memory: Path) -> None:
    list(worker.run(count, 1))
    (small_memory / "cgroup.procs").write_text(str(worker.pid))
    worker.submit(fill_memory)
    failure = worker.receive()
    assert isinstance(failure, Failed)
    assert (failure.kind, failure.died) == ("out_of_memory", True)
    assert "the kernel ended the worker process" in failure.message
    assert list(worker.run(count, 2)) == [0, 1]


def forever(path: str) -> Iterator[int]:
    yield 1
    while True:
        time.sleep(0.01)
        Path(path).write_text(str(time.time()))


def lead(path: str) -> None:
    """A coordinator with a worker that never says anything again."""
    worker = Worker()
    worker.submit(forever, path)
    worker.receive()
    time.sleep(600)


def test_a_worker_ends_with_its_coordinator(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    coordinator = multiprocessing.get_context("spawn").Process(target=lead, args=(str(path),))
    coordinator.start()
    until = time.monotonic() + 90
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    coordinator.kill()
    coordinator.join()
    time.sleep(1.0)
    last = path.read_text()
    time.sleep(0.5)
    assert path.read_text() == last


def test_signals_are_the_coordinators_business(worker: Worker) -> None:
    worker.submit(sleep)
    worker.receive()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert ready([worker], timeout=1.0) == []
    worker.close()


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
