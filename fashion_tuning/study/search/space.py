"""The card's ranges as Keras Tuner's hyperparameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import keras_tuner
from keras_tuner.engine import hyperparameters as types

from fashion_tuning.config import Choice, Fixed, FloatRange, IntRange, Number, Space

Values = dict[str, Number]


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """The space in Keras Tuner's words; dense_units whole numbers, the others floats.

    Ranges with a step become an ordered Choice of the values they stand for: the same
    positions, but 0.3 where Keras Tuner's Float has 0.30000000000000004, and takes 0.3
    for the position of 0.2.
    """
    parameters = keras_tuner.HyperParameters()
    for name, allowed in space.items():
        number = int if name == "dense_units" else float
        if isinstance(allowed, Fixed):
            parameters.Fixed(name, number(allowed.value))
        elif isinstance(allowed, Choice):
            # Sorted, since the Gaussian process takes neighbours in the list for neighbours in effect.
            parameters.Choice(name, sorted(number(value) for value in allowed.values), ordered=True)
        elif allowed.step is not None:
            parameters.Choice(name, _steps(allowed), ordered=True)
        elif isinstance(allowed, IntRange):
            parameters.Int(name, allowed.min_value, allowed.max_value, sampling=allowed.sampling)
        else:
            parameters.Float(name, allowed.min_value, allowed.max_value, sampling=allowed.sampling)
    return parameters


def legal_values(parameter: types.HyperParameter) -> Sequence[Number] | None:
    """All values of a parameter, ascending; None where there is a continuum of them."""
    if isinstance(parameter, types.Float):
        return None
    if isinstance(parameter, types.Int):
        return range(parameter.min_value, parameter.max_value + 1)
    return tuple(parameter.values)


def nearest_legal(parameters: keras_tuner.HyperParameters, values: Mapping[str, Number]) -> Values:
    """The values as the oracle itself would have written them, so that equal ones are found equal."""
    nearest = {}
    for parameter in parameters.space:
        value = values[parameter.name]
        legal = legal_values(parameter)
        nearest[parameter.name] = float(value) if legal is None else min(legal, key=lambda each: abs(each - value))
    return nearest


def combinations(parameters: keras_tuner.HyperParameters, *, limit: int) -> Sequence[Values] | None:
    """Every point of a finite space, in a fixed order; None when there are more than `limit`."""
    axes = [legal_values(parameter) for parameter in parameters.space]
    if any(axis is None for axis in axes) or math.prod(len(axis) for axis in axes if axis is not None) > limit:
        return None
    names = [parameter.name for parameter in parameters.space]
    return [dict(zip(names, point, strict=True)) for point in itertools.product(*(axis for axis in axes if axis))]


def _steps(allowed: FloatRange | IntRange) -> Sequence[Number]:
    low, high, step = allowed.min_value, allowed.max_value, allowed.step or 1
    if allowed.sampling == "linear":
        points = [low + index * step for index in range(math.floor((high - low) / step + 1e-6) + 1)]
    else:
        count = math.floor(math.log(high / low) / math.log(step) + 1e-6) + 1
        points = [low * step**index for index in range(count)]
        if allowed.sampling == "reverse_log":
            points = [high + low - point for point in reversed(points)]
    if isinstance(allowed, IntRange):
        return [round(point) for point in points]
    return [float(f"{point:.12g}") for point in points]  # 0.1 * 3 is 0.30000000000000004
