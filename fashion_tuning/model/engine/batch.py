"""What a step of a suffix is trained on."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Batch:
    """Some images in the order of training.

    Args:
      features: (batch, height, width, channels) feature maps.
      labels: (batch,) int class indices.
      shares: (batch,) float32 by which images are blended, see mixup.py; None without mixup.
      targets: (batch, classes) float32, a teacher's probabilities; None without distillation.
    """

    features: np.ndarray
    labels: np.ndarray
    shares: np.ndarray | None = None
    targets: np.ndarray | None = None
