"""What a study will cost, before it starts: rough times, and disk as an upper bound.

The rates are those of a plain two-core server; progress corrects the time as soon as the
study has measured its own.
"""

import itertools
import math
import os

from fashion_tuning.config import Card, Choice, Fixed, Search, Space
from fashion_tuning.model.head import count_parameters
from fashion_tuning.space import AnyRange

_IMAGES_PER_CORE_SECOND = 13.0  # through Xception at 150 px, float32
_SECONDS_PER_STEP = 5e-4
_SECONDS_PER_STEP_AND_PARAMETER = 2.5e-9
_SECONDS_PER_TRIAL = 2.0


def feature_seconds(num_images: int, *, image_size: int) -> float:
    """Time to push images through the frozen prefix."""
    rate = _IMAGES_PER_CORE_SECOND * (os.cpu_count() or 1) * (150 / image_size) ** 2
    return num_images / rate


def trial_seconds(card: Card, *, num_images: int, parameters: int, epochs: int) -> float:
    """Time to train all seeds of one trial on `num_images` from the cache."""
    steps = card.training.seeds * epochs * num_images / card.training.batch_size
    return _SECONDS_PER_TRIAL + steps * (_SECONDS_PER_STEP + _SECONDS_PER_STEP_AND_PARAMETER * parameters)


def checkpoint_bytes(card: Card, *, parameters: int, epochs: int) -> int:
    """Disk that one trial's checkpoints need where every epoch of every seed improves."""
    overhead = 30_000  # a .keras file's configuration
    return card.training.seeds * epochs * (parameters * 4 + overhead)


def parameter_range(space: Space, *, feature_size: int, num_classes: int) -> tuple[float, int]:
    """Mean and largest number of trainable parameters over the space's layers and units, both pooled halves used."""
    layers = [name for name in ("dense_layers", "dense_units_2", "dense_units_3") if space.get(name)]
    ranges = {name: _some(space.get(name)) for name in ("dense_units", *layers)}
    counts = [
        count_parameters(dict(zip(ranges, point, strict=True)), feature_size=feature_size, num_classes=num_classes)
        for point in itertools.product(*ranges.values())
    ]
    return sum(counts) / len(counts), max(counts)


def _some(allowed: AnyRange | None) -> list[int]:
    """Whole numbers from all over a range."""
    if isinstance(allowed, Choice):
        return [int(value) for value in allowed.values]
    if isinstance(allowed, Fixed):
        return [int(allowed.value)]
    if allowed is None:
        return []
    return [int(allowed.min_value), int((allowed.min_value + allowed.max_value) / 2), int(allowed.max_value)]


def trials_of_search(card: Card) -> int:
    """How many trials a tuner without max_trials runs, at most: the size of the grid, or hyperband's brackets."""
    if card.search is None or card.space is None:
        return 0
    if card.search.tuner == "hyperband":
        return _trials_of_hyperband(card.search, card.training.epochs)
    sizes = 1
    for _, allowed in card.space.items():
        if isinstance(allowed, Choice):
            sizes *= len(allowed.values)
        elif not isinstance(allowed, Fixed):
            # Keras Tuner's grid takes ten points of a range without a step.
            sizes *= 10 if allowed.step is None else 1 + round((allowed.max_value - allowed.min_value) / allowed.step)
    return sizes


def _trials_of_hyperband(search: Search, epochs: int) -> int:
    # Li et al. (2018), section 3, with the sizes of Keras Tuner's brackets.
    factor = search.factor or 3
    last = math.ceil(1 + math.log(epochs, factor))
    brackets = max(1, math.ceil(math.log(epochs, factor)))
    sizes = (
        math.ceil(last / (bracket + 1) * factor ** (bracket - stage))
        for bracket in range(brackets)
        for stage in range(bracket + 1)
    )
    return sum(sizes) * (search.hyperband_iterations or 1)
