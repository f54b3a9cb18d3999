"""The trials of a study, best first, with errors and ties; read-only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fashion_tuning.errors import NoTrialError, UsageError
from fashion_tuning.study import selection
from fashion_tuning.tracking.records import (
    StudyRecord,
    TrialRecord,
    find_studies,
    latest_attempts,
    read_attempts,
    read_predictions,
    read_study,
)
from fashion_tuning.tracking.store import Store


@dataclass(frozen=True)
class Row:
    """One completed trial and its place; `tied` where it can't be told from the best."""

    rank: int
    record: TrialRecord
    tied: bool


@dataclass(frozen=True)
class Leaderboard:
    """A study's completed trials in order, and the failed ones."""

    study: StudyRecord
    rows: tuple[Row, ...]
    failed: tuple[TrialRecord, ...]

    def as_dicts(self) -> list[dict[str, object]]:
        """One flat dict per completed trial, for JSON and CSV."""
        return [
            {
                "rank": row.rank,
                "trial": row.record.trial,
                **row.record.values,
                "best_val_accuracy": row.record.metrics["best_val_accuracy"],
                "best_val_accuracy_se": row.record.metrics["best_val_accuracy_se"],
                "tied_with_best": row.tied,
                "best_epoch": int(row.record.metrics["best_epoch"]),
                "epochs_run": int(row.record.metrics["epochs_run"]),
                "seconds": round(row.record.metrics["seconds"], 3),
                "published_val_accuracy": row.record.published_val_accuracy,
                "run_id": row.record.run_id,
            }
            for row in self.rows
        ]


def find_study(store: Store, name: str) -> StudyRecord:
    """The study that a name or a run id means.

    A name means the newest study run of that experiment; where there is none, of its drawn
    twin.

    Raises:
      UsageError: No study of that name or id.
      StoreError: The store can't be read.
    """
    for experiment in (name, f"{name}-drawn"):
        studies = find_studies(store, experiment)
        if studies:
            return studies[0]
    study = read_study(store, name)
    if study is None:
        known = [experiment for experiment in store.experiment_names() if find_studies(store, experiment)]
        raise UsageError(
            f"no study {name!r} in {store.uri}",
            expected=f"a run id, or one of: {', '.join(sorted(known))}" if known else "a study; this store has none",
            action="fashion-tuning tune experiments/xception_150.toml makes one",
        )
    return study


def leaderboard(store: Store, study: StudyRecord) -> Leaderboard:
    """Ranks a study's trials by best_val_accuracy and names the ties with the best.

    Raises:
      NoTrialError: No trial was completed.
      StoreError: The store can't be read.
    """
    records = latest_attempts(read_attempts(store, study))
    completed = [record for record in records if record.completed]
    if not completed:
        raise NoTrialError(
            f"study {study.digest} of {study.experiment!r} has no completed trial",
            action="run it: fashion-tuning tune with its card",
        )
    # On equal scores the earlier trial stands first.
    completed.sort(key=lambda record: (-(record.score or 0.0), record.trial))
    best = _correct(store, completed[0])
    rows = [
        Row(rank, record, rank == 1 or selection.tied(best, _correct(store, record)))
        for rank, record in enumerate(completed, 1)
    ]
    return Leaderboard(study, tuple(rows), tuple(record for record in records if record.failed))


def _correct(store: Store, record: TrialRecord) -> np.ndarray:
    """Which validation images each seed has right at the trial's best epoch, (seeds, images) bool."""
    probabilities, labels = read_predictions(store, record)
    return selection.correct(probabilities[:, int(record.metrics["best_epoch"]) - 1], labels)
