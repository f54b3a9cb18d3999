"""What a stored head says of features; read-only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from fashion_tuning.errors import FashionTuningError
from fashion_tuning.model.exact import exact_settings
from fashion_tuning.quiet import silent_stderr

_MAPS_AT_ONCE: Final = 32  # what follows a feature map needs a multiple of its memory


class BrokenCheckpointError(FashionTuningError):
    """A checkpoint is missing, damaged, or not one of ours."""


@exact_settings()
def predict(path: Path, features: np.ndarray) -> np.ndarray:
    """Class probabilities of a checkpoint's head.

    Args:
      path: A .keras file, loaded with safe_mode.
      features: (images, *row_shape).

    Returns:
      (images, classes) float32.

    Raises:
      BrokenCheckpointError: It can't be loaded, or takes other features.
    """
    with silent_stderr():
        import keras

    try:
        model = keras.saving.load_model(path, safe_mode=True, compile=False)
        model.trainable = False  # or PyTorch would keep what it needs for a gradient
        at_once = len(features) if features.ndim == 2 else _MAPS_AT_ONCE
        logits = np.concatenate(
            [
                keras.ops.convert_to_numpy(model(features[start : start + at_once], training=False))
                for start in range(0, len(features), at_once)
            ],
            dtype=np.float64,
        )
    except Exception as error:  # zipfile, h5py, json and Keras each meet damage in their own way
        words = str(error).strip().splitlines()
        raise BrokenCheckpointError(f"{type(error).__name__}: {words[0][:120] if words else ''}") from error
    # A head with infinite weights is found by its probabilities, which are NaN then.
    with np.errstate(all="ignore"):
        exponentials = np.exp(logits - logits.max(-1, keepdims=True))
        return (exponentials / exponentials.sum(-1, keepdims=True)).astype(np.float32)


def predict_mean(path: Path, views: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities of a checkpoint, (images, classes) float32, means over the features of several views.

    Raises:
      BrokenCheckpointError: As for `predict`.
    """
    return np.asarray(np.mean([predict(path, features) for features in views], axis=0, dtype=np.float32))
