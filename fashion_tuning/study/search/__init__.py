"""Where trials' values come from: Keras Tuner's oracles, asked and told."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras_tuner
from keras_tuner.src.engine import oracle as engine

from fashion_tuning.config import Card
from fashion_tuning.errors import StoreError
from fashion_tuning.hyperparameters import HYPERPARAMETERS, Value
from fashion_tuning.seeds import derive_seed
from fashion_tuning.study.search.bayesian import BayesianOptimizationOracle
from fashion_tuning.study.search.oracles import (
    IDLE,
    STOPPED,
    GridSearchOracle,
    HyperbandOracle,
    RandomSearchOracle,
)
from fashion_tuning.study.search.space import hyperparameters, nearest_legal
from fashion_tuning.study.suggestion import WAITING, Suggestion, Waiting

OBJECTIVE = "best_val_accuracy"


class Search:
    """One study's oracle, in memory only; a recorded study is played to a new one in its order.

    Trials are named by the caller's own numbers. `list`, `replay` and `ask` start a trial,
    `tell` ends it; several may run at once. The random states of an ask depend on the card's
    seed and the trial's number alone, so that after the same calls the same ask has the
    same answer. An ask answered WAITING or None leaves nothing behind and is not replayed.

    Args:
      card: A card with a search and a space.
    """

    def __init__(self, card: Card) -> None:
        if card.search is None or card.space is None:
            raise ValueError(f"card {card.name!r} has no search and no space")
        self._seed = card.seed
        self._oracle = _oracle(card)
        self._by_values = card.search.tuner in ("random", "bayesian")
        self._running: dict[int, Any] = {}
        self._numbers: dict[str, int] = {}

    def list(self, trial: int, values: Mapping[str, Value]) -> None:
        """Starts a configuration of the card's list; grid and hyperband are not told of it."""
        if self._by_values:
            self._start(trial, given=values)
        else:
            self._running[trial] = None

    def ask(self, trial: int) -> Suggestion | Waiting | None:
        """What a new trial is to run; None when the search is over."""
        return self._start(trial)

    def replay(self, trial: int, suggestion: Suggestion) -> None:
        """Starts a trial that was asked for earlier and had this answer.

        Random and Bayesian search take the recorded values and compute nothing; grid and
        hyperband are asked again, which brings them where they were.

        Raises:
          StoreError: The search answers differently now.
        """
        if self._by_values:
            self._start(trial, given=suggestion.values)
        elif (again := self._start(trial)) != suggestion:
            raise StoreError(
                f"the record of trial {trial} differs from what the search asks for",
                expected=f"{again}, but the record says {suggestion}",
                action="start the study anew with --fresh; its runs stay where they are",
            )

    def tell(self, trial: int, score: float | None, *, standard_error: float | None = None) -> None:
        """Ends a trial: its objective in 0..1, or None (or NaN, inf) when it failed.

        Raises:
          KeyError: The trial is not running.
        """
        started = self._running.pop(trial)
        if started is None:
            return
        with _alone(self._oracle):
            if score is None or not math.isfinite(score):
                started.status = "FAILED"
            else:
                started.status = "COMPLETED"
                self._oracle.update_trial(started.trial_id, {OBJECTIVE: float(score)})
                if isinstance(self._oracle, BayesianOptimizationOracle) and standard_error is not None:
                    self._oracle.standard_errors[started.trial_id] = standard_error
            self._oracle.end_trial(started)

    def _start(self, trial: int, *, given: Mapping[str, Value] | None = None) -> Suggestion | Waiting | None:
        self._oracle.reseed(derive_seed(self._seed, "ask", trial))
        self._oracle.given = nearest_legal(self._oracle.hyperparameters, given) if given is not None else None
        with _alone(self._oracle):
            started = self._oracle.create_trial(f"trial {trial}")
        if started.status == IDLE:
            return WAITING
        if started.status == STOPPED:
            return None
        self._running[trial] = started
        self._numbers[started.trial_id] = trial
        return self._suggestion(started.hyperparameters.values)

    def _suggestion(self, found: Mapping[str, Any]) -> Suggestion:
        values: dict[str, Value] = {
            name: one.kind(found[name]) for name, one in HYPERPARAMETERS.items() if name in found
        }
        scope = {name: value for name, value in found.items() if name.startswith("tuner/")}
        if "tuner/trial_id" in scope:
            scope["tuner/trial_id"] = self._numbers[scope["tuner/trial_id"]]
        return Suggestion(values, scope)


def _oracle(card: Card) -> Any:
    search, space = card.search, card.space
    if search is None or space is None:
        raise ValueError(f"card {card.name!r} has no search and no space")
    settings: dict[str, Any] = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "hyperparameters": hyperparameters(space),
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": card.seed,
        # Trials and failures are counted by the study.
        "max_consecutive_failed_trials": math.inf,
    }
    oracle: Any
    if search.tuner == "random":
        oracle = RandomSearchOracle(max_trials=None, **settings)
    elif search.tuner == "grid":
        oracle = GridSearchOracle(max_trials=None, **settings)
    elif search.tuner == "hyperband":
        oracle = HyperbandOracle(
            max_epochs=card.training.epochs,
            factor=search.factor or 3,
            hyperband_iterations=search.hyperband_iterations or 1,
            **settings,
        )
    else:
        oracle = BayesianOptimizationOracle(
            max_trials=None,
            alpha=search.alpha,
            beta=2.6 if search.beta is None else search.beta,
            num_initial_points=search.num_initial_points,
            **settings,
        )
    oracle.verbose = 0
    return oracle


@contextmanager
def _alone(oracle: Any) -> Iterator[None]:
    """Calls to Keras Tuner's synchronized methods, without what they leave behind.

    They name their thread by a deprecated function, and keep lock and oracle for ever,
    the lock held after an exception.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"(currentThread|getName)\(\) is deprecated", DeprecationWarning)
            yield
    finally:
        engine.LOCKS.pop(oracle, None)
        engine.THREADS.pop(oracle, None)
