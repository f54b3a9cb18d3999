"""Keras Tuner's oracles, kept in memory and open to given values."""

from __future__ import annotations

import copy
import random
from typing import Any

import keras_tuner

from fashion_tuning.study.search.space import Values, combinations

ENUMERATED = 2**14  # points of a finite space that are looked through one by one

RUNNING, IDLE, STOPPED = "RUNNING", "IDLE", "STOPPED"


class InMemory:
    """What every oracle of ours has beside Keras Tuner's: no files, own random states, given values.

    `given`, while it is set, is what the next trial runs with, without the oracle being
    asked; it counts among the trials as if the oracle had suggested it.
    """

    given: Values | None = None

    def reseed(self, seed: int) -> None:
        """Sets every random state the next ask depends on; `seed` in 0..2**31 - 1."""
        # Keras Tuner counts this up by one a draw: 65,536 draws lie between any two seeds.
        self._seed_state = seed << 16

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if self.given is not None:
            return {"status": RUNNING, "values": dict(self.given)}
        return super().populate_space(trial_id)  # type: ignore[misc]

    def untried(self) -> list[Values] | None:
        """The points of a finite space no trial has had yet; None for an infinite or very large one."""
        points = combinations(self.hyperparameters, limit=ENUMERATED)  # type: ignore[attr-defined]
        if points is None:
            return None
        return [point for point in points if not self._duplicate(point)]  # type: ignore[attr-defined]

    def _random_values(self) -> Values | None:
        values = super()._random_values()  # type: ignore[misc]
        if values is None:
            # Keras Tuner gives up after 21 draws of values it has had, though others may be left.
            remaining = self.untried()
            values = random.Random(self._seed_state).choice(remaining) if remaining else None
        return values

    def save(self) -> None:
        """Writes nothing: MLflow is the only memory."""

    def _save_trial(self, trial: Any) -> None:
        """Writes nothing: MLflow is the only memory."""


class RandomSearchOracle(InMemory, keras_tuner.oracles.RandomSearchOracle):
    """Independent draws from the space, each point once."""


class GridSearchOracle(InMemory, keras_tuner.oracles.GridSearchOracle):
    """Every combination in turn, ten values for a range without a step."""


class HyperbandOracle(InMemory, keras_tuner.oracles.HyperbandOracle):
    """Many short trials, the best promoted to longer ones (Li et al. 2018, jmlr.org/papers/v18/16-558.html)."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # An ask without an answer is not recorded, so that it must leave nothing behind.
        position = ("_brackets", "_current_bracket", "_current_iteration")
        before = copy.deepcopy({name: getattr(self, name) for name in position})
        response = super().populate_space(trial_id)
        if response["status"] != RUNNING:
            self.__dict__.update(before)
        return response
