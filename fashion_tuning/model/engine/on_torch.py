"""Training on PyTorch, the one place that needs it itself; the arithmetic is Keras's (tests/model/test_parity.py).

Steps run one after the other as Python calls them; the optimizers are Keras's own for this backend.
"""

import os
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import torch

from fashion_tuning.hyperparameters import Value
from fashion_tuning.model.engine.batch import Batch
from fashion_tuning.model.engine.heads import Heads
from fashion_tuning.model.engine.loss import Loss
from fashion_tuning.model.engine.mixup import blend
from fashion_tuning.model.engine.optimizers import Group

Adam = keras.optimizers.Adam


def make_repeatable() -> None:
    """Makes runs repeatable."""
    # What cuBLAS wants before it is repeatable, see torch.use_deterministic_algorithms in PyTorch's documentation.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def device_kind() -> str:
    """What is computed on: "cpu", or what PyTorch calls the device that Keras has chosen, such as "cuda"."""
    return str(keras.ops.convert_to_tensor(0.0).device.type)


def has_tensor_float_32() -> bool:
    """Whether a GPU may compute float32 products in TF32, which rounds their factors to 10 bits."""
    return bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)


def refuse_tensor_float_32() -> None:
    """Makes a GPU compute float32 products in float32; since Ampere it does not by itself."""
    # What PyTorch 2.9 has in place of these must not be mixed with them, and earlier ones have not got it.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


class HeadTrainer(Heads):
    """Trains heads, see `Heads`, step by step."""

    adam = Adam

    def _hold(self, features: np.ndarray, labels: np.ndarray, targets: np.ndarray | None) -> None:
        self._features = _tensor(features, torch.float32)
        self._labels = _tensor(labels, torch.int64)
        self._targets = None if targets is None else _tensor(targets, torch.float32)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Logits of every head, (seeds, images, classes) float32."""
        given = _tensor(features, torch.float32)
        with torch.no_grad():
            return torch.stack([head(given, training=False) for head in self.heads]).cpu().numpy()

    def _sums(self, order: np.ndarray, shares: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        batches = _tensor(order, torch.int64).split(self._batch_size, dim=1)
        unmixed = [None] * len(batches)
        mixed = unmixed if shares is None else _tensor(shares, torch.float32).split(self._batch_size, dim=1)
        sums = [self._step(batch, some) for batch, some in zip(batches, mixed, strict=True)]
        loss, correct = (torch.stack(one).sum(0).cpu().numpy() for one in zip(*sums, strict=True))
        return loss, correct

    def _step(self, batch, shares):
        losses, hits = [], []
        for place, (head, rows) in enumerate(zip(self.heads, batch, strict=True)):
            labels = self._labels[rows % len(self._labels)]
            some = None if shares is None else shares[place]
            targets = None if self._targets is None else self._targets[rows]
            logits = head(blend(self._features[rows], some), training=True)
            losses.append(self._loss(labels, logits, some, targets))
            hits.append((logits.detach().argmax(1) == labels).sum())
        total = torch.stack([loss.mean() for loss in losses]).sum()
        _update([Group(self._optimizer, self._variables)], total)
        return torch.stack([loss.detach().sum() for loss in losses]), torch.stack(hits)


class Stepper:
    """Trains one model, a suffix of the network and a head, a batch at a time.

    Args:
      model: Features (batch, height, width, channels) -> logits (batch, classes).
      groups: Its variables with the optimizer of each, see engine/suffix.py.
      values, labels: Of the loss; labels of all images.
    """

    def __init__(
        self, model: keras.Model, groups: Sequence[Group], *, values: Mapping[str, Value], labels: np.ndarray
    ) -> None:
        self._model = model
        self._groups = groups
        self._loss = Loss(values, labels, num_classes=model.output_shape[-1])

    def step(self, batch: Batch, *, num_groups: int) -> tuple[float, int]:
        """Trains the first `num_groups` groups on a batch; the sum of its losses and the number of right answers."""
        expected = _tensor(batch.labels, torch.int64)
        shares, targets = (
            None if one is None else _tensor(one, torch.float32) for one in (batch.shares, batch.targets)
        )
        logits = self._model(blend(_tensor(batch.features, torch.float32), shares), training=True)
        losses = self._loss(expected, logits, shares, targets)
        _update(self._groups[:num_groups], losses.mean())
        return float(losses.detach().sum()), int((logits.detach().argmax(1) == expected).sum())

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Logits, (batch, classes) float32."""
        with torch.no_grad():
            return self._model(_tensor(features, torch.float32), training=False).cpu().numpy()


def _update(groups: Sequence[Group], loss: torch.Tensor) -> None:
    """A step of each group's optimizer, down the gradient of a scalar loss."""
    variables = [variable for group in groups for variable in group.variables]
    gradients = iter(torch.autograd.grad(loss, [variable.value for variable in variables]))
    with torch.no_grad():
        for group in groups:
            group.optimizer.apply([next(gradients) for _ in group.variables], group.variables)


def _tensor(array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    # A copy, in memory that is aligned as PyTorch's own: sums may depend on how it is, and runs must not.
    return keras.ops.convert_to_tensor(torch.tensor(array, dtype=dtype))  # on the device that Keras uses
