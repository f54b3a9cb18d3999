"""A study as pandas and Matplotlib objects, for notebooks and scripts; read-only."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from fashion_tuning.hyperparameters import HYPERPARAMETERS
from fashion_tuning.options import READING
from fashion_tuning.quiet import silent_stderr

with silent_stderr():
    from fashion_tuning.study.leaderboard import leaderboard
    from fashion_tuning.study.lookup import find_study
    from fashion_tuning.tracking.records import StudyRecord, TrialRecord, latest_attempts, read_attempts, read_curve
    from fashion_tuning.tracking.store import Store
    from fashion_tuning.tracking.trial_run import CURVES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BEFORE = ("rank", "trial", "status")
_AFTER = (
    "best_val_accuracy", "best_val_accuracy_se", "tied_with_best", "chosen", "trainable_parameters", "best_epoch",
    "epochs_run", "pruned", "seconds", "published_val_accuracy", "error", "error_message", "run_id",
)  # fmt: skip
_WHOLE = ("rank", "best_epoch", "epochs_run")


class LoadedStudy:
    """A study's trials, epochs and figures, each read from MLflow when it is first asked for.

    A study that goes on meanwhile is not read again: load it anew.

    Attributes:
      name: Of its experiment.
      run_id: Of its MLflow run.
    """

    def __init__(self, store: Store, record: StudyRecord) -> None:
        self.name = record.experiment
        self.run_id = record.run_id
        self._store = store
        self._record = record

    def __repr__(self) -> str:
        return f"<study {self.name!r}, run {self.run_id}>"

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial: completed ones best first, then the others by number.

        Columns: `rank` (missing where the trial was not completed), `trial`, `status` (MLflow's), `learning_rate`,
        `dense_units`, `dropout` and what else any trial names, `best_val_accuracy`
        (mean over seeds, a share of the validation photos),
        `best_val_accuracy_se` (its standard error), `tied_with_best`, `chosen`, `trainable_parameters`,
        `best_epoch`, `epochs_run`, `pruned` (why it was stopped early, "" where it was not), `seconds`,
        `published_val_accuracy`, `error`, `error_message`, `run_id`.

        Raises:
          NoTrialError: No trial was completed.
          StoreError: The store can't be read.
        """
        board = leaderboard(self._store, self._record)
        by_run = {record.run_id: record for record in self._attempts}
        rows: list[dict[str, object]] = []
        for ranked in board.as_dicts():
            rows.append({**ranked, **_state(by_run.pop(str(ranked["run_id"])))})
        for record in by_run.values():
            unranked = {"trial": record.trial, **record.values, "trainable_parameters": record.trainable_parameters}
            rows.append({**unranked, "tied_with_best": False, "chosen": False, **_state(record)})
        names = [name for name in HYPERPARAMETERS if any(row.get(name) is not None for row in rows)]
        return pd.DataFrame(rows, columns=[*_BEFORE, *names, *_AFTER]).astype(dict.fromkeys(_WHOLE, "Int64"))

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row per trial, seed, epoch and metric, of all trials that have any.

        Columns: `trial`, `seed` (1, 2, ...), `epoch` (1, 2, ...), `metric` (loss, accuracy, val_loss or
        val_accuracy), `value` (of an accuracy a share of the photos, of a loss the mean cross-entropy in nats).

        Raises:
          StoreError: The store can't be read.
        """
        rows = [
            (record.trial, seed, epoch, metric, value)
            for record in self._attempts
            for seed in range(1, 1 + int(record.parameters.get("seeds", 0)))
            for metric in CURVES
            for epoch, value in read_curve(self._store, record.run_id, f"seed_{seed}/{metric}")
        ]
        return pd.DataFrame(rows, columns=["trial", "seed", "epoch", "metric", "value"])

    @property
    def best(self) -> pd.Series:
        """The row of `trials` with the highest best_val_accuracy."""
        return self.trials.iloc[0]

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The report's figures by name, such as "history" or "importance"; drawn in some seconds.

        Raises:
          NoTrialError: No trial was completed.
          StoreError: The store can't be read.
        """
        from fashion_tuning.report.material import read_material
        from fashion_tuning.report.sections import make_sections

        sections = make_sections(read_material(self._store, self._record))
        return {one.name: one.figure for one in sections if one.figure is not None}

    @cached_property
    def _attempts(self) -> list[TrialRecord]:
        return latest_attempts(read_attempts(self._store, self._record))


def load_study(name_or_run_id: str, *, tracking_uri: str | None = None) -> LoadedStudy:
    """See `fashion_tuning.load_study`."""
    store = Store(tracking_uri, must_exist=True, patience=READING)
    return LoadedStudy(store, find_study(store, name_or_run_id))


def _state(record: TrialRecord) -> dict[str, object]:
    return {
        "status": record.status,
        "pruned": record.pruned,
        "error": record.error,
        "error_message": record.error_message,
        "run_id": record.run_id,
    }
