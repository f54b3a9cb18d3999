"""The model that ships: an image in, class probabilities out, in one Keras file that says what it is."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fashion_tuning.backbones import AVERAGE
from fashion_tuning.files import SCRATCH, disk_errors
from fashion_tuning.model.checkpoint import BrokenCheckpointError, predict
from fashion_tuning.model.exact import exact_settings
from fashion_tuning.model.extraction import pixel_batches
from fashion_tuning.model.features import FeatureRef, load_features
from fashion_tuning.model.network import build_prefix
from fashion_tuning.model.shipped import METADATA, OURS, ModelCard, load
from fashion_tuning.model.weights import Weights

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Parity:
    """How far the whole model is from prefix plus head, on the validation photos; a difference of probabilities."""

    largest_difference: float
    num_images: int


def ship(
    weights: Weights,
    head: Path,
    card: ModelCard,
    target: Path,
    *,
    validation: FeatureRef,
    root: Path,
) -> Iterator[tuple[int, int] | Parity]:
    """Writes the whole model to `target` and compares it with prefix plus head on the validation photos.

    Yields (images compared, images in all) after each batch, and the Parity at the end.

    Args:
      head: A checkpoint, features in and logits out.
      validation: Its features at the card's size; root: where its photos lie.

    Raises:
      BrokenCheckpointError: The head can't be loaded.
      DataError: Photos or features are missing or not those on record.
      DiskError: The disk refuses.
    """
    expected = predict(head, load_features(validation))
    with disk_errors(target, instead=SCRATCH):
        save(compose(weights, head, card, cut=validation.key.cut), card, target)
    model, _ = load(target)
    photos = [(root / path, sha256) for path, sha256, _ in validation.photos]
    largest, done = 0.0, 0
    for pixels in pixel_batches(photos, card.sizing):
        ours = np.asarray(model.predict_on_batch(pixels))
        largest = max(largest, float(np.abs(ours - expected[done : done + len(ours)]).max()))
        done += len(ours)
        yield done, len(photos)
    yield Parity(largest, len(photos))


@exact_settings()
def compose(weights: Weights, head: Path, card: ModelCard, *, cut: str = AVERAGE) -> keras.Model:
    """(batch, image_size, image_size, 3) uint8 RGB -> (batch, classes) float32 probabilities.

    Args:
      cut: Where the features that the head was trained on were taken, see backbones.py.

    Raises:
      BrokenCheckpointError: The head can't be loaded.
    """
    import keras

    try:
        trained = keras.saving.load_model(head, safe_mode=True, compile=False)
    except Exception as error:  # zipfile, h5py, json and Keras each meet damage in their own way
        raise BrokenCheckpointError(f"{head}: {error}") from error
    prefix = build_prefix(weights, image_size=card.image_size, cut=cut, dtype="uint8")
    logits = trained(prefix.output, training=False)
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(prefix.input, probabilities, name="fashion_classifier")


@exact_settings()
def save(model: keras.Model, card: ModelCard, target: Path) -> None:
    """Writes a model and its card into one .keras file."""
    plain = target.with_name(f"plain-{target.name}")
    model.save(plain)
    # Keras has no place for a card of one's own: the file is written anew with one more entry in its metadata.
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
        for member in source.infolist():
            content = source.read(member)
            if member.filename == METADATA:
                content = json.dumps({**json.loads(content), OURS: asdict(card)}).encode()
            copy.writestr(member, content)
    plain.unlink()
    with target.open("rb") as file:
        os.fsync(file.fileno())
