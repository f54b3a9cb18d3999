"""Feature extraction against the bare engine: does decoding ever make the network wait?"""

import time
from dataclasses import dataclass

import numpy as np

from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.data.source import Dataset
from fashion_tuning.data.views import IDENTITY
from fashion_tuning.model.extraction import BATCH_SIZE, features_of_photos
from fashion_tuning.model.network import build_prefix
from fashion_tuning.model.prefix import load_prefix
from fashion_tuning.model.weights import Weights

NUM_IMAGES = {150: 256, 299: 96}  # by image size: about as many seconds each
ROUNDS = 3


@dataclass(frozen=True)
class Extraction:
    rows: list[tuple[str, str, str, str]]
    images_per_second: float


def measure(dataset: Dataset, weights: Weights, *, image_size: int) -> Extraction:
    """Images/s from files to features, and of the network alone on pixels that are there already."""
    chosen = dataset.manifest.select("train")[: NUM_IMAGES[image_size]]
    photos = [(dataset.path(photo), photo.sha256) for photo in chosen]
    pixels = np.stack([decode(path, Sizing(image_size)) for path, _ in photos])
    prefix = build_prefix(weights, image_size=image_size)
    bare, whole = [], []
    ours = load_prefix(weights, image_size=image_size, engine="keras-tensorflow", precision="float32")
    sizing = Sizing(image_size)
    prefix.predict_on_batch(pixels[:BATCH_SIZE])
    list(features_of_photos(ours, photos[:BATCH_SIZE], sizing, IDENTITY))
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for start in range(0, len(pixels), BATCH_SIZE):
            prefix.predict_on_batch(pixels[start : start + BATCH_SIZE])
        bare.append(len(photos) / (time.perf_counter() - started))
        started = time.perf_counter()
        for _ in features_of_photos(ours, photos, sizing, IDENTITY):
            pass
        whole.append(len(photos) / (time.perf_counter() - started))
    # Round by round, since the speed of a shared machine drifts.
    ratio = float(np.median([one / other for one, other in zip(whole, bare, strict=True)]))
    row = (
        f"feature extraction at {image_size} px, files to features ({len(photos)} images, median of {ROUNDS})",
        f"{np.median(whole):.1f} images/s",
        f"bare engine {np.median(bare):.1f} images/s",
        f"{ratio:.2f}",
    )
    return Extraction([row], float(np.median(whole)))
