"""A registered model with all that its runs say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fashion_tuning.data.source import open_drawn
from fashion_tuning.errors import DataError, StoreError
from fashion_tuning.evaluate import Subject
from fashion_tuning.model.extraction import pixel_batches
from fashion_tuning.study.final_queue import BASELINE
from fashion_tuning.study.inputs import sizing
from fashion_tuning.study.recorded import RecordedStudy, read_recorded
from fashion_tuning.tracking import registry, tag_names
from fashion_tuning.tracking.records import latest_attempts, read_attempts, read_study
from fashion_tuning.tracking.registry import Version
from fashion_tuning.tracking.store import Store

NUM_PARITY = 64


@dataclass(frozen=True)
class Registered:
    """A version, its final run, and the trial that it ships."""

    version: Version
    subject: Subject
    recorded: RecordedStudy

    @property
    def backbones(self) -> set[str]:
        """Those of its trial and of the baseline beside it."""
        trials = (one for one in (self.subject.winner, self.subject.baseline) if one is not None)
        return {self.recorded.card.backbone_of(one.values) for one in trials}

    def photos(self, data_dir: Path | None, environment_dir: Path | None, *, cache_dir: Path) -> Path:
        """Where the photos are: named, or where they lay then; drawn garments are drawn again where they are gone.

        Raises:
          DataError: There is no such folder.
        """
        if self.subject.final.photos == "drawn":
            return data_dir or open_drawn(cache_dir=cache_dir).root
        data_dir = data_dir or environment_dir
        root = data_dir or self.recorded.source
        if root is None or not root.is_dir():
            raise DataError(f"the photos of {self.version} are not at {root}", action="name their folder with --data")
        return root

    def pixels(self, root: Path, *, count: int = NUM_PARITY) -> np.ndarray:
        """The first validation photos as the model takes them, (count, size, size, 3) uint8; read-only.

        Raises:
          DataError: A photo is missing or not the one on record.
        """
        photos = [(root / one.path, one.sha256) for one in self.recorded.manifest.select("validation")[:count]]
        return np.concatenate(list(pixel_batches(photos, sizing(self.recorded.card))))


def find_registered(store: Store, model: str) -> Registered:
    """The version that a person means, with its runs; read-only.

    Raises:
      UsageError: There is no such model.
      StoreError: Its runs are gone.
    """
    version = registry.require_version(store, model)
    final = read_study(store, version.run_id, kinds=("final",))
    trials = latest_attempts(read_attempts(store, final)) if final else []
    winner = next((one for one in trials if one.run_id == version.tags.get(tag_names.TRIAL_RUN)), None)
    if final is None or winner is None:
        raise StoreError(f"{version} names a final run {version.run_id} that the store does not have any more")
    baseline = next((one for one in trials if one.stage == BASELINE and one.completed), None)
    return Registered(version, Subject(final, winner, baseline, str(version)), read_recorded(store, final))
