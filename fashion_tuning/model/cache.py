"""The cache folder as a whole: what it holds, whether it is sound, what can go."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fashion_tuning.files import disk_errors
from fashion_tuning.model.features import SHARD_SIZE

SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True)
class CacheEntry:
    """One thing in the cache. `state` is "complete", "unfinished" or "damaged"."""

    kind: str
    name: str
    path: Path
    num_bytes: int
    state: str
    days_unused: float

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "path": str(self.path)}


def list_cache(cache_dir: Path) -> list[CacheEntry]:
    """Everything in the cache, features by key; quick, without reading the features; read-only."""
    return [entry for entry, _ in _entries(cache_dir, thorough=False)]


def verify_cache(cache_dir: Path) -> list[str]:
    """What is wrong, one line each: every shard is read and compared with its digest; read-only."""
    return [problem for _, problems in _entries(cache_dir, thorough=True) for problem in problems]


def prune_cache(cache_dir: Path, *, unused_days: float | None = None) -> list[CacheEntry]:
    """Removes damaged and unfinished features, and complete ones unused for `unused_days`.

    Weights and photos stay: they are needed again. Returns what was removed.

    Raises:
      DiskError: A folder can't be removed.
    """
    removed = []
    for entry, _ in _entries(cache_dir, thorough=True):
        old = unused_days is not None and entry.days_unused >= unused_days
        if entry.kind == "features" and (entry.state != "complete" or old):
            with disk_errors(entry.path):
                shutil.rmtree(entry.path)
            removed.append(entry)
    return removed


def _entries(cache_dir: Path, *, thorough: bool) -> Iterator[tuple[CacheEntry, list[str]]]:
    for folder in sorted((cache_dir / "features").glob("*")):
        if folder.is_dir():
            yield _feature_entry(folder, thorough=thorough)
    for kind in ("weights", "photos", "manifests"):
        for path in sorted((cache_dir / kind).glob("*")):
            if path.suffix == ".lock" or path.name.startswith("."):
                continue
            yield CacheEntry(kind, path.name, path, _bytes(path), "complete", _days_unused(path)), []


def _feature_entry(folder: Path, *, thorough: bool) -> tuple[CacheEntry, list[str]]:
    problems: list[str] = []
    unfinished = False
    for array_path in sorted(folder.glob("*.npy")):
        missing, damaged = _shards(array_path, thorough=thorough)
        unfinished |= missing > 0
        if missing:
            problems.append(f"{array_path}: {missing} shards are not computed yet")
        if damaged:
            problems.append(f"{array_path}: {damaged} shards are damaged")
    is_damaged = any("damaged" in problem for problem in problems)
    state = "damaged" if is_damaged else "unfinished" if unfinished else "complete"
    try:
        key = json.loads((folder / "key.json").read_text())
        name = f"{folder.name} {key['backbone']} {key['image_size']} px, data {key['manifest'][:8]}"
    except (OSError, ValueError, KeyError, TypeError):
        name, state = folder.name, "damaged"
        problems.append(f"{folder / 'key.json'}: missing or unreadable")
    return CacheEntry("features", name, folder, _bytes(folder), state, _days_unused(folder)), problems


def _shards(array_path: Path, *, thorough: bool) -> tuple[int, int]:
    """(missing, damaged) shards of one array; damage is looked for only if thorough."""
    try:
        digests = json.loads(array_path.with_suffix(".json").read_text())["sha256"]
        array = np.load(array_path, mmap_mode="r")
    except (OSError, ValueError, KeyError, TypeError):
        return 1, 0
    damaged = 0
    if thorough:
        for number, digest in enumerate(digests):
            block = np.ascontiguousarray(array[number * SHARD_SIZE : (number + 1) * SHARD_SIZE])
            damaged += bool(digest) and hashlib.sha256(block.data).hexdigest() != digest
    return sum(not digest for digest in digests), damaged


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _days_unused(path: Path) -> float:
    times = [path.stat(), *(file.stat() for file in (path.iterdir() if path.is_dir() else ()))]
    newest = max(max(one.st_mtime, one.st_atime) for one in times)
    return max(0.0, time.time() - newest) / SECONDS_A_DAY
