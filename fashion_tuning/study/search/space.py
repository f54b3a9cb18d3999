"""The card's ranges as Keras Tuner's hyperparameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import keras_tuner
from keras_tuner.engine import hyperparameters as types

from fashion_tuning.hyperparameters import HYPERPARAMETERS, Number, Value
from fashion_tuning.space import AnyRange, Choice, Fixed, FloatRange, IntRange, Space

Values = dict[str, Value]


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """The space in Keras Tuner's words, each value of its hyperparameter's kind.

    What is active only beside certain values of another stands in a conditional scope of that one.
    Ranges with a step become an ordered Choice of the values they stand for: the same
    positions, but 0.3 where Keras Tuner's Float has 0.30000000000000004, and takes 0.3
    for the position of 0.2.
    """
    parameters = keras_tuner.HyperParameters()
    for name, allowed in space.items():
        with ExitStack() as scopes:
            for parent, values in _conditions(name, parameters):
                scopes.enter_context(parameters.conditional_scope(parent, values))
            _add(parameters, name, allowed)
    return parameters


def _add(parameters: keras_tuner.HyperParameters, name: str, allowed: AnyRange) -> None:
    kind = HYPERPARAMETERS[name].kind
    if isinstance(allowed, Fixed):
        parameters.Fixed(name, kind(allowed.value))
    elif isinstance(allowed, Choice):
        values = [kind(value) for value in allowed.values]
        # Sorted, since the Gaussian process takes neighbours in the list for neighbours in effect.
        parameters.Choice(name, values if kind is str else sorted(values), ordered=kind is not str)
    elif allowed.step is not None:
        parameters.Choice(name, _steps(allowed), ordered=True)
    elif isinstance(allowed, IntRange):
        parameters.Int(name, allowed.min_value, allowed.max_value, sampling=allowed.sampling)
    else:
        parameters.Float(name, allowed.min_value, allowed.max_value, sampling=allowed.sampling)


def _conditions(name: str, parameters: keras_tuner.HyperParameters) -> list[tuple[str, list[Value]]]:
    """Parents of a hyperparameter, outermost first, with the values of theirs that it is active beside."""
    conditions: list[tuple[str, list[Value]]] = []
    found = {parameter.name: parameter for parameter in parameters.space}
    while parent := HYPERPARAMETERS[name].parent:
        if parent in found:
            legal = legal_values(found[parent]) or ()
            conditions.insert(0, (parent, [value for value in legal if HYPERPARAMETERS[name].active(value)]))
        name = parent
    return conditions


def legal_values(parameter: types.HyperParameter) -> Sequence[Value] | None:
    """All values of a parameter, ascending; None where there is a continuum of them."""
    if isinstance(parameter, types.Float):
        return None
    if isinstance(parameter, types.Int):
        return range(parameter.min_value, parameter.max_value + 1)
    return (parameter.value,) if isinstance(parameter, types.Fixed) else tuple(parameter.values)


def active_values(parameters: keras_tuner.HyperParameters, values: Mapping[str, Value]) -> Values:
    """Of these values those that are active beside each other."""
    found: Values = {}
    for parameter in parameters.space:
        if all(condition.is_active(found) for condition in parameter.conditions):
            found[parameter.name] = values[parameter.name]
    return found


def nearest_legal(parameters: keras_tuner.HyperParameters, values: Mapping[str, Value]) -> Values:
    """The values as the oracle itself would have written them, so that equal ones are found equal."""
    return {
        parameter.name: _nearest(values[parameter.name], legal_values(parameter))
        for parameter in parameters.space
        if parameter.name in values
    }


def _nearest(value: Value, legal: Sequence[Value] | None) -> Value:
    if isinstance(value, str):
        return value
    return float(value) if legal is None else min(legal, key=lambda each: abs(float(each) - value))


def combinations(parameters: keras_tuner.HyperParameters, *, limit: int) -> Sequence[Values] | None:
    """Every point of a finite space, in a fixed order; None when there are more than `limit`."""
    axes = [legal_values(parameter) for parameter in parameters.space]
    if any(axis is None for axis in axes) or math.prod(len(axis) for axis in axes if axis is not None) > limit:
        return None
    names = [parameter.name for parameter in parameters.space]
    points = (dict(zip(names, point, strict=True)) for point in itertools.product(*(axis for axis in axes if axis)))
    # Points that differ only in what is not active are one.
    active = (active_values(parameters, point) for point in points)
    return list({tuple(point.items()): point for point in active}.values())


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
