"""A Bayesian ask with twenty trials told: our batched acquisition against Keras Tuner's."""

import math
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import keras_tuner
import numpy as np

from fashion_tuning.config import load_card
from fashion_tuning.hyperparameters import Value
from fashion_tuning.study.search import Search, Suggestion

TOLD = 20
ROUNDS = 5


def measure() -> list[tuple[str, str, str, str]]:
    """Median seconds of an ask, both told the same configurations and scores."""
    card = load_card(Path("experiments/xception_150.toml"))
    random = np.random.default_rng(1)
    search = Search(card)

    def run(trial: int) -> None:
        suggestion = search.ask(trial)
        if not isinstance(suggestion, Suggestion):
            raise RuntimeError(f"expected a suggestion, received {suggestion}")
        search.tell(trial, score(suggestion.values, random), standard_error=0.005)

    for trial in range(1, TOLD + 1):
        run(trial)
    ours = []
    for trial in range(TOLD + 1, TOLD + 1 + ROUNDS):
        started = time.perf_counter()
        run(trial)
        ours.append(time.perf_counter() - started)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, on length scales
        theirs = _keras_tuner(random)
    return [
        (
            f"Bayesian ask with {TOLD} trials told (median of {ROUNDS})",
            f"{np.median(ours):.3f} s",
            f"Keras Tuner's oracle {np.median(theirs):.2f} s",
            f"{np.median(theirs) / np.median(ours):.0f}",
        )
    ]


def score(values: Mapping[str, Value], random: np.random.Generator) -> float:
    """A smooth hill like the one of the study, with the noise of three seeds."""
    hill = 0.83 - 0.02 * (math.log10(float(values["learning_rate"])) + 3.3) ** 2 - 0.03 * float(values["dropout"]) ** 2
    return float(random.normal(hill, 0.005))


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
        value = score(trial.hyperparameters.values, random)
        oracle.update_trial(trial.trial_id, {"best_val_accuracy": value})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return seconds
