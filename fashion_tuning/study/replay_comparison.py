"""A trial that was trained again beside its record: every figure, every curve, every prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fashion_tuning.errors import StoreError
from fashion_tuning.model.epochs import EpochResult
from fashion_tuning.study import selection
from fashion_tuning.study.executors import Failed
from fashion_tuning.tracking.predictions import read_predictions
from fashion_tuning.tracking.records import TrialRecord, read_curve
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.trial_run import CURVES


@dataclass(frozen=True)
class Comparison:
    """A figure on record and its replay; of a curve the last values, and the largest difference over all epochs."""

    name: str
    recorded: float | str
    replayed: float | str
    difference: float


def compare(
    store: Store,
    record: TrialRecord,
    results: list[EpochResult],
    failure: Failed | None,
    *,
    labels: np.ndarray,
    num_seeds: int,
) -> tuple[Comparison, ...]:
    """Every figure of a trial beside that of its replay, and the predictions that the trial has kept.

    Args:
      failure: What the replay has ended with; None where it came to its end.
      labels: (images,) int, of the validation photos.

    Raises:
      StoreError: The store can't be read.
    """
    replayed_error = failure.kind if failure else ""
    if record.error or replayed_error:
        same = 0.0 if record.error == replayed_error else float("inf")
        outcome = Comparison("outcome", record.error or "completed", replayed_error or "completed", same)
        return (outcome, *_compare_curves(store, record, results, num_seeds=num_seeds))
    probabilities = np.stack([result.probabilities for result in results])
    curve = [float(result.val_accuracy.mean()) for result in results]
    best_epoch = selection.best_epoch(curve)
    correct = selection.correct(probabilities[best_epoch - 1], labels)
    best = {
        "best_val_accuracy": curve[best_epoch - 1],
        "best_val_accuracy_se": selection.standard_error(correct),
        "best_epoch": float(best_epoch),
        "epochs_run": float(len(curve)),
    }
    if (spread := selection.seed_spread(correct)) is not None:
        best["best_val_accuracy_seed_sd"] = spread
    comparisons = [
        Comparison(name, record.metrics[name], value, abs(record.metrics[name] - value)) for name, value in best.items()
    ]
    comparisons += _compare_curves(store, record, results, num_seeds=num_seeds)
    try:
        kept, _ = read_predictions(store, record)
    except StoreError:
        return tuple(comparisons)  # damaged: `check` names it, and the metrics decide
    ours = probabilities.swapaxes(0, 1)
    largest = float(np.abs(kept - ours).max()) if kept.shape == ours.shape else float("inf")
    return (*comparisons, Comparison("predictions", float(kept.mean()), float(ours.mean()), largest))


def _compare_curves(
    store: Store, record: TrialRecord, results: list[EpochResult], *, num_seeds: int
) -> list[Comparison]:
    comparisons = []
    for name in CURVES:
        for seed in range(1, num_seeds + 1):
            ours = [float(getattr(result, name)[seed - 1]) for result in results]
            theirs = [value for _, value in read_curve(store, record.run_id, f"seed_{seed}/{name}")]
            same_length = len(ours) == len(theirs)
            largest = float(np.abs(np.subtract(ours, theirs)).max(initial=0.0)) if same_length else float("inf")
            last = [curve[-1] if curve else "none" for curve in (theirs, ours)]
            comparisons.append(Comparison(f"seed_{seed}/{name}", last[0], last[1], largest))
    return comparisons
