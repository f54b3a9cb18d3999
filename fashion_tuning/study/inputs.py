"""What a study stands on: its card, photos and weights, and the digests that follow from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fashion_tuning.backbones import BACKBONES, NO_CUT
from fashion_tuning.config import Card
from fashion_tuning.data.decode import Sizing
from fashion_tuning.data.manifest import Manifest
from fashion_tuning.data.source import Dataset
from fashion_tuning.data.views import View
from fashion_tuning.digest import Study
from fashion_tuning.hyperparameters import Value, setting
from fashion_tuning.model.features import FeatureRef, feature_ref
from fashion_tuning.model.key import FeatureKey, feature_key
from fashion_tuning.model.training import TRAINING_VERSION, TrialSettings
from fashion_tuning.model.weights import Weights
from fashion_tuning.tracking import tag_names
from fashion_tuning.tracking.origin import DatasetInfo, Origin
from fashion_tuning.tracking.records import TrialRecord

if TYPE_CHECKING:
    from fashion_tuning.study.teacher import Teacher

SPLITS = ("train", "validation")  # never test: only evaluate reads that
TEACHER: Final = "teacher"  # and the run of the trial that teaches under this
WEIGHTS_OF: Final = "weights_of_"  # a study's inputs have the digests of its second and further backbones under this


@dataclass(frozen=True)
class StudyInputs:
    """What a card is run on.

    Args:
      card: The validated card; `card_text` is its file, kept with the study.
      dataset: Verified photos.
      weights: Of each of its backbones, by name, and of its teacher's.
      cache_dir: Where features lie.
      teacher: Where the card names one.
    """

    card: Card
    card_text: str
    dataset: Dataset
    weights: Mapping[str, Weights]
    cache_dir: Path
    teacher: Teacher | None = None

    @property
    def keys(self) -> dict[str, FeatureKey]:
        """Of the pooled features of each backbone, by name."""
        manifest = self.dataset.manifest
        return {
            name: feature_key(self.card, manifest=manifest, weights=self.weights[name])
            for name in self.card.backbones()
        }

    @property
    def study(self) -> Study:
        first, *others = self.keys.values()
        inputs = {**first.parts(), "training_version": str(TRAINING_VERSION)}
        if self.teacher is not None:
            inputs[TEACHER] = self.teacher.record.run_id
        return Study(card=self.card, inputs=inputs | {f"{WEIGHTS_OF}{one.backbone}": one.weights for one in others})

    @property
    def experiment(self) -> str:
        return experiment_name(self.card, drawn=self.dataset.kind == "drawn")

    @property
    def origin(self) -> Origin:
        """What the study run keeps of all this."""
        manifest = self.dataset.manifest
        dataset = DatasetInfo(
            name=self.dataset.name,
            digest=manifest.digest,
            source=str(self.dataset.root),
            kind=self.dataset.kind,
            counts={split: manifest.counts()[split] for split in SPLITS},
        )
        study = self.study
        return Origin(
            card=self.card,
            card_text=self.card_text,
            manifest_csv=manifest.to_csv(),
            dataset=dataset,
            digest=study.digest,
            study=study.digest,
            parts=study.parts(),
            sources={
                **({tag_names.TEACHER_RUN: self.teacher.record.run_id} if self.teacher else {}),
                **({tag_names.SHARED: json.dumps(shared)} if (shared := self.dataset.verification.shared) else {}),
            },
        )

    @property
    def features(self) -> Features:
        return Features(self.card, self.keys, self.dataset.manifest, self.cache_dir)


@dataclass(frozen=True)
class Features:
    """Where the features of a card's trials lie in a cache, whether they are computed yet or not.

    Args:
      keys: Of the pooled features of each backbone, by name; behind a cut they differ in that alone.
    """

    card: Card
    keys: Mapping[str, FeatureKey]
    manifest: Manifest
    cache_dir: Path

    def of(self, values: Mapping[str, Value]) -> dict[str, FeatureRef]:
        """What one trial trains and validates on, by split.

        Of photos to train on with the views that it draws from, and of those to validate on where it averages.
        """
        refs = self._at(self.card.backbone_of(values), str(setting("cut", values)))
        num_views = len(trial_views(self.card, values))
        return {split: replace(ref, views=ref.views[:num_views]) for split, ref in refs.items()}

    def of_trials(self, trials: Iterable[Mapping[str, Value]]) -> list[FeatureRef]:
        """All that these trials need, each once."""
        return each_once(ref for values in trials for ref in self.of(values).values())

    def of_card(self) -> list[FeatureRef]:
        """All that any trial of the card may need, each once."""
        return each_once(ref for prefix in self.card.prefixes() for ref in self._at(*prefix).values())

    def labels(self, split: str) -> np.ndarray:
        """(images,) int32 class indices."""
        return self._at(next(iter(self.keys)), NO_CUT)[split].labels()

    def _at(self, backbone: str, cut: str) -> dict[str, FeatureRef]:
        if (backbone, cut) not in self._by_prefix:
            self._by_prefix[backbone, cut] = self._refs(key_at(self.keys[backbone], cut))
        return self._by_prefix[backbone, cut]

    @cached_property
    def _by_prefix(self) -> dict[tuple[str, str], dict[str, FeatureRef]]:
        return {}

    def _refs(self, key: FeatureKey) -> dict[str, FeatureRef]:
        views = [replace(key, view=view.name) for view in card_views(self.card)]
        refs = {}
        for split in SPLITS:
            own, *others = (
                feature_ref(one, split, manifest=self.manifest, cache_dir=self.cache_dir) for one in (key, *views)
            )
            viewed = split == "train" or averages(self.card)
            refs[split] = replace(own, views=tuple(others)) if viewed else own
        return refs


def trial_key(card: Card, keys: Mapping[str, FeatureKey], values: Mapping[str, Value]) -> FeatureKey:
    """The key of a trial's features, given those of the pooled ones of each backbone."""
    return key_at(keys[card.backbone_of(values)], str(setting("cut", values)))


def key_at(key: FeatureKey, cut: str) -> FeatureKey:
    """The key of the features at a cut, given that of the pooled ones."""
    return key if cut == NO_CUT else replace(key, cut=cut)


def each_once(refs: Iterable[FeatureRef]) -> list[FeatureRef]:
    """The parts of these refs, without their views, earlier cuts first: later ones are made of them."""
    found = {(one.folder, one.split): replace(one, views=()) for ref in refs for one in ref.every}

    def depth(ref: FeatureRef) -> int:
        cuts = list(BACKBONES[ref.key.backbone].cuts)
        return -1 - cuts.index(ref.key.cut) if ref.key.cut in cuts else 0

    return sorted(found.values(), key=depth)


def card_views(card: Card) -> tuple[View, ...]:
    """The views that a card asks for, the photo itself not among them."""
    if card.views is None:
        return ()
    settings = card.views.model_dump(exclude={"number", "average"})
    return tuple(View(number, **settings) for number in range(1, 1 + card.views.number))


def trial_views(card: Card, values: Mapping[str, Value]) -> tuple[View, ...]:
    """The views that a trial trains on, the photo itself not among them."""
    views = card_views(card)
    return views[: int(values.get("views", 1 + len(views))) - 1]


def averages(card: Card) -> bool:
    """Whether the answers of its trials are means over the views that they train on."""
    return card.views is not None and card.views.average


def sizing(card: Card) -> Sizing:
    """How a card's photos become pixels."""
    images = card.images
    return Sizing(images.image_size, images.interpolation, images.aspect)


def experiment_name(card: Card, *, drawn: bool) -> str:
    """The MLflow experiment of a card: its name, apart where the garments are drawn."""
    return f"{card.name}-drawn" if drawn else card.name


def trial_settings(card: Card, record: TrialRecord) -> TrialSettings:
    """What training a trial takes, apart from the features."""
    training = card.training
    return TrialSettings(
        values=dict(record.values),
        epochs=record.epochs,
        num_seeds=training.seeds,
        study_seed=card.seed,
        batch_size=training.batch_size,
        patience=training.patience,
    )


def shown_parameters(card: Card, record: TrialRecord) -> dict[str, Value]:
    """What MLflow shows as a trial's parameters."""
    return {
        "batch_size": card.training.batch_size,
        **record.values,
        "epochs": record.epochs,
        "seeds": card.training.seeds,
        "image_size": card.images.image_size,
        "trainable_parameters": record.trainable_parameters,
        **({"validation_views": 1 + len(trial_views(card, record.values))} if averages(card) else {}),
    }
