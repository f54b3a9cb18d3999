"""Photos through the frozen prefix, decoding beside the network."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fashion_tuning.data.decode import Sizing, UnreadableImageError, decode
from fashion_tuning.data.views import IDENTITY, View
from fashion_tuning.errors import DataError
from fashion_tuning.model.prefix import load_prefix
from fashion_tuning.model.weights import Weights

BATCH_SIZE = 32
_BATCHES_AHEAD = 3
_DECODERS = 2


class Extractor:
    """Turns photos into features, a batch at a time.

    Args:
      weights: The backbone's weights.
      sizing, view: How photos become the network's input.
      engine, precision, cut: What computes which features, see model/prefix.py.

    Raises:
      UsageError: This machine does not have that engine or precision.
    """

    def __init__(self, weights: Weights, sizing: Sizing, view: View, *, engine: str, precision: str, cut: str) -> None:
        self._prefix = load_prefix(weights, image_size=sizing.image_size, engine=engine, precision=precision, cut=cut)
        self._sizing = sizing
        self._view = view

    def features(self, photos: Sequence[tuple[Path, str]]) -> Iterator[np.ndarray]:
        """Features of (path, sha256) photos in order, as (batch, features) float32 blocks.

        Raises:
          DataError: A photo is missing, unreadable or not the one with that SHA-256.
        """
        for pixels in pixel_batches(photos, self._sizing, self._view):
            yield self._prefix(pixels)


def pixel_batches(photos: Sequence[tuple[Path, str]], sizing: Sizing, view: View = IDENTITY) -> Iterator[np.ndarray]:
    """Pixels of (path, sha256) photos in order, (batch, image_size, image_size, 3) uint8; decoded ahead in threads.

    Raises:
      DataError: A photo is missing, unreadable or not the one with that SHA-256.
    """
    with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode") as threads:
        pending: deque[list[Future[np.ndarray]]] = deque()
        try:
            for start in range(0, len(photos), BATCH_SIZE):
                batch = photos[start : start + BATCH_SIZE]
                pending.append([threads.submit(_pixels, *photo, sizing, view) for photo in batch])
                if len(pending) > _BATCHES_AHEAD:
                    yield np.stack([future.result() for future in pending.popleft()])
            while pending:
                yield np.stack([future.result() for future in pending.popleft()])
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _pixels(path: Path, sha256: str, sizing: Sizing, view: View) -> np.ndarray:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _changed(path, f"can't be read any more ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _changed(path, "is not the file that was verified any more")
    try:
        return view.apply(decode(io.BytesIO(content), sizing), sha256)
    except UnreadableImageError as error:
        raise _changed(path, f"can't be decoded: {error.reason}") from error


def _changed(path: Path, what: str) -> DataError:
    return DataError(f"photo {path} {what}", action="run the command again: the photos are verified anew")
