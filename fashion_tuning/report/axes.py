"""How a hyperparameter is laid out on an axis: by its range in the card, or by the values that were tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fashion_tuning.config import HYPERPARAMETERS, Choice, Fixed, Number, Space

NAMES = {"learning_rate": "learning rate", "dense_units": "dense units", "dropout": "dropout"}
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
    choices: tuple[Number, ...] = ()

    @property
    def label(self) -> str:
        return NAMES.get(self.name, self.name)

    def position(self, value: Number) -> float:
        """Where a value lies, 0..1 from end to end."""
        if self.choices:
            return self.choices.index(value) / max(1, len(self.choices) - 1)
        low, high, here = (
            (math.log(x) for x in (self.low, self.high, value)) if self.is_log else (self.low, self.high, float(value))
        )
        return (here - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """(position, text) of some values."""
        if self.choices:
            return [(self.position(one), f"{one:g}") for one in self.choices]
        if self.is_log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            values = [10.0**power for power in range(first, last + 1)]
            if len(values) < 2:
                values = [self.low, self.high]
        else:
            values = [self.low + (self.high - self.low) * part / 4 for part in range(5)]
        return [(self.position(one), f"{one:.3g}") for one in values]


def make_axes(space: Space | None, tried: Sequence[dict[str, Number]]) -> tuple[Axis, ...]:
    """One axis per hyperparameter that differs between trials.

    Args:
      space: The card's; None for a list of configurations.
      tried: Values of all trials, at least one.
    """
    axes = []
    ranges = dict(space.items()) if space else {}
    for name in HYPERPARAMETERS:
        values = sorted({one[name] for one in tried})
        if len(values) < 2:
            continue
        allowed = ranges.get(name)
        if isinstance(allowed, Choice):
            axes.append(Axis(name, 0, 1, choices=tuple(sorted({*allowed.values, *values}))))
        elif allowed is not None and not isinstance(allowed, Fixed):
            axes.append(Axis(name, allowed.min_value, allowed.max_value, is_log=allowed.sampling == "log"))
        elif len(values) <= _FEW:
            axes.append(Axis(name, 0, 1, choices=tuple(values)))
        else:
            axes.append(Axis(name, values[0], values[-1], is_log=values[0] > 0 and values[-1] / values[0] > _WIDE))
    return tuple(axes)
