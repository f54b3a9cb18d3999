"""How a hyperparameter is laid out on an axis: by its range in the card, or by the values that were tried."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fashion_tuning.config import Choice, Fixed, Space
from fashion_tuning.hyperparameters import HYPERPARAMETERS, Value, shown

_FEW = 6
_WIDE = 20.0


@dataclass(frozen=True)
class Axis:
    """One hyperparameter's axis.

    Args:
      low, high: Its ends, as values.
      is_log: Whether equal factors are equal lengths.
      choices: The values where there are only these, evenly spaced then; () for a range.
    """

    name: str
    low: float
    high: float
    is_log: bool = False
    choices: tuple[Value, ...] = ()

    @property
    def label(self) -> str:
        return HYPERPARAMETERS[self.name].label if self.name in HYPERPARAMETERS else self.name

    @property
    def has_order(self) -> bool:
        """Whether its values are numbers, so that there are low and high ones."""
        return not any(isinstance(one, str) for one in self.choices)

    def position(self, value: Value) -> float:
        """Where a value lies, 0..1 from end to end."""
        if self.choices:
            return self.choices.index(value) / max(1, len(self.choices) - 1)
        low, high, here = (
            map(math.log, (self.low, self.high, float(value))) if self.is_log else (self.low, self.high, float(value))
        )
        return (here - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """(position, text) of some values."""
        if self.choices:
            return [(self.position(one), shown(one)) for one in self.choices]
        if self.is_log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            values = [10.0**power for power in range(first, last + 1)]
            if len(values) < 2:
                values = [self.low, self.high]
        elif self.name in HYPERPARAMETERS and HYPERPARAMETERS[self.name].kind is int and self.high - self.low <= _FEW:
            values = [float(value) for value in range(int(self.low), int(self.high) + 1)]
        else:
            values = [self.low + (self.high - self.low) * part / 4 for part in range(5)]
        return [(self.position(one), f"{one:.3g}") for one in values]


def make_axes(space: Space | None, tried: Sequence[dict[str, Value]]) -> tuple[Axis, ...]:
    """One axis per hyperparameter that differs between trials.

    Args:
      space: The card's; None for a list of configurations.
      tried: Values of all trials, at least one.
    """
    axes = []
    ranges = dict(space.items()) if space else {}
    for name, one in HYPERPARAMETERS.items():
        values = _in_order({each[name] for each in tried if name in each})
        if len(values) < 2:
            continue
        allowed = ranges.get(name)
        if isinstance(allowed, Choice) or one.kind is str:
            listed = allowed.values if isinstance(allowed, Choice) else ()
            choices = (*listed, *(value for value in values if value not in listed))
            axes.append(Axis(name, 0, 1, choices=choices if one.kind is str else _in_order(choices)))
        elif allowed is not None and not isinstance(allowed, Fixed):
            axes.append(Axis(name, allowed.min_value, allowed.max_value, is_log=allowed.sampling == "log"))
        elif len(values) <= _FEW:
            axes.append(Axis(name, 0, 1, choices=values))
        else:
            low, high = float(values[0]), float(values[-1])
            axes.append(Axis(name, low, high, is_log=low > 0 and high / low > _WIDE))
    return tuple(axes)


def _in_order(values: Iterable[Value]) -> tuple[Value, ...]:
    """Ascending; words as they sort."""
    return tuple(sorted(values, key=lambda value: (isinstance(value, str), value)))
