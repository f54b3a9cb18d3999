"""How many trials a card has to offer, whatever max_trials says: the size of its space, or hyperband's brackets."""

from __future__ import annotations

import math
from typing import Final

from fashion_tuning.config import Card, Choice, Fixed, IntRange, Space
from fashion_tuning.hyperparameters import HYPERPARAMETERS, Value
from fashion_tuning.space import AnyRange
from fashion_tuning.wording import count

_POINTS_OF_GRID: Final = 10  # that Keras Tuner takes of a range of real numbers without a step
_LISTED: Final = 10_000  # values of one range that are looked through one by one


def trials_offered(card: Card) -> int | None:
    """How many trials there can be, the listed ones included; None where that has no end, or hyperband decides."""
    listed = len(card.configurations)
    if card.search is None or card.space is None:
        return listed
    if card.search.tuner == "hyperband":
        return None
    points = count_points(card.space, of_grid=card.search.tuner == "grid")
    # The grid doesn't know of what is listed; the other tuners ask for no point twice.
    return points if points is None or card.search.tuner != "grid" else listed + points


def describe_offer(card: Card) -> str:
    """Why there are no more trials than there are, as a clause."""
    if card.search is None:
        return f"the card lists no more than {count(len(card.configurations), 'configuration')}"
    if card.search.tuner == "hyperband":
        return "hyperband's brackets have no more trials"
    listed = len(card.configurations) if card.search.tuner == "grid" else 0
    beside = f", beside {listed} listed" if listed else ""
    number = count((trials_offered(card) or 0) - listed, "combination")
    return f"the {'grid' if card.search.tuner == 'grid' else 'space'} has no more than {number}{beside}"


def count_points(space: Space, *, of_grid: bool = False) -> int | None:
    """How many combinations a space has, those that differ only in what is not active counted as one."""
    total = 1
    for name, _ in space.items():
        parent = HYPERPARAMETERS[name].parent
        if not parent or space.get(parent) is None:
            below = _count(space, name, of_grid=of_grid)
            if below is None:
                return None
            total *= below
    return total


def trials_of_hyperband(card: Card) -> int:
    """Of all brackets together, at most (Li et al. 2018, section 3, with the sizes of Keras Tuner's brackets)."""
    search, epochs = card.search, card.training.epochs
    if search is None or search.tuner != "hyperband":
        return 0
    factor = search.factor or 3
    last = math.ceil(1 + math.log(epochs, factor))
    brackets = max(1, math.ceil(math.log(epochs, factor)))
    sizes = (
        math.ceil(last / (bracket + 1) * factor ** (bracket - stage))
        for bracket in range(brackets)
        for stage in range(bracket + 1)
    )
    return sum(sizes) * (search.hyperband_iterations or 1)


def _count(space: Space, name: str, *, of_grid: bool) -> int | None:
    """Combinations of a hyperparameter and of all that hangs on it."""
    allowed = space.get(name)
    children = [child for child, _ in space.items() if HYPERPARAMETERS[child].parent == name]
    if allowed is None or (values := _values(allowed, of_grid=of_grid)) is None:
        return None
    total = 0
    for value in values:
        below = 1
        for child in children:
            if HYPERPARAMETERS[child].active(value):
                inside = _count(space, child, of_grid=of_grid)
                if inside is None:
                    return None
                below *= inside
        total += below
    return total


def _values(allowed: AnyRange, *, of_grid: bool) -> list[Value] | None:
    """As many values as there are; None for a continuum."""
    if isinstance(allowed, Fixed):
        return [allowed.value]
    if isinstance(allowed, Choice):
        return list(allowed.values)
    low, high, step = allowed.min_value, allowed.max_value, allowed.step
    if step is None:
        if isinstance(allowed, IntRange):
            return list(range(allowed.min_value, allowed.max_value + 1)) if high - low < _LISTED else None
        return (
            [low + (high - low) * (number + 0.5) / _POINTS_OF_GRID for number in range(_POINTS_OF_GRID)]
            if of_grid
            else None
        )
    if allowed.sampling == "linear":
        num = math.floor((high - low) / step + 1e-6) + 1
        return [low + number * step for number in range(num)] if num <= _LISTED else None
    num = math.floor(math.log(high / low) / math.log(step) + 1e-6) + 1
    return [low * step**power for power in range(num)]
