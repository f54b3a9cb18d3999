"""The space of a search: a range per hyperparameter, in Keras Tuner's words."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fashion_tuning.hyperparameters import HYPERPARAMETERS, Number, Value, is_active, shown
from fashion_tuning.table import Table, wrong

Sampling = Literal["linear", "log", "reverse_log"]
Positive = Annotated[int, Field(ge=1)]


class FloatRange(Table):
    """Keras Tuner's Float: a real number between two bounds, both included.

    With sampling "linear" `step` is added, with the others it is a factor, from the lower
    bound on ("log") or mirrored, from the upper bound down ("reverse_log").
    """

    type: Literal["float"]
    min_value: float
    max_value: float
    step: float | None = Field(default=None, gt=0)
    sampling: Sampling = "linear"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self)
        return self

    def contains(self, value: Any) -> bool:
        return _is_number(value) and _in_range(self, value)

    def __str__(self) -> str:
        return _range_text(self)


class IntRange(Table):
    """Keras Tuner's Int: a whole number between two bounds, both included; `step` as in `FloatRange`."""

    type: Literal["int"]
    min_value: int
    max_value: int
    step: Positive | None = None
    sampling: Sampling = "linear"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self)
        return self

    def contains(self, value: Any) -> bool:
        return _is_number(value) and float(value).is_integer() and _in_range(self, value)

    def __str__(self) -> str:
        return _range_text(self)


class Choice(Table):
    """Keras Tuner's Choice: one of a list of numbers, or of words."""

    type: Literal["choice"]
    values: tuple[Value, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        twice = [value for value in self.values if self.values.count(value) > 1]
        if twice or not self.values:
            expected = f"{shown(twice[0])} only once" if twice else "at least one value"
            raise wrong("values", received=list(self.values), expected=expected)
        return self

    def contains(self, value: Any) -> bool:
        return not isinstance(value, bool) and value in self.values

    def __str__(self) -> str:
        return "one of " + ", ".join(shown(value) for value in self.values)


class Fixed(Table):
    """Keras Tuner's Fixed: the same value in every trial."""

    type: Literal["fixed"]
    value: Value

    def contains(self, value: Any) -> bool:
        return not isinstance(value, bool) and value == self.value

    def __str__(self) -> str:
        return f"{shown(self.value)} (fixed)"


AnyRange = FloatRange | IntRange | Choice | Fixed
Range = Annotated[FloatRange | IntRange | Choice | Fixed, Field(discriminator="type")]


class Space(Table):
    """What is searched: one range per hyperparameter, see `hyperparameters`; those left out have their defaults."""

    learning_rate: Range
    dense_units: Range
    dropout: Range
    backbone: Range | None = None
    cut: Range | None = None
    suffix_factor: Range | None = None
    head_epochs: Range | None = None
    batch_norm: Range | None = None
    views: Range | None = None
    pooling: Range | None = None
    dense_layers: Range | None = None
    dense_units_2: Range | None = None
    dense_units_3: Range | None = None
    dropout_1: Range | None = None
    dropout_2: Range | None = None
    activation: Range | None = None
    normalization: Range | None = None
    label_smoothing: Range | None = None
    mixup: Range | None = None
    distillation: Range | None = None
    class_weights: Range | None = None
    batch_size: Range | None = None
    optimizer: Range | None = None
    weight_decay: Range | None = None
    momentum: Range | None = None
    schedule: Range | None = None
    warmup_epochs: Range | None = None
    ema_momentum: Range | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_types(cls, tables: Any) -> Any:
        """`values` alone means a choice of them, `value` alone a fixed one."""
        if not isinstance(tables, dict):
            return tables
        types = {frozenset({"values"}): "choice", frozenset({"value"}): "fixed"}
        return {
            name: {"type": types[frozenset(table)], **table}
            if isinstance(table, dict) and frozenset(table) in types
            else table
            for name, table in tables.items()
        }

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, allowed in self.items():
            one = HYPERPARAMETERS[name]
            for key, bound in _bounds(allowed):
                if not one.accepts(bound):
                    raise wrong(name, *key, received=bound, expected=one.expected)
            if one.kind is not float and isinstance(allowed, FloatRange):
                raise wrong(name, "type", received="float", expected="'choice', 'fixed' or 'int'")
            if one.parent and not self._can_be_active(name):
                raise wrong(
                    name, received=str(allowed), expected=f"nothing: no {one.parent} of this space makes use of it"
                )
        return self

    def items(self) -> tuple[tuple[str, AnyRange], ...]:
        """What stands in the card, parents before what depends on them."""
        found = ((name, getattr(self, name)) for name in HYPERPARAMETERS)
        return tuple((name, allowed) for name, allowed in found if allowed is not None)

    def get(self, name: str) -> AnyRange | None:
        return getattr(self, name)

    def _can_be_active(self, name: str) -> bool:
        one = HYPERPARAMETERS[name]
        parent = self.get(one.parent) if one.parent else None
        if parent is None:
            return is_active(name, {})
        return self._can_be_active(one.parent) and any(one.active(bound) for _, bound in _bounds(parent))


def _check_range(allowed: FloatRange | IntRange) -> None:
    low, high = allowed.min_value, allowed.max_value
    if low >= high:
        raise wrong("max_value", received=high, expected=f"more than min_value, which is {low:g}")
    if allowed.sampling == "linear":
        return
    if low <= 0:
        raise wrong("min_value", received=low, expected=f"more than 0 with sampling = {allowed.sampling!r}")
    if allowed.step is not None and allowed.step <= 1:
        raise wrong("step", received=allowed.step, expected=f"a factor above 1 with sampling = {allowed.sampling!r}")


def _in_range(allowed: FloatRange | IntRange, value: Number) -> bool:
    low, high, step = allowed.min_value, allowed.max_value, allowed.step
    if not low <= value <= high:
        return False
    if step is None:
        return True
    if allowed.sampling == "linear":
        position = (value - low) / step
    else:
        mirrored = low + high - value if allowed.sampling == "reverse_log" else value
        position = math.log(mirrored / low) / math.log(step)
    return abs(position - round(position)) < 1e-6


def _range_text(allowed: FloatRange | IntRange) -> str:
    step = f", step {allowed.step:g}" if allowed.step else ""
    return f"{allowed.min_value:g} to {allowed.max_value:g}{step} ({allowed.sampling})"


def _bounds(allowed: AnyRange) -> tuple[tuple[tuple[str | int, ...], Value], ...]:
    """Every value that a range names, with the key it stands at."""
    if isinstance(allowed, Choice):
        return tuple((("values", place), value) for place, value in enumerate(allowed.values))
    if isinstance(allowed, Fixed):
        return ((("value",), allowed.value),)
    return ((("min_value",), allowed.min_value), (("max_value",), allowed.max_value))


def largest(allowed: AnyRange) -> tuple[Value, ...]:
    """The values among which a range's largest one is."""
    return tuple(bound for _, bound in _bounds(allowed))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
