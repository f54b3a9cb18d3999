"""The tables of a card beside its space: how photos are read, trials trained, the search run, the final model made."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from fashion_tuning.backbones import BACKBONES
from fashion_tuning.hyperparameters import HYPERPARAMETERS, Value
from fashion_tuning.space import Positive
from fashion_tuning.table import Table, wrong


class Configuration(Table):
    """One listed configuration, trained before the tuner suggests any; see `Card.values_of`.

    `epochs` takes the place of the training table's; `published_val_accuracy` is what
    its source reports, shown beside ours and without influence on the study.
    """

    learning_rate: float
    dense_units: int
    dropout: float
    backbone: str | None = None
    cut: str | None = None
    suffix_factor: float | None = None
    head_epochs: int | None = None
    batch_norm: str | None = None
    views: int | None = None
    pooling: str | None = None
    dense_layers: int | None = None
    dense_units_2: int | None = None
    dense_units_3: int | None = None
    dropout_1: float | None = None
    dropout_2: float | None = None
    activation: str | None = None
    normalization: str | None = None
    label_smoothing: float | None = None
    mixup: float | None = None
    distillation: float | None = None
    class_weights: str | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    weight_decay: float | None = None
    momentum: float | None = None
    schedule: str | None = None
    warmup_epochs: int | None = None
    ema_momentum: float | None = None
    epochs: Positive | None = None
    published_val_accuracy: float | None = Field(default=None, gt=0, le=1)
    source: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, value in self.named.items():
            one = HYPERPARAMETERS[name]
            if not one.accepts(value):
                raise wrong(name, received=value, expected=one.expected)
        return self

    @property
    def named(self) -> dict[str, Value]:
        """The hyperparameters that it names itself."""
        found = ((name, getattr(self, name)) for name in HYPERPARAMETERS)
        return {name: value for name, value in found if value is not None}


class Search(Table):
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
            value = getattr(self, name)
            if value is not None and self.tuner != owner:
                raise wrong(
                    name, received=value, expected=f"nothing: only tuner = {owner!r} has it, not {self.tuner!r}"
                )
        if self.max_trials is None and self.tuner in ("random", "bayesian"):
            raise wrong(
                "max_trials", received=None, expected=f"a number of trials, since tuner = {self.tuner!r} has no end"
            )
        return self


class Teacher(Table):
    """Whose answers a trial with `distillation` learns beside the labels, see study/teacher.py.

    `study` is the name or the run id of a finished study on the same photos.
    """

    study: str = Field(min_length=1)


class Pruning(Table):
    """Which trials are stopped early, see `study.pruning.should_stop`; listed configurations never are.

    No trial is stopped before `start_epochs`; by the median rule none before `start_trials` others have ended.
    """

    rule: Literal["median", "asha"]
    start_epochs: Positive = 1
    start_trials: Positive = 5
    factor: Annotated[int, Field(ge=2)] = 3

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, owner in (("start_trials", "median"), ("factor", "asha")):
            if name in self.model_fields_set and self.rule != owner:
                raise wrong(
                    name,
                    received=getattr(self, name),
                    expected=f"nothing: only rule = {owner!r} has it, not {self.rule!r}",
                )
        return self


class Training(Table):
    """How one trial trains: the same for all trials of a study.

    `max_seconds` is how long one attempt at a trial may take on the clock.
    """

    epochs: Positive
    seeds: Positive = 1
    batch_size: Positive = 32
    patience: Positive | None = None
    max_seconds: float | None = Field(default=None, gt=0)


class Final(Table):
    """How the final model is made from a finished study; nothing here changes the study itself.

    Without an `image_size` it is the one that the backbone's weights were made for, the largest of them where there
    are several backbones. `learning_rate_factors` times
    the chosen learning rate are tried as well. `choose` is "smallest" (of the trials that tie with the best the one
    with the fewest trainable parameters) or "best".
    """

    image_size: int | None = Field(default=None, ge=71)
    epochs: Positive = 15
    patience: Positive | None = 4
    learning_rate_factors: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(0.3, 3.0), strict=False)
    choose: Literal["smallest", "best"] = "smallest"


class Images(Table):
    """How a photo becomes the network's input, see `data.decode.Sizing`."""

    image_size: int = Field(ge=71)  # Xception's smallest input, and enough for the others
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "nearest"
    aspect: Literal["squash", "pad", "crop"] = "squash"


class Views(Table):
    """Views of the photos to train on, see `data.views.View`.

    Validation and test are never changed. With `average` a trial's probabilities, of validation and of test, are
    means over each photo and the views that the trial trains on.
    """

    number: Positive
    average: bool = False
    horizontal_flip: bool = False
    rotation: float = Field(default=0.0, ge=0, le=180)
    shear: float = Field(default=0.0, ge=0, le=45)
    shift: float = Field(default=0.0, ge=0, le=0.5)
    zoom: float = Field(default=0.0, ge=0, le=0.5)
    crop: float = Field(default=1.0, ge=0.1, le=1)
    brightness: float = Field(default=0.0, ge=0, le=1)
    contrast: float = Field(default=0.0, ge=0, le=1)
    saturation: float = Field(default=0.0, ge=0, le=1)
    erasing: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        changes = {
            name
            for name, value in self
            if name not in ("number", "average") and value != type(self).model_fields[name].default
        }
        if not changes:
            raise wrong(received=None, expected="a change beside number, such as horizontal_flip = true")
        if changes == {"horizontal_flip"} and self.number > 1:
            raise wrong("number", received=self.number, expected="1: there is one mirror image")
        return self


class Model(Table):
    """The frozen part of the network, what computes it, and how its output is kept.

    `backbone` is that of trials for which neither the space nor a listed configuration names one.
    Anything but Keras in float32 is a reduced mode: faster where the processor has the instructions, and held to
    the exact one when the model is made, see final/reduced.py.
    """

    backbone: str = "xception"
    engine: Literal["keras", "openvino"] = "keras"
    precision: Literal["float32", "bfloat16"] = "float32"
    storage: Literal["float32", "float16"] = "float32"

    @field_validator("backbone")
    @classmethod
    def _check_backbone(cls, name: str) -> str:
        if name not in BACKBONES:
            raise wrong(received=name, expected=f"one of {', '.join(BACKBONES)}")
        return name
