"""Every hyperparameter that a card may name: which values are legal, and with which others it is active."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fashion_tuning.backbones import BACKBONES, NO_CUT

Number = int | float
Value = int | float | str


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter of a trial.

    Args:
      kind: int, float or str; a float may be written as a whole number.
      legal: Whether a value of that kind is one; `expected` says which are.
      default: What a trial has whose card does not name it; None where every card does, or where it follows
        from another one.
      parent: It is active only where the parent is, with a value that `active` accepts; "" for always.
      label, short: What tables and run names call it.
    """

    name: str
    label: str
    kind: type[int] | type[float] | type[str]
    legal: Callable[[Value], bool]
    expected: str
    default: Value | None = None
    parent: str = ""
    active: Callable[[Value], bool] = lambda _: True
    short: str = ""

    def accepts(self, value: object) -> bool:
        """Whether a value has the right kind and is legal."""
        if self.kind is str:
            return isinstance(value, str) and self.legal(value)
        if isinstance(value, bool) or not isinstance(value, int if self.kind is int else int | float):
            return False
        return self.legal(value)


def _word(*words: str) -> tuple[Callable[[Value], bool], str]:
    return lambda value: value in words, f"one of {', '.join(words)}"


def _number(legal: Callable[[float], bool], expected: str) -> tuple[Callable[[Value], bool], str]:
    return lambda value: legal(float(value)), expected


_SHARE = _number(lambda value: 0 <= value < 1, "a share from 0 to less than 1")
_RATE = _number(lambda value: 0 <= value < 1, "a dropout rate from 0 to less than 1")
_WIDTH = _number(lambda value: value >= 1, "a whole number of units, at least 1")
_IS_CUT = ("cut", lambda value: value != NO_CUT)
_HAS_DENSE = ("dense_units", lambda value: value != 0)


def _layers(number: int) -> tuple[str, Callable[[Value], bool]]:
    return "dense_layers", lambda value: float(value) >= number


# In the order in which a trial's values are written; parents stand before what depends on them.
_ALL: Final = (
    Hyperparameter(
        "learning_rate", "learning rate", float,
        *_number(lambda value: value > 0, "a learning rate greater than 0"), short="lr",
    ),
    Hyperparameter(
        "dense_units", "dense units", int,
        *_number(lambda value: value >= 0, "a whole number of units, 0 for no dense layer"), short="dense",
    ),
    Hyperparameter("dropout", "dropout", float, *_RATE, short="drop"),
    Hyperparameter("backbone", "backbone", str, *_word(*BACKBONES)),
    # Each backbone has cuts of its own: the card, which knows the backbone, says which.
    Hyperparameter("cut", "cut", str, lambda _: True, "the name of a cut", NO_CUT),
    Hyperparameter(
        "suffix_factor", "learning rate factor of the suffix", float,
        *_number(lambda value: value > 0, "a factor greater than 0"), 1.0, *_IS_CUT,
    ),
    Hyperparameter(
        "head_epochs", "epochs of the head alone", int,
        *_number(lambda value: value >= 0, "a whole number of epochs"), 0, *_IS_CUT,
    ),
    Hyperparameter("batch_norm", "batch norm", str, *_word("frozen", "trained"), "frozen", *_IS_CUT),
    Hyperparameter("views", "views", int, *_number(lambda value: value >= 1, "a whole number of views, at least 1")),
    Hyperparameter("pooling", "pooling", str, *_word("avg", "max", "both"), "avg"),
    Hyperparameter(
        "dense_layers", "dense layers", int,
        *_number(lambda value: value in (1, 2, 3), "1, 2 or 3 dense layers"), 1, *_HAS_DENSE,
    ),
    Hyperparameter("dense_units_2", "units of layer 2", int, *_WIDTH, None, *_layers(2)),
    Hyperparameter("dense_units_3", "units of layer 3", int, *_WIDTH, None, *_layers(3)),
    Hyperparameter("dropout_1", "dropout after layer 1", float, *_RATE, 0.0, *_layers(2)),
    Hyperparameter("dropout_2", "dropout after layer 2", float, *_RATE, 0.0, *_layers(3)),
    Hyperparameter("activation", "activation", str, *_word("relu", "gelu", "tanh", "sigmoid"), "relu", *_HAS_DENSE),
    Hyperparameter("normalization", "normalization", str, *_word("none", "batch", "layer"), "none", *_HAS_DENSE),
    Hyperparameter("label_smoothing", "label smoothing", float, *_SHARE, 0.0),
    Hyperparameter("mixup", "mixup", float, *_number(lambda value: value >= 0, "a concentration, 0 for none"), 0.0),
    # Never 1: labels, and how they are smoothed, would have no effect then.
    Hyperparameter("distillation", "distillation", float, *_SHARE, 0.0),
    Hyperparameter("class_weights", "class weights", str, *_word("none", "balanced"), "none"),
    Hyperparameter(
        "batch_size", "batch size", int, *_number(lambda value: value >= 1, "a whole number of images, at least 1")
    ),
    Hyperparameter("optimizer", "optimizer", str, *_word("adam", "adamw", "sgd"), "adam"),
    Hyperparameter(
        "weight_decay", "weight decay", float, *_number(lambda value: value >= 0, "a weight decay, at least 0"),
        0.004, "optimizer", lambda value: value == "adamw",
    ),
    Hyperparameter("momentum", "momentum", float, *_SHARE, 0.9, "optimizer", lambda value: value == "sgd"),
    Hyperparameter("schedule", "schedule", str, *_word("constant", "cosine", "plateau"), "constant"),
    Hyperparameter(
        "warmup_epochs", "warm-up epochs", int, *_number(lambda value: value >= 0, "a whole number of epochs"),
        0, "schedule", lambda value: value == "cosine",
    ),
    Hyperparameter("ema_momentum", "EMA momentum", float, *_SHARE, 0.0),
)  # fmt: skip

HYPERPARAMETERS: Final = {one.name: one for one in _ALL}
ALWAYS: Final = ("learning_rate", "dense_units", "dropout")  # every card names these
OPTIONAL: Final = tuple(name for name in HYPERPARAMETERS if name not in ALWAYS)


def is_active(name: str, values: Mapping[str, Value]) -> bool:
    """Whether a hyperparameter has an effect beside these values; those not among them have their defaults."""
    one = HYPERPARAMETERS[name]
    if not one.parent:
        return True
    value = values.get(one.parent, HYPERPARAMETERS[one.parent].default)
    return value is not None and is_active(one.parent, values) and one.active(value)


def setting(name: str, values: Mapping[str, Value]) -> Value:
    """A trial's value of a hyperparameter, which is its default where the trial does not name it.

    Raises:
      KeyError: It has neither.
    """
    if name in values:
        return values[name]
    default = HYPERPARAMETERS[name].default
    if default is None:
        raise KeyError(name)
    return default


def shown(value: Value) -> str:
    """A value as people write it."""
    return value if isinstance(value, str) else f"{value:g}"


def rounded(value: Value) -> str:
    """A value with at most three significant digits, for tables and names."""
    return value if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else f"{value:g}"


def usual(values: Mapping[str, Value]) -> tuple[str, ...]:
    """Learning rate, dense units and dropout of a trial, as text."""
    return tuple(rounded(values[name]) for name in ALWAYS)


def all_values(values: Mapping[str, Value]) -> str:
    """All that a trial names, such as "learning rate 0.001, dense units 100, dropout 0.2"."""
    return ", ".join(f"{one.label} {rounded(values[name])}" for name, one in HYPERPARAMETERS.items() if name in values)


def besides(values: Mapping[str, Value]) -> str:
    """What a trial names beside what every trial does, such as "activation gelu, optimizer adamw"; "" for nothing."""
    return ", ".join(f"{HYPERPARAMETERS[name].label} {rounded(values[name])}" for name in OPTIONAL if name in values)
