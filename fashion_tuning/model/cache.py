"""The cache folder as a whole: what it holds, whether it is sound, what can go."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fashion_tuning.files import disk_errors
from fashion_tuning.locks import try_lock
from fashion_tuning.model.features import lock_path
from fashion_tuning.model.shards import ShardedArray

SECONDS_A_DAY = 86_400.0
KINDS = ("features", "weights", "photos", "manifests")  # sub-folders of the cache


@dataclass(frozen=True)
class CacheEntry:
    """One thing in the cache. `state` is "complete", "unfinished", "damaged" or "set aside"."""

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
    return [entry for entry, _ in _entries(cache_dir, thorough=False)] + list_set_aside(cache_dir)


def list_set_aside(cache_dir: Path) -> list[CacheEntry]:
    """What was found damaged once and is kept as *.broken; the cache is sound all the same; read-only."""
    paths = (path for kind in KINDS for path in sorted((cache_dir / kind).rglob("*")) if _is_set_aside(path))
    return [_entry(path, cache_dir, "set aside") for path in paths]


def verify_cache(cache_dir: Path) -> list[str]:
    """What is wrong, one line each: every shard is read and compared with its digest; read-only."""
    return [problem for _, problems in _entries(cache_dir, thorough=True) for problem in problems]


def prune_cache(cache_dir: Path, *, unused_days: float | None = None) -> list[CacheEntry]:
    """Removes damaged and unfinished features, complete ones unused for `unused_days`, and what was set aside.

    Weights and photos stay: they are needed again. So do features that a process is computing
    just now. Returns what was removed.

    Raises:
      DiskError: A folder can't be removed.
    """
    removed = []
    for folder in _feature_folders(cache_dir):
        with try_lock(lock_path(folder)) as held, disk_errors(folder):
            if not held:
                continue
            entry, _ = _feature_entry(folder, thorough=True)
            old = unused_days is not None and entry.days_unused >= unused_days
            if entry.state != "complete" or old:
                shutil.rmtree(folder)
                removed.append(entry)
    for entry in list_set_aside(cache_dir):
        with disk_errors(entry.path):
            if entry.path.is_dir():
                shutil.rmtree(entry.path)
            else:
                entry.path.unlink(missing_ok=True)
        removed.append(entry)
    return removed


def _entries(cache_dir: Path, *, thorough: bool) -> Iterator[tuple[CacheEntry, list[str]]]:
    for folder in _feature_folders(cache_dir):
        yield _feature_entry(folder, thorough=thorough)
    for kind in KINDS[1:]:
        for path in sorted((cache_dir / kind).glob("*")):
            if path.suffix == ".lock" or path.name.startswith(".") or _is_set_aside(path):
                continue
            yield _entry(path, cache_dir, "complete"), []


def _entry(path: Path, cache_dir: Path, state: str) -> CacheEntry:
    """What is no features."""
    kind, *place = path.relative_to(cache_dir).parts
    files = _files(path)
    days = _days_since(max(file.st_atime, file.st_mtime) for file in files)
    return CacheEntry(kind, "/".join(place), path, _total(files), state, days)


def _is_set_aside(path: Path) -> bool:
    return re.search(r"\.broken(-\d+)?$", path.name) is not None


def _feature_folders(cache_dir: Path) -> list[Path]:
    return sorted(folder for folder in (cache_dir / "features").glob("*") if folder.is_dir())


def _feature_entry(folder: Path, *, thorough: bool) -> tuple[CacheEntry, list[str]]:
    problems: list[str] = []
    arrays = [path for path in sorted(folder.glob("*.npy")) if not path.name.startswith(".")]
    state = "complete" if arrays else "unfinished"
    for path in arrays:
        missing, damaged, total = _shards(path, thorough=thorough)
        if missing:
            problems.append(f"{path}: {missing} of {total} shards are not computed yet")
            state = "unfinished" if state == "complete" else state
        if damaged:
            problems.append(f"{path}: {damaged} of {total} shards are damaged")
            state = "damaged"
    try:
        key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
        name = f"{folder.name} {key['backbone']} {key['image_size']} px, data {key['manifest'][:8]}"
    except (OSError, ValueError, KeyError, TypeError):
        name, state = folder.name, "damaged"
        problems.append(f"{folder / 'key.json'}: missing or unreadable")
    files = [status for path in folder.iterdir() if not _is_set_aside(path) for status in _files(path)]
    # By the time of writing, which every use renews: `cache verify` reads too, and is no use.
    days = _days_since(file.st_mtime for file in files)
    return CacheEntry("features", name, folder, _total(files), state, days), problems


def _shards(path: Path, *, thorough: bool) -> tuple[int, int, int]:
    """(missing, damaged, all) shards of one array; unless thorough, damage shows in the file's head and size alone."""
    try:
        array = ShardedArray.find(path)
    except (OSError, ValueError):
        return 1, 0, 1  # nothing is recorded yet, and every array has a shard
    digests = array.digests()
    missing = digests.count("")
    if thorough:
        return missing, array.verify().count(False) - missing, len(digests)
    sound = array.has_header() and array.has_full_size()
    return missing, 0 if sound else len(digests) - missing, len(digests)


def _files(path: Path) -> list[os.stat_result]:
    """The files at or below a path; those that vanish meanwhile are left out."""
    found = []
    for one in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):
            status = one.stat()
            if stat.S_ISREG(status.st_mode):
                found.append(status)
    return found


def _total(files: list[os.stat_result]) -> int:
    return sum(file.st_size for file in files)


def _days_since(times: Iterable[float]) -> float:
    return max(0.0, time.time() - max(times, default=0.0)) / SECONDS_A_DAY
