"""Answers a second of the whole model at 299 px: Keras, and each format that it can be exported to."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.data.source import Dataset
from fashion_tuning.errors import FashionTuningError
from fashion_tuning.model.exporting import FORMATS
from fashion_tuning.model.head import build_head
from fashion_tuning.model.shipped import ModelCard
from fashion_tuning.model.weights import Weights
from fashion_tuning.model.whole import compose, save
from fashion_tuning.service.export import export

IMAGE_SIZE, NUM_IMAGES = 299, 16
VALUES = {"dense_units": 100, "dropout": 0.2}


def measure(dataset: Dataset, weights: Weights, scratch: Path) -> list[tuple[str, str, str, str]]:
    """Images/s of each format beside those of Keras, at batch 1 and 16; a head that nobody has trained is as fast."""
    classes = dataset.manifest.classes
    card = ModelCard(classes, IMAGE_SIZE, "nearest")
    head, whole = scratch / "head.keras", scratch / "model.keras"
    build_head(VALUES, feature_size=2048, num_classes=len(classes), study_seed=1, seed=1).save(head)
    save(compose(weights, head, card), card, whole)
    chosen = dataset.manifest.select("validation")[:NUM_IMAGES]
    pixels = np.stack([decode(dataset.path(one), Sizing(IMAGE_SIZE)) for one in chosen])
    return [row for name in FORMATS for row in _rows(name, whole, scratch, pixels)]


def _rows(name: str, whole: Path, scratch: Path, pixels: np.ndarray) -> Iterator[tuple[str, str, str, str]]:
    try:
        found = export(whole, name, scratch / f"exported-{name}{FORMATS[name].suffix}", pixels=pixels)
    except FashionTuningError as error:
        yield f"answers at {IMAGE_SIZE} px, {name}", "none", str(error).splitlines()[0], ""
        return
    for speed in found.speeds:
        yield (
            f"answers at {IMAGE_SIZE} px, {name} ({found.num_bytes / 1e6:.0f} MB), batch {speed.batch_size}",
            f"{speed.images_per_second:.1f} images/s",
            f"Keras {speed.keras_images_per_second:.1f} images/s",
            f"{speed.images_per_second / speed.keras_images_per_second:.2f}",
        )
