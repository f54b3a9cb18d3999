"""All that a report says of a study, read from MLflow once; read-only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fashion_tuning.config import Card
from fashion_tuning.errors import StoreError
from fashion_tuning.evaluate import Evaluation, read_evaluation
from fashion_tuning.hyperparameters import Value
from fashion_tuning.study.final_queue import CANDIDATE
from fashion_tuning.study.leaderboard import Leaderboard, Row, leaderboard
from fashion_tuning.study.recorded import read_recorded
from fashion_tuning.tracking.evaluation_run import find_evaluation
from fashion_tuning.tracking.records import (
    StudyRecord,
    TrialRecord,
    find_studies,
    latest_attempts,
    read_attempts,
    read_curve,
)
from fashion_tuning.tracking.registry import version_of_run
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.tag_names import COMMIT, MACHINE, SHARED, SOURCE_STUDY_RUN, VERSIONS


@dataclass(frozen=True)
class Trial:
    """A completed trial with its mean curves, one value per epoch each."""

    row: Row
    accuracy: tuple[float, ...]
    val_accuracy: tuple[float, ...]

    @property
    def record(self) -> TrialRecord:
        return self.row.record

    @property
    def number(self) -> int:
        return self.record.trial

    @property
    def values(self) -> Mapping[str, Value]:
        return self.record.values

    @property
    def score(self) -> float:
        return self.record.metrics["best_val_accuracy"]

    @property
    def error(self) -> float:
        """Standard error of the score."""
        return self.record.metrics["best_val_accuracy_se"]

    @property
    def seconds(self) -> float:
        return self.record.metrics["seconds"]

    @property
    def best_epoch(self) -> int:
        return int(self.record.metrics["best_epoch"])

    @property
    def gap(self) -> float:
        """Accuracy in training less that in validation, at the best epoch."""
        return self.accuracy[self.best_epoch - 1] - self.val_accuracy[self.best_epoch - 1]


@dataclass(frozen=True)
class Failure:
    """A failed trial with the curve it has left, mean validation accuracy per epoch."""

    record: TrialRecord
    val_accuracy: tuple[float, ...]


@dataclass(frozen=True)
class Pair:
    """A configuration at the study's size and at the final one: validation accuracies."""

    name: str
    small: float
    large: float


@dataclass(frozen=True)
class Final:
    """What a study's newest finished final run has come to.

    Args:
      correlation: Spearman's rank correlation over `pairs` with its 95% interval; None where it says nothing.
      evaluation: Its look at test; None where there was none.
      model: Name and version that it registered.
    """

    record: StudyRecord
    image_size: int
    pairs: tuple[Pair, ...]
    correlation: tuple[float, float, float] | None
    evaluation: Evaluation | None
    model: tuple[str, str] | None = None


@dataclass(frozen=True)
class Material:
    """A study as a report shows it.

    Args:
      trials: Completed ones, in the order of their numbers.
      shared: How many pictures stand in several splits, by these.
      num_photos: Photos by split; a score is a share of those in "validation".
      metrics: The study run's own.
      provenance: Machine, versions, commit and data by name.
    """

    study: StudyRecord
    card: Card
    board: Leaderboard
    trials: tuple[Trial, ...]
    failures: tuple[Failure, ...]
    metrics: Mapping[str, float]
    provenance: Mapping[str, str]
    num_photos: Mapping[str, int]
    final: Final | None
    shared: Mapping[str, int] = field(default_factory=dict)

    @property
    def best(self) -> Trial:
        return self.ranked[0]

    @property
    def ranked(self) -> tuple[Trial, ...]:
        """Completed trials, best first."""
        return tuple(sorted(self.trials, key=lambda trial: trial.row.rank))


def read_material(store: Store, study: StudyRecord) -> Material:
    """Reads a study, and its newest finished final run where there is one.

    Raises:
      NoTrialError: The study has no completed trial.
      StoreError: The store, or what it keeps of the study, can't be read.
    """
    board = leaderboard(store, study)
    recorded = read_recorded(store, study)
    run = store.get_run(study.run_id)
    if run is None:
        raise StoreError(f"no study run {study.run_id} in {store.uri}")
    tags = run.data.tags
    provenance = {
        "data": recorded.record.photos,
        "manifest": recorded.manifest.digest,
        "weights": ", ".join(key.weights for key in recorded.keys.values()),
        "commit": tags.get(COMMIT, ""),
        **json.loads(tags.get(MACHINE, "{}")),
        **json.loads(tags.get(VERSIONS, "{}")),
    }
    trials = [
        Trial(row, _curve(store, row.record, "accuracy"), _curve(store, row.record, "val_accuracy"))
        for row in sorted(board.rows, key=lambda row: row.record.trial)
    ]
    return Material(
        study=study,
        card=recorded.card,
        board=board,
        trials=tuple(trials),
        failures=tuple(Failure(record, _curve(store, record, "val_accuracy")) for record in board.failed),
        metrics=dict(run.data.metrics),
        provenance=provenance,
        num_photos={split: len(recorded.manifest.select(split)) for split in ("train", "validation")},
        final=_read_final(store, study, trials),
        shared=json.loads(tags.get(SHARED, "{}")),
    )


def _curve(store: Store, record: TrialRecord, metric: str) -> tuple[float, ...]:
    return tuple(value for _, value in read_curve(store, record.run_id, metric))


def _read_final(store: Store, study: StudyRecord, trials: list[Trial]) -> Final | None:
    for record in find_studies(store, study.experiment, kind="final"):
        run = store.get_run(record.run_id)
        if record.status != "FINISHED" or run is None:
            continue
        if run.data.tags.get(SOURCE_STUDY_RUN) == study.run_id:
            break
    else:
        return None
    recorded = read_recorded(store, record)
    by_source = {
        one.source: one
        for one in latest_attempts(read_attempts(store, record))
        if one.stage == CANDIDATE and one.completed
    }
    pairs = [
        Pair(name, trial.score, by_source[name].metrics["best_val_accuracy"])
        for trial in trials
        if (name := f"trial {trial.number:02d}") in by_source
    ]
    values = tuple(
        run.data.metrics.get(name, math.nan)
        for name in ("rank_correlation", "rank_correlation_low", "rank_correlation_high")
    )
    taken = find_evaluation(store, run.info.experiment_id, final_run=record.run_id, split="test")
    return Final(
        record=record,
        image_size=recorded.card.images.image_size,
        pairs=tuple(pairs),
        correlation=(values[0], values[1], values[2]) if all(map(math.isfinite, values)) else None,
        evaluation=read_evaluation(store, taken, recorded) if taken else None,
        model=(version.name, version.number) if (version := version_of_run(store, record.run_id)) else None,
    )
