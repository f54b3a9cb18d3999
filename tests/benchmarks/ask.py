"""A Bayesian ask with twenty trials told: our batched acquisition against Keras Tuner's."""

import time
from pathlib import Path

import keras_tuner
import numpy as np

from fashion_tuning.config import load_card
from fashion_tuning.study.search import Search

TOLD = 20
ROUNDS = 5


def measure() -> list[tuple[str, str, str, str]]:
    """Median seconds of an ask, both told the same configurations and scores."""
    card = load_card(Path("experiments/xception_150.toml"))
    random = np.random.default_rng(1)
    search = Search(card)
    for trial in range(1, TOLD + 1):
        search.ask(trial)
        search.tell(trial, float(random.normal(0.82, 0.01)), standard_error=0.02)
    ours = []
    for trial in range(TOLD + 1, TOLD + 1 + ROUNDS):
        started = time.perf_counter()
        search.ask(trial)
        ours.append(time.perf_counter() - started)
        search.tell(trial, 0.82, standard_error=0.02)
    theirs = _keras_tuner(random)
    return [
        (
            f"Bayesian ask with {TOLD} trials told (median of {ROUNDS})",
            f"{np.median(ours):.3f} s",
            f"Keras Tuner's oracle {np.median(theirs):.2f} s",
            f"{np.median(theirs) / np.median(ours):.0f}",
        )
    ]


def _keras_tuner(random: np.random.Generator) -> list[float]:
    space = keras_tuner.HyperParameters()
    space.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    space.Choice("dense_units", [0, 10, 100, 1000])
    space.Float("dropout", 0.0, 0.8, step=0.1)
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        objective=keras_tuner.Objective("best_val_accuracy", "max"), max_trials=1000, seed=1, hyperparameters=space
    )
    oracle.save = oracle._save_trial = lambda *_: None  # no files: only the ask is timed
    oracle.verbose = 0
    seconds = []
    for number in range(TOLD + ROUNDS):
        started = time.perf_counter()
        trial = oracle.create_trial("bench")
        if number >= TOLD:
            seconds.append(time.perf_counter() - started)
        oracle.update_trial(trial.trial_id, {"best_val_accuracy": float(random.normal(0.82, 0.01))})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return seconds
