"""The untouched Xception with its ImageNet top, as the course shows it first."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.errors import WeightsError
from fashion_tuning.model.exact import exact_settings

if TYPE_CHECKING:
    import keras

IMAGE_SIZE: Final = 299
WEIGHTS: Final = "xception_weights_tf_dim_ordering_tf_kernels.h5"
CLASSES: Final = "imagenet_class_index.json"
_ADDRESS: Final = "https://storage.googleapis.com/tensorflow/keras-applications/xception"
_CLASSES_ADDRESS: Final = "https://storage.googleapis.com/download.tensorflow.org/data"


@exact_settings()
def imagenet_classes(path: Path, *, cache_dir: Path, top: int = 5) -> list[tuple[str, str, float]]:
    """The likeliest ImageNet classes of a photo: (WordNet id, name, probability), best first.

    Looks for Keras's two files in cache_dir/weights, then lets Keras find or download them.

    Raises:
      UnreadableImageError: The file is no usable photo.
      WeightsError: The weights with the top, or the names of the classes, can't be had.
    """
    pixels = decode(path, Sizing(IMAGE_SIZE))[None].astype(np.float32)
    folder = cache_dir / "weights"
    model = _model(folder)
    import keras

    probabilities = np.asarray(model.predict_on_batch(keras.applications.xception.preprocess_input(pixels)))
    names = folder / CLASSES
    if names.is_file():
        return _decode(probabilities[0], names, top=top)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            (found,) = keras.applications.xception.decode_predictions(probabilities, top=top)
    except Exception as error:  # a failed download is a bare Exception in Keras
        raise _missing(folder, CLASSES, f"{_CLASSES_ADDRESS}/{CLASSES}", error) from error
    return [(wordnet_id, name, float(probability)) for wordnet_id, name, probability in found]


def _model(folder: Path) -> keras.Model:
    import keras

    path = folder / WEIGHTS
    try:
        if not path.is_file():
            with contextlib.redirect_stdout(io.StringIO()):
                return keras.applications.Xception(weights="imagenet")
        model = keras.applications.Xception(weights=None)
        model.load_weights(path)
        return model
    except Exception as error:  # a failed download is a bare Exception in Keras, h5py has kinds of its own
        raise _missing(folder, WEIGHTS, f"{_ADDRESS}/{WEIGHTS}", error) from error


def _decode(probabilities: np.ndarray, names: Path, *, top: int) -> list[tuple[str, str, float]]:
    try:
        index = json.loads(names.read_text(encoding="utf-8"))
        best = probabilities.argsort()[::-1][:top]
        return [(index[str(n)][0], index[str(n)][1], float(probabilities[n])) for n in best]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise WeightsError(
            f"{names} does not name ImageNet's classes: {error}", expected="Keras's imagenet_class_index.json"
        ) from error


def _missing(folder: Path, name: str, address: str, error: Exception) -> WeightsError:
    words = " ".join(str(error).split())[:200]
    return WeightsError(
        f"{name} can't be had: {words}",
        expected=f"a connection, or that file in {folder}",
        action=f"download {address} elsewhere and put it there",
    )
