"""Features in the cache held to the photos themselves: a batch of each array is computed anew and compared.

What was written is what is there, says a digest; this says whether it is what the key promises. Versions up to 0.1.0
took floatx from Keras's own user file, and kept float16 features under the key of float32 ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fashion_tuning.data.decode import DECODE_VERSION
from fashion_tuning.data.manifest import SPLITS, Manifest
from fashion_tuning.data.views import View
from fashion_tuning.errors import FashionTuningError
from fashion_tuning.model.exact import device_kind
from fashion_tuning.model.extraction import BATCH_SIZE, features_of_photos
from fashion_tuning.model.features import FeatureRef, feature_ref
from fashion_tuning.model.key import FeatureKey, keras_engine
from fashion_tuning.model.prefix import load_prefix
from fashion_tuning.model.weights import Weights

# Of the length of the features: other processors and versions of TensorFlow differ by 1e-6, rounding to float16 alone
# by 2e-4 of what it was rounded from, and features that were computed in float16 by 1e-3.
WITHIN: Final = 1e-4


@dataclass(frozen=True)
class Recheck:
    """How one array compares: `difference` is that of its first batch, as a share of the features' length."""

    path: Path
    num_photos: int
    difference: float

    @property
    def agrees(self) -> bool:
        return self.difference <= WITHIN

    def __str__(self) -> str:
        how = "as" if self.agrees else "NOT as"
        return f"{self.path}: {how} computed anew from {self.num_photos} photos, within {self.difference:.1g}"


def recheck(
    cache_dir: Path, root: Path, manifest: Manifest, *, weights_of: Callable[[str], Weights]
) -> Iterator[Recheck]:
    """Compares every array of these photos that can be computed here, one after the other; read-only.

    That is what Keras made on this backend and kind of device in float32, from weights that are here: other modes
    differ from processor to processor. One that is damaged is passed over, since `verify_cache` names it.

    Args:
      root: Where the photos are.
      weights_of: A function from a backbone's name to its weights.

    Raises:
      DataError: A photo is not the one in the manifest any more.
      WeightsError: Weights can't be had.
    """
    for path in sorted((cache_dir / "features").glob("*/key.json")):
        try:
            key = FeatureKey.of_parts(json.loads(path.read_text(encoding="utf-8")))
            sizing, view = key.sizing, View.parse(key.view)
        except (OSError, ValueError, TypeError, KeyError, FashionTuningError):
            continue
        here = (manifest.digest, keras_engine(), device_kind(), "float32", DECODE_VERSION)
        if (key.manifest, key.engine, key.device, key.precision, key.decode_version) != here:
            continue
        refs = [feature_ref(key, split, manifest=manifest, cache_dir=cache_dir) for split in SPLITS]
        refs = [ref for ref in refs if ref.folder == path.parent and _is_begun(ref)]
        if not refs or (weights := weights_of(key.backbone)).digest != key.weights:
            continue
        modes = {"engine": key.engine, "precision": key.precision, "device": key.device}
        prefix = load_prefix(weights, image_size=key.image_size, cut=key.cut, **modes)
        for ref in refs:
            photos = [(root / name, sha256) for name, sha256, _ in ref.photos[: min(BATCH_SIZE, len(ref.rows(0)))]]
            (batch,) = features_of_photos(prefix, photos, sizing, view)
            yield Recheck(ref.array.path, len(photos), _difference(ref, batch))


def _is_begun(ref: FeatureRef) -> bool:
    """Whether the first shard stands there; a quick look."""
    array = ref.array
    return array.num_rows > 0 and bool(array.digests()[0]) and array.has_header() and array.has_full_size()


def _difference(ref: FeatureRef, computed: np.ndarray) -> float:
    cached = ref.array.load()[: len(computed)].astype(np.float64)
    computed = computed.astype(ref.key.storage).astype(np.float64)
    difference = float(np.linalg.norm(computed - cached) / np.linalg.norm(computed))
    return difference if np.isfinite(difference) else float("inf")
