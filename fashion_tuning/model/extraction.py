"""Photos through the frozen prefix, decoding beside the network."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np

from fashion_tuning.data.decode import UnreadableImageError, decode
from fashion_tuning.errors import DataError
from fashion_tuning.model.backbone import build_prefix
from fashion_tuning.model.weights import Weights

BATCH_SIZE = 32
_BATCHES_AHEAD = 3
_DECODERS = 2


class Extractor:
    """Turns photos into features, a batch at a time.

    Args:
      weights: The backbone's weights.
      image_size: Pixels a side.
      interpolation: How photos are resized, see data/decode.py.

    Use it as a context manager: it owns the decoding threads.
    """

    def __init__(self, weights: Weights, *, image_size: int, interpolation: str) -> None:
        self._prefix = build_prefix(weights, image_size=image_size)
        self._image_size = image_size
        self._interpolation = interpolation
        self._threads = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def features(self, photos: Sequence[tuple[Path, str]]) -> Iterator[np.ndarray]:
        """Features of (path, sha256) photos in order, as (batch, features) float32 blocks.

        Raises:
          DataError: A photo is missing, unreadable or not the one with that SHA-256.
        """
        for pixels in self._pixel_batches(photos):
            yield np.asarray(self._prefix.predict_on_batch(pixels), np.float32)

    def _pixel_batches(self, photos: Sequence[tuple[Path, str]]) -> Iterator[np.ndarray]:
        pending: deque[list[Future[np.ndarray]]] = deque()
        for start in range(0, len(photos), BATCH_SIZE):
            pending.append([self._threads.submit(self._pixels, *photo) for photo in photos[start : start + BATCH_SIZE]])
            if len(pending) > _BATCHES_AHEAD:
                yield np.stack([future.result() for future in pending.popleft()])
        while pending:
            yield np.stack([future.result() for future in pending.popleft()])

    def _pixels(self, path: Path, sha256: str) -> np.ndarray:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _changed(path, f"can't be read any more ({error.strerror})") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise _changed(path, "is not the file that was verified any more")
        try:
            return decode(io.BytesIO(content), image_size=self._image_size, interpolation=self._interpolation)
        except UnreadableImageError as error:
            raise _changed(path, f"can't be decoded: {error.reason}") from error


def _changed(path: Path, what: str) -> DataError:
    return DataError(f"photo {path} {what}", action="run the command again: the photos are verified anew")
