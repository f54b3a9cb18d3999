"""What a stored head says of features; read-only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fashion_tuning.quiet import silent_stderr


class BrokenCheckpointError(Exception):
    """A checkpoint is missing, damaged, or not one of ours."""


def predict(path: Path, features: np.ndarray) -> np.ndarray:
    """Class probabilities of a checkpoint's head.

    Args:
      path: A .keras file, loaded with safe_mode.
      features: (images, features) float32.

    Returns:
      (images, classes) float32.

    Raises:
      BrokenCheckpointError: It can't be loaded, or takes other features.
    """
    with silent_stderr():
        import keras

    try:
        model = keras.saving.load_model(path, safe_mode=True, compile=False)
        logits = np.asarray(model(features, training=False), np.float64)
    except Exception as error:  # zipfile, h5py, json and Keras each meet damage in their own way
        words = str(error).strip().splitlines()
        raise BrokenCheckpointError(f"{type(error).__name__}: {words[0][:120] if words else ''}") from error
    # A head with infinite weights is found by its probabilities, which are NaN then.
    with np.errstate(all="ignore"):
        exponentials = np.exp(logits - logits.max(-1, keepdims=True))
        return (exponentials / exponentials.sum(-1, keepdims=True)).astype(np.float32)
