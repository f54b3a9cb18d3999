"""Optimizers and what goes with them, in Keras alone: schedules, moving averages, weights of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from fashion_tuning.hyperparameters import Value, setting


@dataclass(frozen=True)
class Group:
    """Variables that one optimizer updates."""

    optimizer: keras.optimizers.Optimizer
    variables: Sequence[keras.Variable]


def make_optimizer(
    values: Mapping[str, Value],
    *,
    steps_per_epoch: int,
    epochs: int,
    factor: float = 1.0,
    adam: type[keras.optimizers.Adam] = keras.optimizers.Adam,
) -> keras.optimizers.Optimizer:
    """Keras's optimizer of that name, with schedule, weight decay and moving averages as the values say.

    Args:
      epochs: How many the schedule is laid out for.
      factor: Of the learning rate.
      adam: What updates by Adam's rule.
    """
    momentum = float(setting("ema_momentum", values))
    ema = {"use_ema": True, "ema_momentum": momentum} if momentum else {}
    rate = _learning_rate(values, factor, steps_per_epoch=steps_per_epoch, epochs=epochs)
    name = setting("optimizer", values)
    if name == "sgd":
        return keras.optimizers.SGD(rate, momentum=float(setting("momentum", values)), **ema)
    if name == "adamw":  # Loshchilov and Hutter (2019), arXiv:1711.05101; Keras's AdamW is its Adam with a decay
        return adam(rate, weight_decay=float(setting("weight_decay", values)), **ema)
    return adam(rate, **ema)


def _learning_rate(
    values: Mapping[str, Value], factor: float, *, steps_per_epoch: int, epochs: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    rate = float(values["learning_rate"]) * factor
    if setting("schedule", values) != "cosine":
        return rate
    # Linear warm-up, then half a cosine to 0 (Loshchilov and Hutter 2017, arXiv:1608.03983).
    warm = min(int(setting("warmup_epochs", values)), epochs) * steps_per_epoch
    rest = max(1, epochs * steps_per_epoch - warm)
    if not warm:
        return keras.optimizers.schedules.CosineDecay(rate, rest)
    return keras.optimizers.schedules.CosineDecay(0.0, rest, warmup_target=rate, warmup_steps=warm)


@contextmanager
def averages(groups: Sequence[Group]) -> Iterator[None]:
    """While the block lasts, the variables have their moving averages, where an optimizer keeps any."""
    kept = [group for group in groups if group.optimizer.use_ema and int(group.optimizer.iterations)]
    before = [[np.array(variable) for variable in group.variables] for group in kept]
    for group in kept:
        group.optimizer.finalize_variable_values(group.variables)
    try:
        yield
    finally:
        for group, values in zip(kept, before, strict=True):
            for variable, value in zip(group.variables, values, strict=True):
                variable.assign(value)


def class_weights(values: Mapping[str, Value], labels: np.ndarray, *, num_classes: int) -> np.ndarray | None:
    """(classes,) float32 by which losses are multiplied, None for ones.

    "balanced" is images / (classes * images of the class), as scikit-learn has it.
    """
    if setting("class_weights", values) == "none":
        return None
    counts = np.bincount(labels, minlength=num_classes)
    return (len(labels) / (len(counts) * np.maximum(counts, 1))).astype(np.float32)
