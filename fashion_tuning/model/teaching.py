"""What several stored heads say together of features, as work for a child process; read-only."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fashion_tuning.model.checkpoint import predict
from fashion_tuning.model.features import FeatureRef, load_features


def answers(paths: Sequence[Path], refs: Sequence[FeatureRef]) -> Iterator[np.ndarray]:
    """Probabilities over the features of each ref, (images, classes) float32, means over several checkpoints.

    Raises:
      BrokenCheckpointError: As for `predict`.
      DataError: Features are missing or damaged.
    """
    for ref in refs:
        features = load_features(ref)
        yield np.asarray(np.mean([predict(path, features) for path in paths], axis=0, dtype=np.float32))
