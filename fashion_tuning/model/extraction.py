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
from fashion_tuning.model.prefix import Prefix

BATCH_SIZE = 32
_BATCHES_AHEAD = 3
_DECODERS = 2


def features_of_photos(
    prefix: Prefix, photos: Sequence[tuple[Path, str]], sizing: Sizing, view: View
) -> Iterator[np.ndarray]:
    """What a prefix makes of (path, sha256) photos in order, as (batch, *row_shape) float32 blocks.

    Raises:
      DataError: A photo is missing, unreadable or not the one with that SHA-256.
    """
    for pixels in pixel_batches(photos, sizing, view):
        yield prefix(pixels)


def features_of_maps(between: Prefix, maps: np.ndarray, rows: Sequence[int]) -> Iterator[np.ndarray]:
    """What follows of some rows of what is cached at an earlier cut, as (batch, *row_shape) float32 blocks."""
    for first in range(0, len(rows), BATCH_SIZE):
        yield between(maps[rows[first : first + BATCH_SIZE]])


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
