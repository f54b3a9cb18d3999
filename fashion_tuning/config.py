"""The experiment card: one TOML file that says everything a study does."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fashion_tuning.errors import UsageError

HYPERPARAMETERS = ("learning_rate", "dense_units", "dropout")

Number = int | float
Sampling = Literal["linear", "log", "reverse_log"]
Positive = Annotated[int, Field(ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FloatRange(_Table):
    """Keras Tuner's Float: a real number between two bounds, both included."""

    type: Literal["float"]
    min_value: float
    max_value: float
    step: float | None = Field(default=None, gt=0)
    sampling: Sampling = "linear"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.min_value, self.max_value, self.sampling)
        return self

    def contains(self, value: Any) -> bool:
        if not _is_number(value) or not self.min_value <= value <= self.max_value:
            return False
        if self.step is None:
            return True
        if self.sampling == "linear":
            position = (value - self.min_value) / self.step
        else:
            position = math.log(value / self.min_value) / math.log(self.step)
        return abs(position - round(position)) < 1e-6

    def __str__(self) -> str:
        step = f", step {self.step:g}" if self.step else ""
        return f"{self.min_value:g} to {self.max_value:g}{step} ({self.sampling})"


class IntRange(_Table):
    """Keras Tuner's Int: a whole number between two bounds, both included."""

    type: Literal["int"]
    min_value: int
    max_value: int
    step: Positive | None = None
    sampling: Sampling = "linear"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.min_value, self.max_value, self.sampling)
        return self

    def contains(self, value: Any) -> bool:
        if not isinstance(value, int) or isinstance(value, bool) or not self.min_value <= value <= self.max_value:
            return False
        if self.step is None:
            return True
        if self.sampling == "linear":
            return (value - self.min_value) % self.step == 0
        position = math.log(value / self.min_value) / math.log(self.step)
        return abs(position - round(position)) < 1e-6

    def __str__(self) -> str:
        step = f", step {self.step}" if self.step else ""
        return f"{self.min_value} to {self.max_value}{step} ({self.sampling})"


class Choice(_Table):
    """Keras Tuner's Choice: one of a list of numbers."""

    type: Literal["choice"]
    values: tuple[Number, ...] = Field(min_length=1, strict=False)

    @field_validator("values")
    @classmethod
    def _check(cls, values: tuple[Number, ...]) -> tuple[Number, ...]:
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"each value once, but {', '.join(f'{value:g}' for value in twice)} stands there twice")
        if len({type(value) for value in values}) > 1:
            raise ValueError("values of one type: either all whole numbers or all with a decimal point")
        return values

    def contains(self, value: Any) -> bool:
        return _is_number(value) and value in self.values

    def __str__(self) -> str:
        return "one of " + ", ".join(f"{value:g}" for value in self.values)


class Fixed(_Table):
    """Keras Tuner's Fixed: the same value in every trial."""

    type: Literal["fixed"]
    value: Number

    def contains(self, value: Any) -> bool:
        return _is_number(value) and value == self.value

    def __str__(self) -> str:
        return f"{self.value:g} (fixed)"


Range = Annotated[FloatRange | IntRange | Choice | Fixed, Field(discriminator="type")]


class Space(_Table):
    """What is searched: one range per hyperparameter of the head."""

    learning_rate: Range
    dense_units: Range
    dropout: Range

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, low, high in (("learning_rate", 0.0, math.inf), ("dense_units", 0, math.inf), ("dropout", 0, 1)):
            for bound in _bounds(getattr(self, name)):
                if not low <= bound < high or (name == "learning_rate" and bound == 0):
                    wanted = {"dropout": "0 <= dropout < 1"}.get(name, f"{name} {'>' if low == 0.0 else '>='} 0")
                    raise ValueError(f"{name}: received {bound:g}, expected {wanted}")
        if any(not isinstance(bound, int) for bound in _bounds(self.dense_units)):
            raise ValueError(f"dense_units: received {self.dense_units}, expected whole numbers")
        return self

    def items(self) -> tuple[tuple[str, FloatRange | IntRange | Choice | Fixed], ...]:
        return tuple((name, getattr(self, name)) for name in HYPERPARAMETERS)


class Configuration(_Table):
    """One listed configuration, trained before the tuner suggests any.

    `epochs` takes the place of the training table's; `published_val_accuracy` is what
    its source reports, shown beside ours and without influence on the study.
    """

    learning_rate: float = Field(gt=0)
    dense_units: int = Field(ge=0)
    dropout: float = Field(ge=0, lt=1)
    epochs: Positive | None = None
    published_val_accuracy: float | None = Field(default=None, gt=0, le=1)
    source: str = ""

    @property
    def values(self) -> dict[str, Number]:
        return {name: getattr(self, name) for name in HYPERPARAMETERS}


class Search(_Table):
    """How the space is searched: Keras Tuner's oracle and its settings."""

    tuner: Literal["random", "bayesian", "hyperband", "grid"]
    max_trials: Positive | None = None
    alpha: float | None = Field(default=None, gt=0)
    beta: float | None = Field(default=None, ge=0)
    num_initial_points: Positive | None = None
    factor: Annotated[int, Field(ge=2)] | None = None
    hyperband_iterations: Positive | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        owners = {
            "alpha": "bayesian",
            "beta": "bayesian",
            "num_initial_points": "bayesian",
            "factor": "hyperband",
            "hyperband_iterations": "hyperband",
        }
        for name, owner in owners.items():
            if getattr(self, name) is not None and self.tuner != owner:
                raise ValueError(f"{name} is a setting of tuner = {owner!r}, but tuner is {self.tuner!r}")
        if self.max_trials is None and self.tuner in ("random", "bayesian"):
            raise ValueError(f"max_trials is needed with tuner = {self.tuner!r}")
        return self


class Training(_Table):
    """How one trial trains: the same for all trials of a study."""

    epochs: Positive
    seeds: Positive = 1
    batch_size: Positive = 32
    patience: Positive | None = None


class Images(_Table):
    """How a photo becomes the network's input."""

    image_size: int = Field(ge=71)  # Xception's smallest input
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "nearest"


class Model(_Table):
    """The frozen part of the network."""

    backbone: Literal["xception"] = "xception"


class Card(_Table):
    """A study as its card describes it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    description: str = ""
    seed: int = Field(ge=1, lt=2**31)
    photos: Literal["clothing", "drawn"] = "clothing"
    images: Images
    model: Model = Model()
    training: Training
    search: Search | None = None
    space: Space | None = None
    configurations: tuple[Configuration, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.search is None) != (self.space is None):
            have, lack = ("search", "space") if self.search else ("space", "search")
            raise ValueError(f"[{have}] without [{lack}]: a search needs both, a list of configurations neither")
        if self.search is None and not self.configurations:
            raise ValueError("nothing to train: expected [search] and [space], or [[configurations]]")
        seen: dict[str, int] = {}
        for number, configuration in enumerate(self.configurations, 1):
            key = json.dumps([configuration.values, configuration.epochs or self.training.epochs])
            if key in seen:
                raise ValueError(f"configurations {seen[key]} and {number} are the same: list it once")
            seen[key] = number
            if self.space is None:
                continue
            for name, allowed in self.space.items():
                value = configuration.values[name]
                if not allowed.contains(value):
                    raise ValueError(f"configuration {number} is outside the space: {name} = {value:g}, not {allowed}")
        if self.search and self.search.max_trials is not None and self.search.max_trials < len(self.configurations):
            listed = len(self.configurations)
            raise ValueError(f"max_trials = {self.search.max_trials} is fewer than the {listed} listed configurations")
        return self

    def outcome(self) -> dict[str, Any]:
        """The settings that decide the outcome of a study, as plain JSON values."""
        settings = self.model_dump(mode="json", exclude={"name", "description", "photos"})
        if settings["search"]:
            del settings["search"]["max_trials"]
        for configuration in settings["configurations"]:
            del configuration["published_val_accuracy"], configuration["source"]
        return settings


class Study(_Table):
    """A card together with the data and weights it is run on; its digest names the study.

    Args:
      card: The validated card.
      inputs: Digests and versions that decide the outcome beside the card: manifest,
        weights, and the parts of the feature key.
    """

    card: Card
    inputs: Mapping[str, str]

    def parts(self) -> dict[str, Any]:
        """All that the digest covers, for telling two studies apart."""
        return {**self.card.outcome(), "inputs": dict(sorted(self.inputs.items()))}

    @property
    def digest(self) -> str:
        """First 16 hex digits of a SHA-256 over `parts()`."""
        text = json.dumps(self.parts(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_card(path: Path) -> Card:
    """Reads and checks an experiment card; read-only.

    Raises:
      UsageError: The file is missing, no TOML, or not a valid card. The message names
        file, key, what was received and what was expected.
    """
    try:
        return parse_card(path.read_text(encoding="utf-8"), name=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: {getattr(error, 'strerror', None) or error}",
            expected="an experiment card, such as experiments/xception_150.toml",
            action="name a card that exists: fashion-tuning tune experiments/xception_150.toml",
        ) from error


def parse_card(text: str, *, name: str) -> Card:
    """Checks the text of a card; `name` is what errors call it.

    Raises:
      UsageError: As for `load_card`.
    """
    try:
        return Card.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: no valid TOML: {error}", expected="TOML 1.0, see https://toml.io") from error
    except ValidationError as error:
        raise UsageError(_explain(error, name), action=f"correct {name} and run the command again") from error


def _explain(error: ValidationError, name: str) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(_position(part) for part in problem["loc"]) or "card"
        received = problem.get("input")
        if problem["type"] == "extra_forbidden":
            text = f"unknown key, received {received!r}, expected none of that name"
        elif problem["type"] == "missing":
            text = "received nothing, expected a value"
        elif isinstance(received, dict | BaseModel):
            text = problem["msg"].removeprefix("Value error, ")
        else:
            text = f"received {received!r}, expected: {problem['msg'].removeprefix('Value error, ')}"
        lines.append(f"{name}: {key}: {text}")
    return "\n".join(lines[:8])


def _position(part: int | str) -> str:
    # TOML's arrays of tables have no numbers of their own; people count from one.
    return f"#{part + 1}" if isinstance(part, int) else part


def _check_range(low: Number, high: Number, sampling: Sampling) -> None:
    if low >= high:
        raise ValueError(f"min_value = {low:g} must be less than max_value = {high:g}")
    if sampling != "linear" and low <= 0:
        raise ValueError(f"sampling = {sampling!r} needs min_value > 0, received {low:g}")


def _bounds(allowed: FloatRange | IntRange | Choice | Fixed) -> tuple[Number, ...]:
    if isinstance(allowed, Choice):
        return allowed.values
    if isinstance(allowed, Fixed):
        return (allowed.value,)
    return (allowed.min_value, allowed.max_value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
