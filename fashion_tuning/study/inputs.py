"""What a study stands on: its card, photos and weights, and the digests that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fashion_tuning.config import Card, Study
from fashion_tuning.data.manifest import Manifest
from fashion_tuning.data.source import Dataset
from fashion_tuning.data.views import View
from fashion_tuning.hyperparameters import Value
from fashion_tuning.model.features import FeatureKey, FeatureRef, feature_key, feature_ref
from fashion_tuning.model.training import TRAINING_VERSION, TrialSettings
from fashion_tuning.model.weights import Weights
from fashion_tuning.tracking.origin import DatasetInfo, Origin
from fashion_tuning.tracking.records import TrialRecord

SPLITS = ("train", "validation")  # never test: only evaluate reads that


@dataclass(frozen=True)
class StudyInputs:
    """What a card is run on.

    Args:
      card: The validated card; `card_text` is its file, kept with the study.
      dataset: Verified photos.
      weights: The backbone's weights.
      cache_dir: Where features lie.
    """

    card: Card
    card_text: str
    dataset: Dataset
    weights: Weights
    cache_dir: Path

    @property
    def key(self) -> FeatureKey:
        return feature_key(self.card, manifest=self.dataset.manifest, weights=self.weights)

    @property
    def study(self) -> Study:
        return Study(card=self.card, inputs={**self.key.parts(), "training_version": str(TRAINING_VERSION)})

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
            sources={},
        )

    def refs(self) -> dict[str, FeatureRef]:
        return split_refs(self.card, self.key, manifest=self.dataset.manifest, cache_dir=self.cache_dir)


def split_refs(card: Card, key: FeatureKey, *, manifest: Manifest, cache_dir: Path) -> dict[str, FeatureRef]:
    """Where the features of each split lie in a cache, if they are there; of photos to train on their views as well."""
    refs = {split: feature_ref(key, split, manifest=manifest, cache_dir=cache_dir) for split in SPLITS}
    views = tuple(
        feature_ref(replace(key, view=view.name), "train", manifest=manifest, cache_dir=cache_dir)
        for view in card_views(card)
    )
    return {**refs, "train": replace(refs["train"], views=views)}


def card_views(card: Card) -> tuple[View, ...]:
    """The views that a card asks for, the photo itself not among them."""
    if card.views is None:
        return ()
    settings = card.views.model_dump(exclude={"number"})
    return tuple(View(number, **settings) for number in range(1, 1 + card.views.number))


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
    }
