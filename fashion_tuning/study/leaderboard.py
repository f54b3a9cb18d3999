"""The trials of a study, best first, with errors and ties; read-only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fashion_tuning.config import Card, Final
from fashion_tuning.errors import NoTrialError, StoreError
from fashion_tuning.hyperparameters import HYPERPARAMETERS, besides
from fashion_tuning.study import selection
from fashion_tuning.study.combinations import describe_offer, trials_offered
from fashion_tuning.study.recorded import read_card
from fashion_tuning.tracking.predictions import read_predictions
from fashion_tuning.tracking.records import (
    StudyRecord,
    TrialRecord,
    latest_attempts,
    read_attempts,
)
from fashion_tuning.tracking.store import Store


@dataclass(frozen=True)
class Row:
    """One completed trial and its place; `tied` where it can't be told from the best.

    `seeds` holds each seed's validation accuracy at the best epoch.
    """

    rank: int
    record: TrialRecord
    tied: bool
    seeds: tuple[float, ...]

    @property
    def also(self) -> str:
        """What sets the trial apart beside the usual three values: what else it names, and whether it was stopped."""
        pruned = f"pruned after epoch {self.record.metrics['epochs_run']:.0f}" if self.record.pruned else ""
        return ", ".join(part for part in (besides(self.record.values), pruned) if part)


@dataclass(frozen=True)
class Leaderboard:
    """A study's completed trials in order, and the failed ones.

    `chosen` is the trial that the card's rule picks, see `selection.smallest`; `flattery` what the best
    score owes to having been picked on these images, see `selection.flattery`; `exhausted` why there can be no
    more trials, "" where there can.
    """

    study: StudyRecord
    rows: tuple[Row, ...]
    failed: tuple[TrialRecord, ...]
    chosen: TrialRecord
    flattery: float
    exhausted: str = ""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Those that any completed trial names, in the order of `hyperparameters`."""
        return tuple(name for name in HYPERPARAMETERS if any(name in row.record.values for row in self.rows))

    def as_dicts(self) -> list[dict[str, object]]:
        """One flat dict per completed trial, for JSON and CSV; None where a hyperparameter is not active."""
        return [
            {
                "rank": row.rank,
                "trial": row.record.trial,
                **{name: row.record.values.get(name) for name in self.hyperparameters},
                "best_val_accuracy": row.record.metrics["best_val_accuracy"],
                "best_val_accuracy_se": row.record.metrics["best_val_accuracy_se"],
                "tied_with_best": row.tied,
                "chosen": row.record == self.chosen,
                "trainable_parameters": row.record.trainable_parameters,
                "best_epoch": int(row.record.metrics["best_epoch"]),
                "epochs_run": int(row.record.metrics["epochs_run"]),
                "pruned": row.record.pruned,
                "seconds": round(row.record.metrics["seconds"], 3),
                "published_val_accuracy": row.record.published_val_accuracy,
                "run_id": row.record.run_id,
            }
            for row in self.rows
        ]


def leaderboard(store: Store, study: StudyRecord, *, rule: str | None = None) -> Leaderboard:
    """Ranks a study's trials by best_val_accuracy, names the ties with the best, and picks one of them.

    Args:
      rule: "smallest" or "best"; None: what the card on record says in [final] choose.

    Raises:
      NoTrialError: No trial was completed.
      StoreError: The store can't be read.
    """
    records = latest_attempts(read_attempts(store, study))
    completed = [record for record in records if record.score is not None and math.isfinite(record.score)]
    if not completed:
        raise NoTrialError(
            f"study {study.digest} of {study.experiment!r} has no completed trial",
            action="run it: fashion-tuning tune with its card",
        )
    # On equal scores the earlier trial stands first.
    completed.sort(key=lambda record: (-(record.score or 0.0), record.trial))
    hits = [correct_by_epoch(store, record) for record in completed]
    at_best = [at_best_epoch(correct, record) for record, correct in zip(completed, hits, strict=True)]
    rows = [
        Row(
            rank,
            record,
            rank == 1 or selection.tied(at_best[0], correct),
            tuple(float(one) for one in correct.mean(axis=1)),
        )
        for rank, (record, correct) in enumerate(zip(completed, at_best, strict=True), 1)
    ]
    card = _card(store, study)
    failed = tuple(record for record in records if record.failed)
    offered = trials_offered(card) if card and card.search else None
    return Leaderboard(
        study,
        tuple(rows),
        failed,
        chosen=choose([row.record for row in rows if row.tied], rule=rule or (card.final if card else Final()).choose),
        flattery=selection.flattery(hits),
        exhausted=describe_offer(card) if card and offered is not None and len(rows) + len(failed) >= offered else "",
    )


def pick(store: Store, records: Sequence[TrialRecord], *, rule: str) -> TrialRecord:
    """Of completed trials the one that a card's `choose` picks among those that tie with the best."""
    ranked = sorted(records, key=lambda record: (-(record.score or 0.0), record.trial))
    hits = [at_best_epoch(correct_by_epoch(store, record), record) for record in ranked]
    tied = [one for one, correct in zip(ranked, hits, strict=True) if selection.tied(hits[0], correct)]
    return choose(tied, rule=rule)


def choose(tied: Sequence[TrialRecord], *, rule: str) -> TrialRecord:
    """The trial that a card's `choose` picks of those that tie with the best, best first."""
    if rule == "best":
        return tied[0]
    return selection.smallest(
        tied, parameters=lambda one: one.trainable_parameters, score=lambda one: one.metrics["best_val_accuracy"]
    )


def _card(store: Store, study: StudyRecord) -> Card | None:
    try:
        return read_card(store, study)
    except StoreError:
        return None  # `check` says what is wrong with the card on record


def correct_by_epoch(store: Store, record: TrialRecord) -> np.ndarray:
    """Which validation images each seed has right after each epoch, (seeds, epochs, images) bool."""
    probabilities, labels = read_predictions(store, record)
    return selection.correct(probabilities, labels)


def at_best_epoch(correct: np.ndarray, record: TrialRecord) -> np.ndarray:
    """Of `correct_by_epoch` the trial's best epoch, (seeds, images) bool."""
    return correct[:, int(record.metrics["best_epoch"]) - 1]
