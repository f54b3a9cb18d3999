"""When a trial that runs is stopped before its last epoch: it trails the others at the same epoch."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from fashion_tuning.config import Pruning


def last_epoch(curve: Sequence[float], epochs: int, patience: int | None) -> int:
    """Where a trial ends by itself: after `epochs`, or `patience` epochs after its best mean validation accuracy."""
    best, best_epoch = -1.0, 0
    for epoch, value in enumerate(curve, 1):
        if value > best:
            best, best_epoch = value, epoch
        elif patience and epoch - best_epoch >= patience:
            return epoch
    return epochs


def should_stop(
    settings: Pruning,
    curve: Sequence[float],
    others: Sequence[Sequence[float]],
    running: Sequence[Sequence[float]] = (),
) -> str:
    """Why a trial is to be stopped after its last epoch so far, as a clause; "" where it goes on.

    "median" is the stopping rule of Golovin et al. (2017), Google Vizier, section 3.2.1: the trial's best so far is
    below the median, over the other trials, of the mean of their curves up to the same epoch. "asha" is asynchronous
    successive halving (Li et al. 2020, arXiv:1810.05934): at the epochs start_epochs, start_epochs * factor,
    start_epochs * factor ** 2, ... a trial goes on where it is among the best 1 / factor of all that have come
    that far.

    Args:
      curve: Its mean validation accuracy after each epoch so far.
      others: Those of the trials that ended before, in full; stopped ones too.
      running: Those of the trials that run beside it, so far; "asha" counts them where they have come that far.
    """
    epoch = len(curve)
    if epoch < settings.start_epochs:
        return ""
    if settings.rule == "median":
        return _median(settings, curve, [other[:epoch] for other in others if other])
    return _asha(settings, curve, [other[epoch - 1] for other in (*others, *running) if len(other) >= epoch])


def _median(settings: Pruning, curve: Sequence[float], others: Sequence[Sequence[float]]) -> str:
    if len(others) < settings.start_trials:
        return ""
    middle = median(fmean(other) for other in others)
    if max(curve) >= middle:
        return ""
    return f"best {max(curve):.4f} is below {middle:.4f}, the median of {len(others)} trials up to epoch {len(curve)}"


def _asha(settings: Pruning, curve: Sequence[float], others: Sequence[float]) -> str:
    rung = settings.start_epochs
    while rung < len(curve):
        rung *= settings.factor
    if rung != len(curve):
        return ""
    num_better = sum(other > curve[-1] for other in others)
    num_kept = max(1, (1 + len(others)) // settings.factor)
    if num_better < num_kept:
        return ""
    return (
        f"{curve[-1]:.4f} after epoch {rung} is number {num_better + 1} of {len(others) + 1}, of which the first"
        f" {num_kept} go on"
    )
