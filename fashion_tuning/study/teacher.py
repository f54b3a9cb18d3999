"""The trial of a finished study whose answers other trials learn beside the labels (distillation).

Its heads, those of all seeds at its best epoch, answer to each photo to train on and to each of its views by itself;
the mean of their probabilities is what `distillation` is a share of. A study keeps these targets in its run, so that
its trials depend on nothing else of the teacher.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from fashion_tuning.config import Card
from fashion_tuning.data.source import Dataset
from fashion_tuning.data.views import IDENTITY
from fashion_tuning.errors import DataError, StoreError, UsageError
from fashion_tuning.files import SCRATCH, disk_errors, scratch_folder
from fashion_tuning.model.features import FeatureRef, feature_ref
from fashion_tuning.model.teaching import answers
from fashion_tuning.study.best_epoch import best_heads
from fashion_tuning.study.events import Notice, Report
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.finished import require_finished
from fashion_tuning.study.inputs import StudyInputs, card_views, trial_key
from fashion_tuning.study.leaderboard import leaderboard
from fashion_tuning.study.lookup import find_study
from fashion_tuning.study.recorded import RecordedStudy, read_recorded
from fashion_tuning.tracking.artifacts import artifacts
from fashion_tuning.tracking.records import TrialRecord, find_studies, read_trial
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


@dataclass(frozen=True)
class Lesson:
    """A teacher's answers where they stand, or else the features that it has yet to answer to."""

    targets: np.ndarray | None = None
    features: tuple[FeatureRef, ...] = ()


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
        return Teacher(record, read_recorded(store, study))
    name, twin = card.teacher.study, f"{card.teacher.study}-drawn"
    try:
        study = find_study(store, twin if dataset.kind == "drawn" and find_studies(store, twin) else name)
    except UsageError as error:
        raise UsageError(
            f"the card's teacher: {error.received}",
            expected="the name or the run id of a finished study",
            action="run its card first, such as fashion-tuning tune experiments/fine_tune_seeds.toml",
        ) from error
    require_finished(study)
    recorded = read_recorded(store, study)
    if recorded.manifest.digest != dataset.manifest.digest:
        raise DataError(
            f"the teacher, study {study.digest} of {study.experiment!r}, is of manifest {recorded.manifest.digest}",
            expected=f"the photos of this study, manifest {dataset.manifest.digest}: a teacher must not have been"
            " trained on what its pupils are validated on",
            action="run the teacher's study on the same photos",
        )
    return Teacher(leaderboard(store, study).chosen, recorded)


def open_lesson(inputs: StudyInputs, run: StudyRun, *, earlier: str = "") -> Lesson:
    """What is there of a teacher's answers, and what it has yet to answer to; nothing of either without a teacher.

    Args:
      earlier: The run of the study that a final run goes on from. Its teacher has seen the same pictures, of whatever
        size the final run is, so its answers are kept with that as well.

    Raises:
      StoreError, DiskError: The store or a disk refuses.
    """
    if inputs.teacher is None:
        return Lesson()
    refs = inputs.teacher.features(inputs.card, inputs.cache_dir)
    for run_id in filter(None, (run.run_id, earlier)):
        kept = read_targets(run.store, run_id)
        if kept is not None and kept.shape[:2] == (len(refs), len(refs[0].photos)):
            if run_id != run.run_id:
                _keep(run, kept, refs[0])
            return Lesson(kept)
    return Lesson(None, tuple(refs))


def answered(inputs: StudyInputs, run: StudyRun, lesson: Lesson, worker: Worker, report: Report) -> np.ndarray | None:
    """A teacher's answers, (views, images, classes) float32; None without a teacher.

    What is missing is computed from features that are in the cache by now, and kept with the run.

    Raises:
      StoreError, DiskError: A checkpoint of the teacher can't be read, or the answers can't be kept.
    """
    if inputs.teacher is None or not lesson.features:
        return lesson.targets
    started = time.perf_counter()
    images = sum(len(ref.photos) for ref in lesson.features)
    report(Notice(f"the teacher ({inputs.teacher}) answers to {images:,} images"))
    with best_heads(run.store, inputs.teacher.record) as heads:
        targets = np.stack(list(worker.run(answers, heads, lesson.features)))
    right = float((targets.argmax(-1) == lesson.features[0].labels()).mean())
    report(Notice(f"the teacher names the category that is on record for {right:.1%} of them"))
    run.log({"teacher_accuracy": right, "seconds_teacher": time.perf_counter() - started}, step=0)
    _keep(run, targets, lesson.features[0])
    return targets


def _keep(run: StudyRun, targets: np.ndarray, ref: FeatureRef) -> None:
    with scratch_folder() as folder:
        path = folder / TARGETS
        with disk_errors(path, instead=SCRATCH):
            np.savez(path, targets=targets, paths=np.array([path for path, _, _ in ref.photos]))
        run.store.upload(run.run_id, path)


def read_targets(store: Store, run_id: str) -> np.ndarray | None:
    """The targets that a run has kept, (views, images, classes) float32; None where they are missing or damaged.

    Raises:
      StoreError: They are there and can't be read.
    """
    with artifacts(store, run_id, TARGETS) as folder:
        if not (folder / TARGETS).exists():
            return None
        try:
            with (folder / TARGETS).open("rb") as file, np.load(file) as kept:
                return np.asarray(kept["targets"])
        except OSError as error:
            raise StoreError(f"{TARGETS} of run {run_id} can't be read: {error}") from error
        except Exception:  # zipfile, zlib and numpy each meet damage in their own way
            return None
