"""What a study run or a final run keeps of where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from fashion_tuning.config import Card


@dataclass(frozen=True)
class DatasetInfo:
    """The photos as MLflow's dataset input shows them."""

    name: str
    digest: str
    source: str
    kind: str
    counts: Mapping[str, Mapping[str, int]]

    def as_input(self) -> DatasetInput:
        dataset = Dataset(
            name=self.name,
            digest=self.digest,
            source_type="local",
            source=json.dumps({"uri": self.source}),
            profile=json.dumps({"images": {split: sum(counts.values()) for split, counts in self.counts.items()}}),
        )
        return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])


@dataclass(frozen=True)
class Origin:
    """The card and its text, the manifest, the photos, and what names the run.

    Args:
      digest: Names the run: of `parts`, which is all that decides its outcome.
      study: Digest of the study; another one than `digest` for a final run.
      sources: Further tags, such as the run of the study that a final run goes on from, or what the splits share.
    """

    card: Card
    card_text: str
    manifest_csv: str
    dataset: DatasetInfo
    digest: str
    study: str
    parts: Mapping[str, object]
    sources: Mapping[str, str]
