"""The loss of a batch, in Keras alone."""

from collections.abc import Mapping

import keras
import numpy as np

from fashion_tuning.hyperparameters import Value, setting
from fashion_tuning.model.engine.optimizers import class_weights


class Loss:
    """(batch,) int labels and (batch, classes) logits -> (batch,) cross-entropy in nats.

    Labels smoothed as Szegedy et al. (2016), arXiv:1512.00567, and classes weighted where the values say so. Given a
    teacher's (batch, classes) probabilities, the share `distillation` of it is the cross-entropy of these, as Hinton et
    al. (2015), arXiv:1503.02531, have it at temperature 1. Given the (batch,) shares by which images were blended
    (mixup.py), it has as much of what each one should be.

    Args:
      values: See `hyperparameters`.
      labels: Of all images; weights of classes follow from how often each is there.
    """

    def __init__(self, values: Mapping[str, Value], labels: np.ndarray, *, num_classes: int) -> None:
        self._smoothing = float(setting("label_smoothing", values))
        self._distillation = float(setting("distillation", values))
        self._class_weights = class_weights(values, labels, num_classes=num_classes)

    def __call__(self, labels, logits, shares=None, targets=None):
        if shares is None:
            return self._of(labels, logits, targets)
        before = [one if one is None else keras.ops.roll(one, 1, axis=0) for one in (labels, targets)]
        return shares * self._of(labels, logits, targets) + (1 - shares) * self._of(before[0], logits, before[1])

    def _of(self, labels, logits, targets):
        loss = keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        if self._smoothing:
            uniform = -keras.ops.mean(keras.ops.log_softmax(logits), axis=1)
            loss = (1 - self._smoothing) * loss + self._smoothing * uniform
        if targets is not None:
            taught = -keras.ops.sum(targets * keras.ops.log_softmax(logits), axis=1)
            loss = (1 - self._distillation) * loss + self._distillation * taught
        if self._class_weights is not None:
            loss *= keras.ops.take(keras.ops.convert_to_tensor(self._class_weights), labels)
        return loss
