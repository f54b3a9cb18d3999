"""An array on disk that is finished shard by shard, so that a kill loses at most the shard in hand."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from fashion_tuning.errors import DiskError
from fashion_tuning.files import disk_errors, replacing, write_text

SHARD_SIZE = 256  # rows; some ten seconds of work on two cores. A multiple of extraction.BATCH_SIZE

STORAGES: Final = ("float32", "float16")


@dataclass(frozen=True)
class ShardedArray:
    """Rows of floats in `path`, a .npy file; the .json file beside it holds the SHA-256 of each finished shard.

    A shard is finished once its rows are synced and its digest stands in the .json file. One
    process may write at a time; any number may read meanwhile.

    Args:
      row_shape: Of one row, such as (2048,), or (10, 10, 1024) for a feature map.
      storage: "float32" or "float16".
    """

    path: Path
    num_rows: int
    row_shape: tuple[int, ...]
    storage: str = "float32"

    @classmethod
    def find(cls, path: Path) -> Self:
        """The array that is recorded beside a .npy file; read-only.

        Raises:
          FileNotFoundError: There is no record.
          OSError, ValueError: It is damaged or of another version.
        """
        record = _read_record(path.with_suffix(".json"))
        try:
            num_rows, *row_shape = map(int, record["shape"])
            array = cls(path, num_rows, tuple(row_shape), record.get("storage", "float32"))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path.with_suffix('.json')} names no shape") from error
        if array.storage not in STORAGES or array._recorded() is None:
            raise ValueError(f"{array.record_path} does not fit {path.name}")
        return array

    @property
    def record_path(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def num_shards(self) -> int:
        return -(-self.num_rows // SHARD_SIZE)

    @property
    def num_bytes(self) -> int:
        """Size of the rows on disk."""
        return self.num_rows * self.row_bytes

    @property
    def row_bytes(self) -> int:
        return math.prod(self.row_shape) * np.dtype(self.storage).itemsize

    def rows(self, shard: int) -> range:
        return range(shard * SHARD_SIZE, min((shard + 1) * SHARD_SIZE, self.num_rows))

    def digests(self) -> list[str]:
        """The recorded SHA-256 of each shard, "" where it isn't finished; read-only."""
        return self._recorded() or [""] * self.num_shards

    def verify(self) -> list[bool]:
        """For each shard whether it is finished and its bytes have the recorded SHA-256; read-only."""
        header, digests = self._header(), self.digests()
        # Through the file, not a memory map: where it was cut short, the shards before the cut are still good.
        try:
            with self.path.open("rb") as file:
                if file.read(len(header)) == header:
                    return [
                        hashlib.sha256(file.read(self._size(shard))).hexdigest() == digest
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

    def set_aside(self, good: Sequence[bool]) -> tuple[str, ...]:
        """Keeps what is damaged in *.broken files beside the array; a line on each, to be shown.

        A record or an array file that does not fit is renamed, the bytes of a damaged shard are copied.
        What can't be kept, as on a full disk, is said all the same: mending it matters more. Damaged
        shards count as not finished from then on.

        Args:
          good: What `verify` answers.
        """
        lines, digests = [], self.digests()
        bad = [shard for shard, is_good in enumerate(good) if not is_good]
        damaged = [shard for shard in bad if digests[shard]]
        needed = sum(self._size(shard) for shard in bad)  # at most, to compute them anew
        if self._recorded() is None and os.path.lexists(self.record_path):
            fate = self._keep(self.record_path)
            lines.append(f"{self.record_path} is damaged or of another version; {fate}, and all is computed anew")
        if self.has_header():
            for shard in damaged:
                fate = self._keep_shard(shard, needed=needed)
                lines.append(f"{self.path}: shard {shard} of {self.num_shards} is {fate}, and it is computed anew")
        elif os.path.lexists(self.path):
            fate = self._keep(self.path, needed=needed)
            lines.append(f"{self.path} does not begin as it should; {fate}, and all is computed anew")
        elif damaged:
            lines.append(f"{self.path} is gone; all is computed anew")
        if damaged:
            with suppress(DiskError):
                self._record([digest if is_good else "" for digest, is_good in zip(digests, good, strict=True)])
        return tuple(f"features {line}" for line in lines)

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
        """Writes the rows of one shard, in the array's own kind of float, and then records it as finished.

        Raises:
          DiskError: The disk refuses, or the file was removed.
        """
        block = np.ascontiguousarray(block, self.storage)
        # Through the file, not a memory map: on a full disk a map ends the process with SIGBUS, a write says ENOSPC.
        try:
            with disk_errors(self.path), self.path.open("r+b") as file:
                file.seek(self._offset(shard))
                file.write(block.data)
                file.flush()
                os.fsync(file.fileno())
        except FileNotFoundError as error:
            raise DiskError(f"{self.path} was removed while it was written", action="run the command again") from error
        digests = self.digests()
        digests[shard] = hashlib.sha256(block.data).hexdigest()
        self._record(digests)

    def _record(self, digests: list[str]) -> None:
        write_text(self.record_path, json.dumps({**self._outline, "sha256": digests}))

    @property
    def _outline(self) -> dict[str, Any]:
        """What its record says beside the digests; as it always was where rows are float32."""
        storage = {} if self.storage == "float32" else {"storage": self.storage}
        return {"shape": [self.num_rows, *self.row_shape], **storage, "shard_size": SHARD_SIZE}

    def _recorded(self) -> list[str] | None:
        """The digests in the record, None where there is no record or not one of this array."""
        try:
            record = _read_record(self.record_path)
            digests = list(record["sha256"])
            fits = {name: value for name, value in record.items() if name != "sha256"} == self._outline
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return digests if fits and len(digests) == self.num_shards else None

    def _keep(self, path: Path, *, needed: int = 0) -> str:
        """Renames a file to *.broken where `needed` bytes stay free beside it; says what became of it."""
        with suppress(OSError):
            if shutil.disk_usage(path.parent).free >= needed:
                path.replace(path.with_name(f"{path.name}.broken"))
                return f"it is now {path.name}.broken"
        return "it can't be kept"

    def _keep_shard(self, shard: int, *, needed: int) -> str:
        """Copies a shard's bytes to *.broken where `needed` bytes stay free beside it; says what became of them."""
        copy = self.path.with_name(f"{self.path.name}.shard-{shard}.broken")
        with suppress(OSError, DiskError):
            with self.path.open("rb") as file:
                file.seek(self._offset(shard))
                content = file.read(self._size(shard))
            if not content:
                return "cut off"
            if shutil.disk_usage(copy.parent).free >= needed + len(content):
                with replacing(copy) as temporary:
                    temporary.write_bytes(content)
                return f"damaged; its bytes are now {copy.name}"
        return "damaged; its bytes can't be kept"

    def _offset(self, shard: int) -> int:
        """Where the rows of a shard begin in the file."""
        return len(self._header()) + self.rows(shard).start * self.row_bytes

    def _size(self, shard: int) -> int:
        return len(self.rows(shard)) * self.row_bytes

    def _header(self) -> bytes:
        header = io.BytesIO()
        shape = (self.num_rows, *self.row_shape)
        entries = {"descr": np.dtype(self.storage).newbyteorder("<").str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, entries)
        return header.getvalue()


def _read_record(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
