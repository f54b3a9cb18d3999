"""Answers under load: one thread computes, in small batches, what waits in a queue that has an end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fashion_tuning.model.classifier import BATCH_SIZE, Prepared


class Model(Protocol):
    """What computes: see `model.classifier.Classifier`."""

    def answer(self, prepared: Sequence[Prepared]) -> np.ndarray: ...


class BusyError(Exception):
    """All places are taken; `seconds` is when one is likely to be free."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"busy for about {seconds:.1f} s")
        self.seconds = seconds


@dataclass(frozen=True)
class _Job:
    model: Model
    prepared: Prepared
    found: Future[np.ndarray] = field(default_factory=Future)


class Batcher:
    """A queue of `capacity` places before one thread; whoever finds no place is told so at once.

    The thread takes whatever waits, up to BATCH_SIZE: under load batches grow by themselves, and nobody waits for
    others where there are none. Photos prepared for different models never share a batch.

    Args:
      capacity: Pictures that are being read or wait or are computed at a time.
      tell: Told (pictures, seconds) of each batch, in the thread.
    """

    def __init__(self, *, capacity: int, tell: Callable[[int, float], None] = lambda *_: None) -> None:
        self.capacity = capacity
        self._tell = tell
        self._taken = 0
        self._lock = threading.Lock()
        self._seconds_each = 0.1
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return self._taken

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def seconds_until(self, places: int) -> float:
        """When so many places are likely to be free, by the speed of late."""
        return max(0, self._taken + places - self.capacity) * self._seconds_each

    def take(self, places: int) -> None:
        """Takes places, which `give_back` has to follow.

        Raises:
          BusyError: There are not that many.
        """
        with self._lock:
            if self._taken + places > self.capacity:
                raise BusyError(self.seconds_until(places))
            self._taken += places

    def give_back(self, places: int) -> None:
        """Gives back what `take` took."""
        with self._lock:
            self._taken -= places

    def submit(self, model: Model, prepared: Prepared) -> Future[np.ndarray]:
        """The (classes,) float32 probabilities of a photo, once they are there; its place has been taken."""
        job = _Job(model, prepared)
        self._jobs.put(job)
        return job.found

    def close(self) -> None:
        """Ends the thread after what waits."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        kept: _Job | None = None
        while True:
            first = kept or self._jobs.get()
            kept = None
            if first is None:
                return
            batch = [first]
            while len(batch) < BATCH_SIZE:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    self._jobs.put(None)  # seen again when this batch is done
                    break
                if job.model is not first.model:
                    kept = job
                    break
                batch.append(job)
            self._compute(batch)

    def _compute(self, batch: Sequence[_Job]) -> None:
        batch = [job for job in batch if job.found.set_running_or_notify_cancel()]
        if not batch:
            return
        started = time.perf_counter()
        try:
            answers = batch[0].model.answer([job.prepared for job in batch])
        except Exception as error:  # whatever it is, it is theirs who asked, and the next are answered
            for job in batch:
                job.found.set_exception(error)
            return
        seconds = time.perf_counter() - started
        self._seconds_each += 0.2 * (seconds / len(batch) - self._seconds_each)
        for job, answer in zip(batch, answers, strict=True):
            job.found.set_result(answer)
        self._tell(len(batch), seconds)
