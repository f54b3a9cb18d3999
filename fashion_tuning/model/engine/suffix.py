"""Suffixes of the network trained behind a cut, on feature maps that stay on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Protocol

import keras
import numpy as np

from fashion_tuning.hyperparameters import Value, setting
from fashion_tuning.model.engine.batch import Batch
from fashion_tuning.model.engine.optimizers import Group, averages, make_optimizer

_PREDICTED_AT_ONCE = 32


class Stepper(Protocol):
    """What a backend does with one model, see on_tensorflow.py and on_torch.py."""

    def step(self, batch: Batch, *, num_groups: int) -> tuple[float, int]: ...

    def predict(self, features: np.ndarray) -> np.ndarray: ...


class SuffixTrainer:
    """Trains one suffix and head per seed, each with its own order of images, one after the other.

    Head and suffix have an optimizer each, of the same kind: the suffix's learning rate is `suffix_factor` times the
    head's, and it begins after `head_epochs` with a schedule that is laid out for the epochs from there.

    Args:
      models: Features (batch, height, width, channels) -> logits (batch, classes), with a layer named "suffix".
      values: Of the optimizer and the loss, see `hyperparameters`.
      views: (images, height, width, channels) each, memory-mapped.
      labels: (images,) int class indices.
      targets: (views * images, classes) float32, a teacher's probabilities, where the values have distillation.
      batch_size: Images per step; the last step of an epoch takes what is left.
      epochs: How many a schedule is laid out for.
      adam, stepper: The backend's.
    """

    def __init__(
        self,
        models: Sequence[keras.Model],
        *,
        values: Mapping[str, Value],
        views: Sequence[np.ndarray],
        labels: np.ndarray,
        targets: np.ndarray | None,
        batch_size: int,
        epochs: int,
        adam: type[keras.optimizers.Adam],
        stepper: Callable[..., Stepper],
    ) -> None:
        self.heads = tuple(models)
        self._views = views
        self._labels = labels
        self._targets = targets
        self._batch_size = batch_size
        self._head_epochs = int(setting("head_epochs", values))
        steps = -(-len(labels) // batch_size)
        self._groups = []
        for model in models:
            suffix = model.get_layer("suffix").trainable_variables
            ours = {id(variable) for variable in suffix}
            head = [variable for variable in model.trainable_variables if id(variable) not in ours]
            of_head = make_optimizer(values, adam=adam, steps_per_epoch=steps, epochs=epochs)
            of_suffix = make_optimizer(
                values,
                adam=adam,
                steps_per_epoch=steps,
                epochs=max(1, epochs - self._head_epochs),
                factor=float(setting("suffix_factor", values)),
            )
            self._groups.append((Group(of_head, head), Group(of_suffix, suffix)))
            for group in self._groups[-1]:
                group.optimizer.build(group.variables)
        self._steppers = [
            stepper(model, groups, values=values, labels=labels)
            for model, groups in zip(models, self._groups, strict=True)
        ]

    def run_epoch(
        self, order: np.ndarray, epoch: int, shares: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """One pass over the images, see `HeadTrainer.run_epoch`."""
        num_groups = 1 if epoch <= self._head_epochs else 2
        sums = []
        for place, (stepper, rows) in enumerate(zip(self._steppers, order, strict=True)):
            total_loss, total_correct = 0.0, 0
            for batch in self._batches(rows, None if shares is None else shares[place]):
                loss, correct = stepper.step(batch, num_groups=num_groups)
                total_loss += loss
                total_correct += correct
            sums.append((total_loss / len(rows), total_correct / len(rows)))
        loss, accuracy = np.array(sums, np.float64).T
        return loss, accuracy

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Logits of every model, (seeds, images, classes) float32."""
        starts = range(0, len(features), _PREDICTED_AT_ONCE)
        return np.stack(
            [
                np.concatenate([stepper.predict(features[start : start + _PREDICTED_AT_ONCE]) for start in starts])
                for stepper in self._steppers
            ]
        )

    def lower_learning_rate(self, factor: float) -> None:
        """Multiplies the learning rates of all later steps; not for a schedule of its own."""
        for optimizer in self._optimizers:
            optimizer.learning_rate = float(optimizer.learning_rate) * factor

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While the block lasts, the models have the moving averages of their weights, where the values ask for any."""
        with ExitStack() as stack:
            for groups in self._groups:
                stack.enter_context(averages(groups))
            yield

    def state(self) -> dict[str, np.ndarray]:
        """All that the next epochs depend on beside the data: weights, optimizers, draws of dropout."""
        return {f"variable_{place}": np.array(variable) for place, variable in enumerate(self._variables)}

    def fits(self, state: Mapping[str, np.ndarray]) -> bool:
        """Whether a state is one of these models; not where another version of the program laid them out otherwise."""
        shapes = [state[name].shape for name in state if name.startswith("variable_")]
        return sorted(shapes) == sorted(tuple(variable.shape) for variable in self._variables)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes back to what `state` has given, of a trainer of the same arguments."""
        for place, variable in enumerate(self._variables):
            variable.assign(state[f"variable_{place}"])

    @property
    def _optimizers(self) -> list[keras.optimizers.Optimizer]:
        return [group.optimizer for groups in self._groups for group in groups]

    @property
    def _variables(self) -> list[keras.Variable]:
        owners = (*self.heads, *self._optimizers)
        return [variable for owner in owners for variable in owner.variables]

    def _batches(self, rows: np.ndarray, shares: np.ndarray | None) -> Iterator[Batch]:
        """The batches of rows, which are v * images + i for view v of image i; the next one is read meanwhile."""
        places = [slice(start, start + self._batch_size) for start in range(0, len(rows), self._batch_size)]
        with ThreadPoolExecutor(1, thread_name_prefix="read") as thread:
            pending = thread.submit(self._read, rows[places[0]])
            for place, after in zip(places, [*places[1:], None], strict=True):
                batch = pending.result()
                if after is not None:
                    pending = thread.submit(self._read, rows[after])
                yield batch if shares is None else replace(batch, shares=shares[place])

    def _read(self, rows: np.ndarray) -> Batch:
        views, images = np.divmod(rows, len(self._labels))
        features = np.stack([self._views[view][image] for view, image in zip(views, images, strict=True)])
        targets = None if self._targets is None else self._targets[rows]
        return Batch(features, self._labels[images], targets=targets)
