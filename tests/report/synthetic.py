"""Studies whose outcome is known, as a report reads them from a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from small_board import STUDY, failed_record, trial_record

from fashion_tuning.config import Card, parse_card
from fashion_tuning.hyperparameters import Number
from fashion_tuning.report.material import Failure, Material, Trial
from fashion_tuning.study.leaderboard import Leaderboard, Row

CARD_TEXT = """
name = "synthetic"
seed = 1
[images]
image_size = 150
[training]
epochs = 4
seeds = 2
[search]
tuner = "random"
max_trials = 300
[space.learning_rate]
type = "float"
min_value = 1e-4
max_value = 1e-2
sampling = "log"
[space.dense_units]
type = "choice"
values = [0, 10, 100, 1000]
[space.dropout]
type = "float"
min_value = 0.0
max_value = 0.8
"""
PHOTOS = {"train": 3068, "validation": 341}
CARD = parse_card(CARD_TEXT, name="synthetic")


def draw_values(num_trials: int, *, seed: int = 0) -> list[dict[str, Number]]:
    """Values inside the card's space."""
    random = np.random.default_rng(seed)
    return [
        {
            "learning_rate": float(10 ** random.uniform(-4, -2)),
            "dense_units": int(random.choice([0, 10, 100, 1000])),
            "dropout": float(random.uniform(0, 0.8)),
        }
        for _ in range(num_trials)
    ]


def make_trials(
    values: Sequence[Mapping[str, Number]],
    scores: Sequence[float],
    *,
    error: float = 0.01,
    seconds: Callable[[Mapping[str, Number]], float] = lambda one: 2.0 + one["dense_units"] / 100,
    gap: Callable[[Mapping[str, Number]], float] = lambda one: 0.1 - one["dropout"] / 10,
) -> tuple[Trial, ...]:
    """Trials 1, 2, ... with four epochs, best in the third; those within `error` of the best tie with it."""
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    trials = []
    for place, (one, score) in enumerate(zip(values, scores, strict=True)):
        metrics = {
            "best_val_accuracy": score,
            "best_val_accuracy_se": error,
            "best_epoch": 3.0,
            "epochs_run": 4.0,
            "seconds": seconds(one),
        }
        record = replace(trial_record(place + 1), values=dict(one), metrics=metrics, epochs=4)
        curve = (score - 0.03, score - 0.01, score, score - 0.02)
        row = Row(order.index(place) + 1, record, max(scores) - score <= error, (score - 0.01, score + 0.01))
        trials.append(Trial(row, tuple(value + gap(one) for value in curve), curve))
    return tuple(trials)


def make_material(trials: Sequence[Trial], *, card: Card = CARD, num_failed: int = 0) -> Material:
    """A finished study of these trials, and failed ones after them."""
    failures = tuple(Failure(failed_record(len(trials) + 1 + place), (0.3, 0.2)) for place in range(num_failed))
    rows = tuple(sorted((trial.row for trial in trials), key=lambda row: row.rank))
    study = replace(STUDY, experiment="synthetic")
    board = Leaderboard(study, rows, tuple(one.record for one in failures), chosen=rows[0].record, flattery=0.01)
    provenance = {"manifest": "0123456789abcdef", "commit": "fedcba", "processor": "any", "keras": "3.15.1"}
    return Material(study, card, board, tuple(trials), failures, {"seconds_trials": 61.0}, provenance, PHOTOS, None)
