"""What a study will cost, before it starts: rough times, and disk as an upper bound.

The rates are those of a plain two-core server; progress corrects the time as soon as the
study has measured its own.
"""

import itertools
import os
from collections.abc import Mapping

from fashion_tuning.backbones import BACKBONES
from fashion_tuning.config import Card, Choice, Fixed, Space
from fashion_tuning.hyperparameters import Value
from fashion_tuning.model.features import FeatureRef
from fashion_tuning.model.trainable import count_parameters, is_long, multiplications
from fashion_tuning.space import AnyRange

_MULTIPLICATIONS_PER_CORE_SECOND_FROZEN = 2.4e10  # 13 images a second through Xception at 150 px, float32
_SECONDS_PER_STEP = 5e-4
_SECONDS_PER_STEP_AND_PARAMETER = 2.5e-9
_SECONDS_PER_TRIAL = 2.0
_MULTIPLICATIONS_PER_CORE_SECOND = 3e10  # of a suffix, in training


def feature_seconds(num_images: int, *, backbone: str, image_size: int) -> float:
    """Time to push images through a frozen backbone."""
    known = BACKBONES[backbone]
    each = known.multiplications(list(known.cuts)[-1], image_size)
    return num_images * each / (_MULTIPLICATIONS_PER_CORE_SECOND_FROZEN * (os.cpu_count() or 1))


def trial_seconds(card: Card, values: Mapping[str, Value], train: FeatureRef, *, epochs: int) -> float:
    """Time to train all seeds of one trial from the cache."""
    images = card.training.seeds * epochs * len(train.photos)
    steps = images / int(values.get("batch_size", card.training.batch_size))
    head = _SECONDS_PER_STEP + _SECONDS_PER_STEP_AND_PARAMETER * count_parameters(values, train)
    suffix = 3 * multiplications(train) / (_MULTIPLICATIONS_PER_CORE_SECOND * (os.cpu_count() or 1))  # there and back
    return _SECONDS_PER_TRIAL + steps * head + images * suffix


def answer_seconds(ref: FeatureRef) -> float:
    """Time in which one head, with what follows its cut, answers to all images."""
    return len(ref.photos) * multiplications(ref) / (_MULTIPLICATIONS_PER_CORE_SECOND * (os.cpu_count() or 1))


def checkpoint_bytes(card: Card, values: Mapping[str, Value], train: FeatureRef, *, epochs: int) -> int:
    """Disk that one trial's checkpoints need where every epoch of every seed improves, and what it resumes from."""
    parameters = count_parameters(values, train)
    overhead = 30_000  # a .keras file's configuration
    state = 2 * 4 * parameters * 4 if is_long(train) else 0  # twice weights, two moments and averages
    return card.training.seeds * (epochs * (parameters * 4 + overhead) + state)


def points(space: Space) -> list[dict[str, Value]]:
    """Points from all over a space, of those hyperparameters that a trial's cost hangs on."""
    names = [
        name
        for name in ("backbone", "cut", "dense_units", "dense_layers", "dense_units_2", "dense_units_3")
        if space.get(name)
    ]
    pooling: dict[str, Value] = {"pooling": "both"} if space.get("pooling") else {}
    axes = [_some(space.get(name)) for name in names]
    return [pooling | dict(zip(names, point, strict=True)) for point in itertools.product(*axes)]


def _some(allowed: AnyRange | None) -> list[Value]:
    """Values from all over a range."""
    if isinstance(allowed, Choice):
        return list(allowed.values)
    if isinstance(allowed, Fixed):
        return [allowed.value]
    if allowed is None:
        return []
    return [int(allowed.min_value), int((allowed.min_value + allowed.max_value) / 2), int(allowed.max_value)]
