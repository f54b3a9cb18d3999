"""From uploads to results: read in a few threads, answered by the model's own, each picture for itself."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fashion_tuning.data.decode import UnreadableImageError
from fashion_tuning.service.batching import Batcher, BusyError
from fashion_tuning.service.limits import Limits
from fashion_tuning.service.loaded import Loaded
from fashion_tuning.service.metrics import Metrics
from fashion_tuning.service.problems import ProblemError
from fashion_tuning.service.uploads import Upload

_KINDS = {"unknown": "no-picture", "large": "too-many-pixels", "broken": "unreadable"}


@dataclass(frozen=True)
class Found:
    """What came of one picture.

    Args:
      id: Names the answer.
      ranked: (category, probability), the likeliest first; empty where there is a problem.
    """

    id: str
    upload: Upload
    ranked: tuple[tuple[str, float], ...] = ()
    unsure: bool = False
    problem: ProblemError | None = None


class Answering:
    """The way of a picture through the server; `close` ends its threads."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self.batcher = Batcher(capacity=limits.places, tell=metrics.batch)
        metrics.queue.set_function(lambda: self.batcher.taken)
        # As many as there are processors: decoding is bound by them, and each holds one whole picture.
        self._readers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="reader")

    def close(self) -> None:
        """Ends the threads after what waits."""
        self._readers.shutdown(cancel_futures=True)
        self.batcher.close()

    async def answer(self, loaded: Loaded, uploads: Sequence[Upload]) -> list[Found]:
        """One result for each upload, in order; one that can't be read does not stop the others.

        Raises:
          ProblemError: There is no place for so many now, or the answer takes too long.
        """
        try:
            self.batcher.take(len(uploads))
        except BusyError as error:
            raise ProblemError(
                "busy",
                f"{self.batcher.taken} of {self.batcher.capacity} places are taken; try again a little later",
                retry_seconds=error.seconds,
            ) from error
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                return list(await asyncio.gather(*(self._one(loaded, upload) for upload in uploads)))
        except TimeoutError as error:
            raise ProblemError(
                "busy",
                f"no answer within {self._limits.answer_seconds:g} s; try again a little later",
                retry_seconds=self._limits.answer_seconds / 2,
            ) from error
        finally:
            self.batcher.give_back(len(uploads))

    async def _one(self, loaded: Loaded, upload: Upload) -> Found:
        name = uuid.uuid4().hex
        try:
            probabilities = await self.probabilities(loaded, upload.data)
        except UnreadableImageError as error:
            return Found(name, upload, problem=ProblemError(_KINDS[error.kind], _advice(error)))
        order = probabilities.argsort()[::-1]
        ranked = tuple((loaded.classifier.class_names[place], float(probabilities[place])) for place in order)
        category, probability = ranked[0]
        unsure = loaded.is_unsure(probability)
        self._metrics.predictions.labels(category).inc()
        if unsure:
            self._metrics.unsure.inc()
        return Found(name, upload, ranked, unsure)

    async def probabilities(self, loaded: Loaded, data: bytes) -> np.ndarray:
        """(classes,) float32 of a picture's bytes.

        Raises:
          UnreadableImageError: It is no usable picture.
        """
        prepared = await asyncio.get_running_loop().run_in_executor(
            self._readers, lambda: loaded.classifier.prepare(data, max_pixels=self._limits.pixels)
        )
        return await asyncio.wrap_future(self.batcher.submit(loaded.classifier, prepared))


def _advice(error: UnreadableImageError) -> str:
    what = {
        "unknown": "expected a photo as JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF",
        "large": "send a smaller picture",
        "broken": "send one still picture, whole",
    }
    return f"{error.reason}; {what[error.kind]}"
