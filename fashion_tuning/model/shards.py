"""An array on disk that is finished shard by shard, so that a kill loses at most the shard in hand."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from fashion_tuning.errors import DiskError
from fashion_tuning.files import disk_errors, replacing, write_text

SHARD_SIZE = 256  # rows; some ten seconds of work on two cores. A multiple of extraction.BATCH_SIZE


@dataclass(frozen=True)
class ShardedArray:
    """Rows of float32 in `path`, a .npy file; the .json file beside it holds the SHA-256 of each finished shard.

    A shard is finished once its rows are synced and its digest stands in the .json file. One
    process may write at a time; any number may read meanwhile.
    """

    path: Path
    num_rows: int
    num_columns: int

    @classmethod
    def find(cls, path: Path) -> Self:
        """The array that is recorded beside a .npy file; read-only.

        Raises:
          OSError, ValueError: There is no record, or it can't be read.
        """
        record = _read_record(path.with_suffix(".json"))
        try:
            num_rows, num_columns = map(int, record["shape"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path.with_suffix('.json')} names no shape") from error
        return cls(path, num_rows, num_columns)

    @property
    def record_path(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def num_shards(self) -> int:
        return -(-self.num_rows // SHARD_SIZE)

    @property
    def num_bytes(self) -> int:
        """Size of the rows on disk."""
        return self.num_rows * self.num_columns * 4

    def rows(self, shard: int) -> range:
        return range(shard * SHARD_SIZE, min((shard + 1) * SHARD_SIZE, self.num_rows))

    def digests(self) -> list[str]:
        """The recorded SHA-256 of each shard, "" where it isn't finished; read-only."""
        try:
            record = _read_record(self.record_path)
            digests = list(record["sha256"])
            fits = record["shard_size"] == SHARD_SIZE and len(digests) == self.num_shards
        except (OSError, ValueError, KeyError, TypeError):
            fits = False
        return digests if fits else [""] * self.num_shards

    def verify(self) -> list[bool]:
        """For each shard whether it is finished and its bytes have the recorded SHA-256; read-only."""
        header, digests = self._header(), self.digests()
        # Through the file, not a memory map: where it was cut short, the shards before the cut are still good.
        try:
            with self.path.open("rb") as file:
                if file.read(len(header)) == header:
                    return [
                        hashlib.sha256(file.read(len(self.rows(shard)) * self.num_columns * 4)).hexdigest() == digest
                        for shard, digest in enumerate(digests)
                    ]
        except OSError:
            pass  # not there: nothing is good
        return [False] * self.num_shards

    def has_header(self) -> bool:
        """Whether the file is there and says that it holds rows of this shape; read-only."""
        # Compared, not parsed: numpy's parser meets a damaged header with six kinds of exceptions.
        header = self._header()
        try:
            with self.path.open("rb") as file:
                return file.read(len(header)) == header
        except OSError:
            return False

    def has_full_size(self) -> bool:
        """Whether the file is as long as its rows need; read-only."""
        try:
            return self.path.stat().st_size >= len(self._header()) + self.num_bytes
        except OSError:
            return False

    def load(self) -> np.ndarray:
        """All rows, memory-mapped, not verified; read-only."""
        return np.load(self.path, mmap_mode="r")

    def allocate(self) -> None:
        """Makes the file where it is missing or of another shape; else its rows stay.

        Raises:
          DiskError: The disk refuses.
        """
        if self.has_header():
            return
        header = self._header()
        # Replaced, not overwritten: a process that maps the old file would end with SIGBUS.
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            file.write(header)
            file.truncate(len(header) + self.num_bytes)

    def write(self, shard: int, block: np.ndarray) -> None:
        """Writes the rows of one shard, float32, and then records it as finished.

        Raises:
          DiskError: The disk refuses, or the file was removed.
        """
        # Through the file, not a memory map: on a full disk a map ends the process with SIGBUS, a write says ENOSPC.
        try:
            with disk_errors(self.path), self.path.open("r+b") as file:
                file.seek(len(self._header()) + self.rows(shard).start * self.num_columns * 4)
                file.write(block.data)
                file.flush()
                os.fsync(file.fileno())
        except FileNotFoundError as error:
            raise DiskError(f"{self.path} was removed while it was written", action="run the command again") from error
        digests = self.digests()
        digests[shard] = hashlib.sha256(block.data).hexdigest()
        record = {"shape": [self.num_rows, self.num_columns], "shard_size": SHARD_SIZE, "sha256": digests}
        write_text(self.record_path, json.dumps(record))

    def _header(self) -> bytes:
        header = io.BytesIO()
        entries = {"descr": "<f4", "fortran_order": False, "shape": (self.num_rows, self.num_columns)}
        np.lib.format.write_array_header_1_0(header, entries)
        return header.getvalue()


def _read_record(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
