"""The feature cache: what the frozen prefix makes of each image, computed once.

Layout below the cache folder: features/<key digest>/key.json says what decides the values and
is written at every use, <split>.npy holds one row per photo in manifest order, <split>.json
the SHA-256 of each finished shard of rows, see shards.py; *.broken is what was damaged.
features/<key digest>.lock is held while rows are written or removed; it lies outside so that
it outlives the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fashion_tuning.backbones import BACKBONES
from fashion_tuning.data.manifest import Manifest
from fashion_tuning.data.views import View
from fashion_tuning.errors import DataError, DiskError
from fashion_tuning.fail_points import passed
from fashion_tuning.files import write_text
from fashion_tuning.locks import try_lock
from fashion_tuning.model.key import FeatureKey
from fashion_tuning.model.shards import ShardedArray
from fashion_tuning.model.weights import Weights


@dataclass(frozen=True)
class FeatureRef:
    """Where one split's features lie and which rows they are, small enough to hand to a worker.

    Args:
      key: What decides their values.
      folder: features/<key digest> in the cache.
      split: Name of the split.
      photos: (path, sha256, label) of each row, in manifest order.
      classes: Class names; a label's index is its place here.
      row_shape: Of one image's features: (features,), or (height, width, channels) where the network is cut.
      views: The same photos in other views, see data/views.py.
    """

    key: FeatureKey
    folder: Path
    split: str
    photos: tuple[tuple[str, str, str], ...]
    classes: tuple[str, ...]
    row_shape: tuple[int, ...]
    views: tuple[FeatureRef, ...] = ()

    @property
    def every(self) -> tuple[FeatureRef, ...]:
        """The photos themselves, then their views."""
        return (self, *self.views)

    @property
    def array(self) -> ShardedArray:
        return ShardedArray(self.folder / f"{self.split}.npy", len(self.photos), self.row_shape, self.key.storage)

    def rows(self, shard: int) -> range:
        return self.array.rows(shard)

    def labels(self) -> np.ndarray:
        """(images,) int32 class indices."""
        index = {name: number for number, name in enumerate(self.classes)}
        return np.array([index[label] for _, _, label in self.photos], np.int32)


def feature_ref(key: FeatureKey, split: str, *, manifest: Manifest, cache_dir: Path) -> FeatureRef:
    """Where the features of one split lie, whether they are computed yet or not."""
    return FeatureRef(
        key=key,
        folder=cache_dir / "features" / key.digest,
        split=split,
        photos=tuple((photo.path, photo.sha256, photo.label) for photo in manifest.select(split)),
        classes=manifest.classes,
        row_shape=key.row_shape,
    )


@dataclass(frozen=True)
class FeatureProgress:
    """`done` of `total` images stand in the cache; `waiting` for another process that computes them.

    `set_aside` has a line on each damaged thing that is computed anew; it stands in the first progress alone.
    """

    split: str
    done: int
    total: int
    waiting: bool = False
    set_aside: tuple[str, ...] = ()


def load_features(ref: FeatureRef) -> np.ndarray:
    """The finished features, (images, *row_shape), memory-mapped and verified; read-only.

    Raises:
      DataError: A shard is missing or its bytes are not those that were written.
    """
    good = verify_shards(ref)
    if not all(good):
        raise DataError(
            f"features {ref.array.path}: {good.count(False)} of {len(good)} shards are missing or damaged",
            action="run the command again: damaged shards are computed anew",
        )
    return ref.array.load()


def verify_shards(ref: FeatureRef) -> list[bool]:
    """For each shard whether it is finished and its bytes have the recorded SHA-256; read-only."""
    return ref.array.verify()


def lock_path(folder: Path) -> Path:
    """What a process holds locked while it writes or removes features/<key digest>."""
    return folder.with_name(f"{folder.name}.lock")


def compute_features(ref: FeatureRef, *, root: Path, weights: Weights) -> Iterator[FeatureProgress]:
    """Computes the shards that are missing or damaged, one after the other.

    Writes <split>.npy, <split>.json and key.json below `ref.folder`, and what was damaged into
    *.broken files there. Where another process computes features of the same key, waits for it
    and takes its result. Where nothing is missing, nothing has to be writable.

    Raises:
      DataError: A photo is not the one in the manifest any more.
      DiskError: The disk refuses.
    """
    if all(verify_shards(ref)):
        with suppress(DiskError):  # the time of use matters to `cache prune` alone
            _write_key(ref)
        yield FeatureProgress(ref.split, len(ref.photos), len(ref.photos))
        return
    while True:
        with try_lock(lock_path(ref.folder), seconds=1) as held:
            if held:
                yield from _compute_missing(ref, root, weights)
                return
        done = sum(len(ref.rows(shard)) for shard, digest in enumerate(ref.array.digests()) if digest)
        yield FeatureProgress(ref.split, done, len(ref.photos), waiting=True)


def _compute_missing(ref: FeatureRef, root: Path, weights: Weights) -> Iterator[FeatureProgress]:
    good = verify_shards(ref)
    done = sum(len(ref.rows(shard)) for shard, is_good in enumerate(good) if is_good)
    yield FeatureProgress(ref.split, done, len(ref.photos), set_aside=ref.array.set_aside(good))
    missing = [shard for shard, is_good in enumerate(good) if not is_good]
    if not missing:
        return
    _write_key(ref)
    ref.array.allocate()
    batches = _batches(ref, [row for shard in missing for row in ref.rows(shard)], root, weights)
    for shard in missing:
        block = np.empty((len(ref.rows(shard)), *ref.row_shape), np.float32)
        filled = 0
        # Batches end where shards end, so a row's batch, and with it its last bits, is always the same.
        while filled < len(block):
            batch = next(batches)
            block[filled : filled + len(batch)] = batch
            filled += len(batch)
            yield FeatureProgress(ref.split, done + filled, len(ref.photos))
        ref.array.write(shard, block)
        passed("features")
        done += len(block)


def _batches(ref: FeatureRef, rows: list[int], root: Path, weights: Weights) -> Iterator[np.ndarray]:
    """Features of some rows, made of an earlier cut's where those are there, and of the photos else."""
    from fashion_tuning.model.extraction import features_of_maps, features_of_photos
    from fashion_tuning.model.prefix import load_between, load_prefix

    key, image_size = ref.key, ref.key.image_size
    if (earlier := _earlier(ref)) is not None:
        between = load_between(weights, image_size=image_size, start=earlier.key.cut, cut=key.cut)
        return features_of_maps(between, earlier.array.load(), rows)
    prefix = load_prefix(
        weights, image_size=image_size, engine=key.engine, precision=key.precision, cut=key.cut, device=key.device
    )
    photos = [(root / path, sha256) for path, sha256, _ in (ref.photos[row] for row in rows)]
    return features_of_photos(prefix, photos, key.sizing, View.parse(key.view))


def _earlier(ref: FeatureRef) -> FeatureRef | None:
    """The same photos' features at an earlier cut, the nearest one that stands in the cache; None where none does.

    Going on from there gives the same bits, since every layer gets the same numbers in the same batches; only exact
    features can be gone on from.
    """
    if ref.key != ref.key.exact:
        return None
    cuts = list(BACKBONES[ref.key.backbone].cuts)
    for cut in cuts[cuts.index(ref.key.cut) + 1 if ref.key.cut in cuts else 0 :]:
        key = replace(ref.key, cut=cut)
        found = replace(ref, key=key, folder=ref.folder.with_name(key.digest), row_shape=key.row_shape)
        if all(verify_shards(found)):
            return found
    return None


def _write_key(ref: FeatureRef) -> None:
    write_text(ref.folder / "key.json", json.dumps(ref.key.parts(), indent=1, sort_keys=True))
