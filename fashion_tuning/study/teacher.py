"""The trial of a finished study whose answers other trials learn beside the labels (distillation).

Its heads, those of all seeds at its best epoch, answer to each photo to train on and to each of its views by itself;
the mean of their probabilities is what `distillation` is a share of. A study keeps these targets in its run, so that
its trials depend on nothing else of the teacher.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from fashion_tuning.config import Card
from fashion_tuning.data.source import Dataset
from fashion_tuning.data.views import IDENTITY
from fashion_tuning.errors import DataError, StoreError
from fashion_tuning.files import SCRATCH, disk_errors, scratch_folder
from fashion_tuning.model.checkpoint import predict
from fashion_tuning.model.features import FeatureRef, feature_ref, load_features
from fashion_tuning.study.best_epoch import best_heads
from fashion_tuning.study.events import Notice, Report
from fashion_tuning.study.finished import require_finished
from fashion_tuning.study.inputs import StudyInputs, card_views, trial_key
from fashion_tuning.study.leaderboard import find_study, leaderboard
from fashion_tuning.study.recorded import RecordedStudy, read_recorded
from fashion_tuning.tracking.records import TrialRecord, artifacts, read_trial
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import StudyRun
from fashion_tuning.wording import count

TARGETS: Final = "targets.npz"


@dataclass(frozen=True)
class Teacher:
    """A trial and its study."""

    record: TrialRecord
    study: RecordedStudy

    def __str__(self) -> str:
        seeds = count(self.num_seeds, "seed")
        return f"trial {self.record.trial:02d} of {self.study.record.experiment}, mean of {seeds}"

    @property
    def backbone(self) -> str:
        return self.study.card.backbone_of(self.record.values)

    @property
    def num_seeds(self) -> int:
        return self.study.card.training.seeds

    def features(self, card: Card, cache_dir: Path) -> list[FeatureRef]:
        """What it sees of the photos to train on and of each of a card's views, exact whatever it was trained on."""
        key = trial_key(self.study.card, self.study.keys, self.record.values).exact
        views = [replace(key, view=view.name) for view in (IDENTITY, *card_views(card))]
        return [feature_ref(one, "train", manifest=self.study.manifest, cache_dir=cache_dir) for one in views]


def find_teacher(store: Store, card: Card, dataset: Dataset, *, run_id: str = "") -> Teacher | None:
    """The trial that the leaderboard of a card's teacher calls chosen; None where the card names no teacher; read-only.

    Args:
      run_id: Of the trial that taught an earlier run of the card, which then counts.

    Raises:
      UsageError: There is no such study, or it was not finished.
      StudyOwnedError: A live process still works on it.
      NoTrialError: It has no completed trial.
      DataError: It was run on other photos, or on another split of them.
      StoreError: The store can't be read.
    """
    if card.teacher is None:
        return None
    if run_id:
        if (found := read_trial(store, run_id)) is None:
            raise StoreError(f"the run of the teacher, {run_id}, is not in {store.uri} any more")
        record, study = found
    else:
        name = card.teacher.study
        study = find_study(store, f"{name}-drawn" if dataset.kind == "drawn" else name)
        require_finished(study)
        record = leaderboard(store, study).chosen
    recorded = read_recorded(store, study)
    if recorded.manifest.digest != dataset.manifest.digest:
        raise DataError(
            f"the teacher, study {study.digest} of {study.experiment!r}, is of manifest {recorded.manifest.digest}",
            expected=f"the photos of this study, manifest {dataset.manifest.digest}: a teacher must not have been"
            " trained on what its pupils are validated on",
            action="run the teacher's study on the same photos",
        )
    return Teacher(record, recorded)


def lesson(inputs: StudyInputs, run: StudyRun) -> list[FeatureRef]:
    """The features to which a study's teacher has yet to answer: none without one, or where its targets stand."""
    if inputs.teacher is None or read_targets(run.store, run.run_id) is not None:
        return []
    return inputs.teacher.features(inputs.card, inputs.cache_dir)


def targets(inputs: StudyInputs, run: StudyRun, refs: Sequence[FeatureRef], report: Report) -> np.ndarray | None:
    """What a study's teacher says, (views, images, classes) float32; None without a teacher.

    Computes it where it is not kept with the run yet.

    Args:
      refs: What `lesson` gave, in the cache by now.

    Raises:
      StoreError, DiskError: A checkpoint of the teacher can't be read, or the answers can't be kept.
    """
    if inputs.teacher is None:
        return None
    if not refs:
        return read_targets(run.store, run.run_id)
    started = time.perf_counter()
    report(Notice(f"the teacher ({inputs.teacher}) answers to {sum(len(ref.photos) for ref in refs):,} images"))
    with best_heads(run.store, inputs.teacher.record) as heads:
        found = np.stack(
            [np.mean([predict(head, load_features(ref)) for head in heads], axis=0, dtype=np.float32) for ref in refs]
        )
    with scratch_folder() as folder:
        path = folder / TARGETS
        with disk_errors(path, instead=SCRATCH):
            np.savez(path, targets=found, paths=np.array([path for path, _, _ in refs[0].photos]))
        run.store.upload(run.run_id, path)
    right = float((found.argmax(-1) == refs[0].labels()).mean())
    report(Notice(f"the teacher names the category that is on record for {right:.1%} of them"))
    run.log({"teacher_accuracy": right, "seconds_teacher": time.perf_counter() - started}, step=0)
    return found


def read_targets(store: Store, run_id: str) -> np.ndarray | None:
    """The targets that a run has kept, (views, images, classes) float32; None where they are missing or damaged."""
    with artifacts(store, run_id) as folder:
        try:
            with (folder / TARGETS).open("rb") as file, np.load(file) as kept:
                return np.asarray(kept["targets"])
        except Exception:  # zipfile, zlib and numpy each meet damage in their own way
            return None
