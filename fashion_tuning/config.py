"""The experiment card: one TOML file that says everything a study does."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from fashion_tuning.backbones import BACKBONES, NO_CUT
from fashion_tuning.card_file import read_card_text
from fashion_tuning.errors import UsageError
from fashion_tuning.hyperparameters import HYPERPARAMETERS, Value, is_active
from fashion_tuning.settings import Configuration, Final, Images, Model, Pruning, Search, Teacher, Training, Views
from fashion_tuning.space import Choice, Fixed, FloatRange, IntRange, Space, largest
from fashion_tuning.table import Table, explain, wrong

__all__ = [
    "Card",
    "Choice",
    "Configuration",
    "Final",
    "Fixed",
    "FloatRange",
    "Images",
    "IntRange",
    "Model",
    "Pruning",
    "Search",
    "Space",
    "Teacher",
    "Training",
    "Views",
    "load_card",
    "parse_card",
]


# MLflow 3 keeps 8,000 characters of a run's description, to which counts, space and leaderboard are added; as many of
# a tag; and 1,000 metrics of an epoch: four of each seed, and their means.
MAX_DESCRIPTION: int = 4000
MAX_SOURCE: int = 200
MAX_SEEDS: int = 249


class Card(Table):
    """A study as its card describes it."""

    name: str
    description: str = ""
    seed: int = Field(ge=1, lt=2**31)
    photos: Literal["clothing", "drawn"] = "clothing"
    images: Images
    model: Model = Model()
    views: Views | None = None
    training: Training
    final: Final = Final()
    search: Search | None = None
    pruning: Pruning | None = None
    teacher: Teacher | None = None
    space: Space | None = None
    configurations: tuple[Configuration, ...] = Field(default=(), strict=False)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
            raise wrong(received=name, expected="1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first")
        if name.endswith("-drawn"):
            raise wrong(received=name, expected="another ending: -drawn marks studies on drawn garments")
        return name

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.search is None) != (self.space is None):
            lacking, given = ("space", "search") if self.search else ("search", "space")
            raise wrong(lacking, received=None, expected=f"a table [{lacking}] beside [{given}]: a search needs both")
        if self.search is None and not self.configurations:
            raise wrong(received=None, expected="[search] and [space], or [[configurations]]: nothing to train")
        if self.pruning and (self.search is None or self.search.tuner == "hyperband"):
            beside = "tuner = 'hyperband', which stops trials itself" if self.search else "a list without a search"
            raise wrong("pruning", received=self.pruning.rule, expected=f"nothing beside {beside}")
        self._check_teacher()
        self._check_views()
        self._check_cuts()
        seen: dict[str, int] = {}
        for place, configuration in enumerate(self.configurations):
            values = self._checked_values(place)
            earlier = seen.setdefault(json.dumps([values, configuration.epochs or self.training.epochs]), place)
            if earlier != place:
                raise wrong(
                    "configurations", place, received=values, expected=f"one that #{earlier + 1} is not already"
                )
        listed = len(self.configurations)
        if self.search and self.search.max_trials is not None and self.search.max_trials < listed:
            expected = f"at least {listed}: the listed configurations count"
            raise wrong("search", "max_trials", received=self.search.max_trials, expected=expected)
        return self

    def _check_teacher(self) -> None:
        """Distillation learns from a teacher, and nothing else does."""
        allowed = self.space.get("distillation") if self.space else None
        shares = [*(largest(allowed) if allowed else ()), *(one.distillation or 0 for one in self.configurations)]
        distils = any(float(share) > 0 for share in shares)
        if self.teacher is None:
            if distils:
                raise wrong("teacher", received=None, expected="a table [teacher], whose answers distillation learns")
            return
        if not distils:
            expected = "nothing, or a distillation above 0 beside it in the space or a listed configuration"
            raise wrong("teacher", "study", received=self.teacher.study, expected=expected)
        if self.teacher.study == self.name:
            raise wrong("teacher", "study", received=self.name, expected="another study than this one")

    def _check_views(self) -> None:
        """Trials may draw from as many views as there are, the photos themselves included."""
        most = 1 + self.views.number if self.views else 0
        expected = f"at most {most}, the photo itself included" if most else "nothing, or a table [views]"
        allowed = self.space.get("views") if self.space else None
        for received in largest(allowed) if allowed else ():
            if float(received) > most:
                raise wrong("space", "views", received=received, expected=expected)
        for place, configuration in enumerate(self.configurations):
            if configuration.views is not None and configuration.views > most:
                raise wrong("configurations", place, "views", received=configuration.views, expected=expected)

    def _check_cuts(self) -> None:
        """Each backbone has cuts of its own; a search may join any of its cuts with any of its backbones."""
        given: list[tuple[tuple[str | int, ...], str, str]] = [
            (("space",), *prefix) for prefix in self._searched_prefixes()
        ]
        for place, one in enumerate(self.configurations):
            given.append((("configurations", place), self.backbone_of(self.values_of(one)), one.cut or NO_CUT))
        for keys, backbone, cut in given:
            if cut not in (legal := (NO_CUT, *BACKBONES[backbone].cuts)):
                expected = f"one of {', '.join(legal)}, since backbone = {backbone!r}"
                raise wrong(*keys, "cut", received=cut, expected=expected)

    def names(self, hyperparameter: str) -> bool:
        """Whether the space or a listed configuration names a hyperparameter."""
        if self.space is not None and self.space.get(hyperparameter) is not None:
            return True
        return any(hyperparameter in one.named for one in self.configurations)

    def backbone_of(self, values: Mapping[str, Value]) -> str:
        """The backbone of a trial."""
        return str(values.get("backbone", self.model.backbone))

    def prefixes(self) -> tuple[tuple[str, str], ...]:
        """(backbone, cut) of all frozen parts that its trials may have, `NO_CUT` for a whole backbone.

        That of [model] before others, and of each backbone the deepest cut first.
        """
        found = {*self._searched_prefixes()}
        for values in map(self.values_of, self.configurations):
            found.add((self.backbone_of(values), str(values.get("cut", NO_CUT))))
        names = (self.model.backbone, *(name for name in BACKBONES if name != self.model.backbone))
        every = ((name, cut) for name in names for cut in (NO_CUT, *BACKBONES[name].cuts))
        return tuple(one for one in every if one in found)

    def backbones(self) -> tuple[str, ...]:
        """The backbones that its trials may have, each once; the first is that of the baseline."""
        return tuple(dict.fromkeys(backbone for backbone, _ in self.prefixes()))

    def _searched_prefixes(self) -> list[tuple[str, str]]:
        if self.space is None:
            return []
        backbones = self.space.get("backbone") or Fixed(type="fixed", value=self.model.backbone)
        cuts = self.space.get("cut") or Fixed(type="fixed", value=NO_CUT)
        return [(str(backbone), str(cut)) for backbone in largest(backbones) for cut in largest(cuts)]

    def values_of(self, configuration: Configuration) -> dict[str, Value]:
        """All that a listed configuration is trained with: what it names, and what the space fixes or searches.

        A hyperparameter that the space searches and the configuration leaves out has its default.
        """
        values: dict[str, Value] = {}
        for name in HYPERPARAMETERS:
            allowed = self.space.get(name) if self.space else None
            value = configuration.named.get(name)
            if value is None and allowed is not None and is_active(name, values):
                value = allowed.value if isinstance(allowed, Fixed) else self._default(name)
            if value is None and name == "pooling" and self.names(name):
                value = self._default(name)  # the features hold both halves, see model/head.py
            if value is not None:
                values[name] = value
        return values

    def _default(self, name: str) -> Value | None:
        """What a hyperparameter is where nobody says; None where somebody has to."""
        if name == "batch_size":
            return self.training.batch_size
        if name == "backbone":
            return self.model.backbone
        if name == "views":
            return 1 + self.views.number if self.views else None
        return HYPERPARAMETERS[name].default

    def _checked_values(self, place: int) -> dict[str, Value]:
        configuration = self.configurations[place]
        values = self.values_of(configuration)
        for name, value in values.items():
            allowed = self.space.get(name) if self.space else None
            if not is_active(name, values):
                expected = f"nothing: it has no effect beside {HYPERPARAMETERS[name].parent}"
                raise wrong("configurations", place, name, received=value, expected=expected)
            if allowed is not None and not allowed.contains(value):
                expected = f"a value inside the space: {allowed}"
                received = configuration.named.get(name)
                raise wrong("configurations", place, name, received=received, expected=expected)
            if self.space is not None and allowed is None:
                expected = f"nothing, or a table [space.{name}] beside it"
                raise wrong("configurations", place, name, received=value, expected=expected)
        for name, _ in self.space.items() if self.space else ():
            if name not in values and is_active(name, values):
                raise wrong("configurations", place, name, received=None, expected="a value, since the space has it")
        return values

    def at_final_size(self) -> Card:
        """This card as its final run trains: at the final size, with the epochs and patience of [final], none pruned.

        A final run compares all that it trains, and none of them may be cut short by the others.
        """
        images = self.images.model_copy(update={"image_size": self.final_size})
        changes = {"epochs": self.final.epochs, "patience": self.final.patience}
        training = self.training.model_copy(update=changes)
        return self.model_copy(update={"images": images, "training": training, "pruning": None})

    @property
    def final_size(self) -> int:
        """Pixels a side at which the final run trains."""
        return self.final.image_size or max(BACKBONES[name].final_size for name in self.backbones())

    @property
    def is_fixed(self) -> bool:
        """Whether there is one configuration and nothing to search: it needs no study before its final run."""
        return self.search is None and len(self.configurations) == 1


def load_card(path: Path) -> Card:
    """Reads and checks an experiment card; read-only.

    Raises:
      UsageError: The file is missing, no TOML, or not a valid card. The message names
        file, key, what was received and what was expected.
    """
    card = parse_card(read_card_text(path), name=str(path))
    _require_room(card, name=str(path))
    return card


def _require_room(card: Card, *, name: str) -> None:
    """Makes sure that MLflow can hold what a card says; what was recorded before is read without this.

    Raises:
      UsageError: Some of it is too long, or too much.
    """
    texts = {"description": (card.description, MAX_DESCRIPTION)}
    texts |= {
        f"configurations.#{n}.source": (configuration.source, MAX_SOURCE)
        for n, configuration in enumerate(card.configurations, 1)
    }
    wrong_lines = [
        f"{name}: {key}: received {len(text):,} characters, expected at most {most:,}, which MLflow shows whole"
        for key, (text, most) in texts.items()
        if len(text) > most
    ]
    if (seeds := card.training.seeds) > MAX_SEEDS:
        wrong_lines.append(f"{name}: training.seeds: received {seeds}, expected at most {MAX_SEEDS}, as MLflow takes")
    if wrong_lines:
        raise UsageError("\n".join(wrong_lines), action=f"correct {name} and run the command again")


def parse_card(text: str, *, name: str) -> Card:
    """Checks the text of a card; `name` is what errors call it.

    Raises:
      UsageError: As for `load_card`.
    """
    try:
        return Card.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))
        number = int(place[1]) if place else len(text.splitlines())
        line = (text.splitlines() or [""])[number - 1].strip()
        raise UsageError(
            f"{name}: line {number}: received {line!r}, expected TOML: {error}",
            action=f"correct {name} and run the command again; https://toml.io has the rules",
        ) from error
    except ValidationError as error:
        raise UsageError(explain(error, name), action=f"correct {name} and run the command again") from error
