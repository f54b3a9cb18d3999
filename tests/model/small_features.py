"""Small data for this room's tests: photos that are quickly made, and features without any photo."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from fashion_tuning.data.manifest import Manifest, Photo
from fashion_tuning.model.features import FeatureRef
from fashion_tuning.model.key import FeatureKey, keras_engine

LABELS = ("hat", "shoes", "skirt")


def draw_photos(root: Path, counts: dict[str, int]) -> Manifest:
    """Writes small JPEGs of random colours below root/<split>/<label>; counts are photos by split."""
    random = np.random.default_rng(7)
    photos = []
    for split, count in counts.items():
        for number in range(count):
            label = LABELS[number % len(LABELS)]
            path = f"{split}/{label}/{number:04d}.jpg"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            colours = random.integers(0, 256, (5, 4, 3), dtype=np.uint8)
            Image.fromarray(colours).resize((60, 80), Image.Resampling.BICUBIC).save(root / path, quality=90)
            photos.append(Photo(path, hashlib.sha256((root / path).read_bytes()).hexdigest(), label, split))
    return Manifest(tuple(photos))


def make_key(**changes: object) -> FeatureKey:
    """A key of no real data."""
    parts = {
        "manifest": "0123456789abcdef",
        "image_size": 71,
        "interpolation": "nearest",
        "preprocessing": "tf",
        "backbone": "xception",
        "weights": "fedcba9876543210",
        "cut": "avg_pool",
        "engine": keras_engine(),
    }
    return FeatureKey(**{**parts, **changes})  # type: ignore[arg-type]


def write_features(folder: Path, split: str, features: np.ndarray, labels: np.ndarray) -> FeatureRef:
    """Puts made-up features, (images, features) float32, into the cache's own format."""
    classes = tuple(f"class {number}" for number in range(labels.max() + 1))
    ref = FeatureRef(
        key=make_key(),
        folder=folder,
        split=split,
        photos=tuple((f"{number:04d}.jpg", "", classes[label]) for number, label in enumerate(labels)),
        classes=classes,
        row_shape=features.shape[1:],
    )
    ref.array.allocate()
    for shard in range(ref.array.num_shards):
        rows = ref.rows(shard)
        ref.array.write(shard, np.ascontiguousarray(features[rows.start : rows.stop], dtype=np.float32))
    return ref
