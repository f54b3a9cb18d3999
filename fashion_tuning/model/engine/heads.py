"""What trainers of heads have in common on every backend, in Keras alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

import keras
import numpy as np

from fashion_tuning.hyperparameters import Value
from fashion_tuning.model.engine.loss import Loss
from fashion_tuning.model.engine.optimizers import Group, averages, make_optimizer


class Heads(ABC):
    """Trains one head per seed on the same features, each with its own order of images.

    A backend's trainer adds the passes over the features.

    Args:
      heads: Keras models (batch, features) -> logits (batch, classes), built and unshared.
      values: Of the optimizer and the loss, see `hyperparameters`.
      features: (views * images, features) float32, view by view.
      labels: (images,) int class indices.
      targets: (views * images, classes) float32, a teacher's probabilities, where the values have distillation.
      batch_size: Images per step; the last step of an epoch takes what is left.
      epochs: How many a schedule is laid out for.
    """

    adam: ClassVar[type[keras.optimizers.Adam]]  # what updates by Adam's rule

    def __init__(
        self,
        heads: Sequence[keras.Model],
        *,
        values: Mapping[str, Value],
        features: np.ndarray,
        labels: np.ndarray,
        targets: np.ndarray | None,
        batch_size: int,
        epochs: int,
    ) -> None:
        self.heads = tuple(heads)
        self._batch_size = batch_size
        self._variables = [variable for head in self.heads for variable in head.trainable_variables]
        # One optimizer for all heads: each of them is elementwise, so none feels another.
        steps = -(-len(labels) // batch_size)
        self._optimizer = make_optimizer(values, adam=self.adam, steps_per_epoch=steps, epochs=epochs)
        self._optimizer.build(self._variables)
        self._loss = Loss(values, labels, num_classes=self.heads[0].output_shape[-1])
        self._hold(features, labels, targets)

    def run_epoch(
        self,
        order: np.ndarray,
        epoch: int,  # noqa: ARG002 - all are alike
        shares: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """One pass over the images.

        Args:
          order: (seeds, images) int, for each seed the rows of features in the order of training.
          epoch: Counted from 1.
          shares: (seeds, images) float32, in that order, by which each is blended with the one before it, see
            mixup.py; None: not at all.

        Returns:
          Mean loss and mean accuracy of each seed over the epoch, (seeds,) float64 each, as
          training saw them: with dropout, mixup, smoothed labels, targets and class weights, before each step's update.
        """
        loss, correct = self._sums(order, shares)
        num_images = order.shape[1]
        return loss.astype(np.float64) / num_images, correct.astype(np.float64) / num_images

    @abstractmethod
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Logits of every head, (seeds, images, classes) float32."""

    def lower_learning_rate(self, factor: float) -> None:
        """Multiplies the learning rate of all later steps; not for one that has a schedule of its own."""
        self._optimizer.learning_rate = float(self._optimizer.learning_rate) * factor

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While the block lasts, the heads have the moving averages of their weights, where the optimizer keeps any."""
        with averages([Group(self._optimizer, self._variables)]):
            yield

    @abstractmethod
    def _hold(self, features: np.ndarray, labels: np.ndarray, targets: np.ndarray | None) -> None:
        """Puts what is trained on where the backend computes."""

    @abstractmethod
    def _sums(self, order: np.ndarray, shares: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Trains an epoch; of each seed the sum of the losses and the number of right answers, (seeds,) float32."""
