"""The feature cache: what the frozen prefix makes of each image, computed once.

Layout below the cache folder: features/<key digest>/key.json says what decides the values,
<split>.npy holds one row per photo in manifest order, <split>.json the SHA-256 of each
finished shard of rows. A shard counts once its rows are synced and its digest stands in
<split>.json; a kill loses the shard in hand and no other.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from fashion_tuning.config import Card
from fashion_tuning.data.decode import ASPECT, DECODE_VERSION
from fashion_tuning.data.manifest import Manifest
from fashion_tuning.errors import DataError, DiskError
from fashion_tuning.files import disk_errors, write_text
from fashion_tuning.model.backbone import CUT, FEATURE_SIZE, PREPROCESSING
from fashion_tuning.model.weights import Weights

SHARD_SIZE = 256  # rows; some ten seconds of work on two cores


@dataclass(frozen=True)
class FeatureKey:
    """All that decides a feature's value; two equal keys mean equal features."""

    manifest: str
    image_size: int
    interpolation: str
    preprocessing: str
    backbone: str
    weights: str
    cut: str
    engine: str
    precision: str = "float32"
    view: str = "identity"
    aspect: str = ASPECT
    decode_version: int = DECODE_VERSION

    def parts(self) -> dict[str, str]:
        return {name: str(value) for name, value in asdict(self).items()}

    @property
    def digest(self) -> str:
        """First 24 hex digits of a SHA-256 over the parts."""
        return hashlib.sha256(json.dumps(self.parts(), sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class FeatureRef:
    """Where one split's features lie and which rows they are, small enough to hand to a worker.

    Args:
      folder: features/<key digest> in the cache.
      split: Name of the split.
      photos: (path, sha256, label) of each row, in manifest order.
      classes: Class names; a label's index is its place here.
      num_features: Width of a row.
    """

    folder: Path
    split: str
    photos: tuple[tuple[str, str, str], ...]
    classes: tuple[str, ...]
    num_features: int

    @property
    def array_path(self) -> Path:
        return self.folder / f"{self.split}.npy"

    @property
    def shards_path(self) -> Path:
        return self.folder / f"{self.split}.json"

    @property
    def num_shards(self) -> int:
        return -(-len(self.photos) // SHARD_SIZE)

    @property
    def num_bytes(self) -> int:
        """Size of the finished array on disk, in bytes."""
        return len(self.photos) * self.num_features * 4

    def rows(self, shard: int) -> range:
        return range(shard * SHARD_SIZE, min((shard + 1) * SHARD_SIZE, len(self.photos)))

    def labels(self) -> np.ndarray:
        """(images,) int32 class indices."""
        index = {name: number for number, name in enumerate(self.classes)}
        return np.array([index[label] for _, _, label in self.photos], np.int32)


def feature_key(card: Card, *, manifest: Manifest, weights: Weights) -> FeatureKey:
    """The key of the features that a card needs."""
    return FeatureKey(
        manifest=manifest.digest,
        image_size=card.images.image_size,
        interpolation=card.images.interpolation,
        preprocessing=PREPROCESSING,
        backbone=card.model.backbone,
        weights=weights.digest,
        cut=CUT,
        engine=f"keras-{os.environ.get('KERAS_BACKEND', 'tensorflow')}",
    )


def feature_ref(key: FeatureKey, split: str, *, manifest: Manifest, cache_dir: Path) -> FeatureRef:
    """Where the features of one split lie, whether they are computed yet or not."""
    return FeatureRef(
        folder=cache_dir / "features" / key.digest,
        split=split,
        photos=tuple((photo.path, photo.sha256, photo.label) for photo in manifest.select(split)),
        classes=manifest.classes,
        num_features=FEATURE_SIZE,
    )


@dataclass(frozen=True)
class FeatureProgress:
    """`done` of `total` images stand in the cache; `waiting` for another process that computes them."""

    split: str
    done: int
    total: int
    waiting: bool = False


def load_features(ref: FeatureRef) -> np.ndarray:
    """The finished features, (images, features) float32, memory-mapped and verified; read-only.

    Raises:
      DataError: A shard is missing or its bytes are not those that were written.
    """
    bad = [shard for shard, good in enumerate(verify_shards(ref)) if not good]
    if bad:
        raise DataError(
            f"features {ref.array_path}: {len(bad)} of {ref.num_shards} shards are missing or damaged",
            action="run the command again: damaged shards are computed anew",
        )
    return np.load(ref.array_path, mmap_mode="r")


def verify_shards(ref: FeatureRef) -> list[bool]:
    """For each shard whether it is finished and its bytes have the recorded SHA-256; read-only."""
    digests = _read_digests(ref)
    if not any(digests):
        return [False] * ref.num_shards
    try:
        array = np.load(ref.array_path, mmap_mode="r")
    except (OSError, ValueError):
        return [False] * ref.num_shards
    if array.shape != (len(ref.photos), ref.num_features) or array.dtype != np.float32:
        return [False] * ref.num_shards
    return [
        bool(digest) and hashlib.sha256(array[_slice(ref.rows(shard))].data).hexdigest() == digest
        for shard, digest in enumerate(digests)
    ]


def compute_features(ref: FeatureRef, key: FeatureKey, *, root: Path, weights: Weights) -> Iterator[FeatureProgress]:
    """Computes the shards that are missing or damaged, one after the other.

    Writes <split>.npy, <split>.json and key.json below `ref.folder`. Where another process is
    at the same split, waits for it and takes its result.

    Raises:
      DataError: A photo is not the one in the manifest any more.
      DiskError: The disk refuses.
    """
    with disk_errors(ref.folder):
        ref.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(ref.folder / f"{ref.split}.lock")
    while True:
        try:
            lock.acquire(timeout=1)
            break
        except Timeout:
            done = sum(len(ref.rows(shard)) for shard, digest in enumerate(_read_digests(ref)) if digest)
            yield FeatureProgress(ref.split, done, len(ref.photos), waiting=True)
    try:
        yield from _compute_missing(ref, key, root, weights)
    finally:
        lock.release()


def _compute_missing(ref: FeatureRef, key: FeatureKey, root: Path, weights: Weights) -> Iterator[FeatureProgress]:
    good = verify_shards(ref)
    done = sum(len(ref.rows(shard)) for shard, is_good in enumerate(good) if is_good)
    yield FeatureProgress(ref.split, done, len(ref.photos))
    missing = [shard for shard, is_good in enumerate(good) if not is_good]
    if not missing:
        return
    from fashion_tuning.model.extraction import Extractor

    write_text(ref.folder / "key.json", json.dumps(key.parts(), indent=1, sort_keys=True))
    if not any(good):
        _allocate(ref)
    digests = [digest if is_good else "" for digest, is_good in zip(_read_digests(ref), good, strict=True)]
    with Extractor(weights, image_size=key.image_size, interpolation=key.interpolation) as extractor:
        wanted = [ref.photos[row] for shard in missing for row in ref.rows(shard)]
        batches = extractor.features([(root / path, sha256) for path, sha256, _ in wanted])
        for shard in missing:
            rows = ref.rows(shard)
            block = np.empty((len(rows), ref.num_features), np.float32)
            filled = 0
            while filled < len(rows):
                batch = next(batches)
                block[filled : filled + len(batch)] = batch
                filled += len(batch)
                yield FeatureProgress(ref.split, done + filled, len(ref.photos))
            _write_rows(ref, rows, block)
            digests[shard] = hashlib.sha256(block.data).hexdigest()
            write_text(ref.shards_path, json.dumps({"shard_size": SHARD_SIZE, "sha256": digests}))
            done += len(rows)


def _read_digests(ref: FeatureRef) -> list[str]:
    try:
        record = json.loads(ref.shards_path.read_text())
        digests = list(record["sha256"])
        fits = record["shard_size"] == SHARD_SIZE and len(digests) == ref.num_shards
    except (OSError, ValueError, KeyError, TypeError):
        fits = False
    return digests if fits else [""] * ref.num_shards


def _allocate(ref: FeatureRef) -> None:
    with disk_errors(ref.array_path), ref.array_path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(ref.photos), ref.num_features)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + ref.num_bytes)
    ref.shards_path.unlink(missing_ok=True)


def _write_rows(ref: FeatureRef, rows: range, block: np.ndarray) -> None:
    # Written through the file, not the memory map: on a full disk a map ends the process with
    # SIGBUS, a write says ENOSPC.
    try:
        with disk_errors(ref.array_path), ref.array_path.open("r+b") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            file.seek(rows.start * ref.num_features * 4, os.SEEK_CUR)
            file.write(block.data)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError as error:
        raise DiskError(f"{ref.array_path} was removed while it was written", action="run the command again") from error


def _slice(rows: range) -> slice:
    return slice(rows.start, rows.stop)
