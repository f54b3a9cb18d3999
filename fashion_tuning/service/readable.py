"""What a damaged file of a version is called; apart from registered.py, so that answering needs no evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fashion_tuning.errors import StoreError
from fashion_tuning.model.checkpoint import BrokenCheckpointError
from fashion_tuning.tracking.registry import Version


@contextmanager
def readable(version: Version) -> Iterator[None]:
    """Words what a damaged file of a version raises.

    Raises:
      StoreError: The file is damaged.
    """
    try:
        yield
    except BrokenCheckpointError as error:
        raise StoreError(
            f"the file of {version} can't be read: {error}",
            action="name another version with --model; final-train with a changed [final] makes a new one",
        ) from error
