"""Bayesian optimization with an acquisition computed in batches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

import keras_tuner
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import qmc
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel, Matern
from threadpoolctl import ThreadpoolController

from fashion_tuning.hyperparameters import Value
from fashion_tuning.study.search.oracles import RUNNING, STOPPED, InMemory
from fashion_tuning.study.search.space import Values, active_values, legal_values

DEFAULT_ALPHA = 1e-4  # Keras Tuner's, for scores without a standard error
SMALLEST_ALPHA = 1e-6  # keeps the kernel matrix positive definite
LENGTH_SCALES = (0.05, 20.0)  # in a unit cube: from no neighbours to almost a plane
NUM_CANDIDATES = 2**11
NUM_BEST, NUM_AROUND = 16, 32
WIDTHS = (0.1, 0.025, 0.006, 0.0015)  # of the rounds of perturbation around the best


class BayesianOptimizationOracle(InMemory, keras_tuner.oracles.BayesianOptimizationOracle):
    """Keras Tuner's Bayesian oracle, with measured noise and a faster acquisition.

    A Gaussian process is fitted to the scores and the point with the best upper confidence
    bound comes next (Srinivas et al. 2010, arxiv.org/abs/0912.3995; keras.io/api/keras_tuner/
    tuners/bayesian). Keras Tuner searches that point with 50 runs of L-BFGS, one prediction a
    step, anywhere between the legal values; here a few thousand legal points are scored at
    once, then points around the best. The noise is one for all trials, since a few
    seeds tell too little of one: the mean square of `standard_errors` over the variance of
    the scores, unless `alpha` is given. The
    length scale is found by a scan, not by random restarts, and a suggestion never repeats
    values while others remain.
    """

    def __init__(self, *, alpha: float | None, **settings: Any) -> None:
        super().__init__(alpha=alpha or DEFAULT_ALPHA, **settings)
        self.given_alpha = alpha
        self.standard_errors: dict[str, float] = {}

    def reseed(self, seed: int) -> None:
        super().reseed(seed)
        self._random_state = np.random.RandomState(seed)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        completed = [trial for trial in self.trials.values() if trial.status == "COMPLETED"]
        initial = self.num_initial_points or max(3 * len(self.hyperparameters.space), 3)
        if self.given is not None:
            return super().populate_space(trial_id)
        if len(completed) < initial or not self._axes:
            return self._random_populate_space()
        with warnings.catch_warnings(), _threads().limit(limits=1, user_api="blas"):
            # A length scale at its bound, or a variance of -1e-17, is nothing a person could act on.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "Predicted variances", UserWarning)
            values = self.minimum(self.fit(completed))
        return {"status": RUNNING if values else STOPPED, "values": values}

    def fit(self, completed: Sequence[Any]) -> GaussianProcessRegressor:
        """The Gaussian process of minus the scores, with running trials at a pessimistic guess."""
        positions = self._positions(completed)
        scores = -np.array([trial.score for trial in completed])
        errors = [self.standard_errors.get(trial.trial_id, math.nan) for trial in completed]
        process = _gaussian_process(positions, scores, self._alpha(errors, scores))
        if running := list(self.ongoing_trials.values()):
            elsewhere = self._positions(running)
            mean, deviation = process.predict(elsewhere, return_std=True)
            positions, scores = np.vstack([positions, elsewhere]), np.append(scores, mean + deviation)
            alpha = self._alpha(errors + [math.nan] * len(running), scores)
            process = _gaussian_process(positions, scores, alpha, kernel=process.kernel_)
        return process

    def minimum(self, process: GaussianProcessRegressor) -> Values | None:
        """The untried legal values with the lowest confidence bound; None when all were tried."""

        def bound(positions: np.ndarray) -> np.ndarray:
            mean, deviation = process.predict(positions, return_std=True)
            return mean - self.beta * deviation

        untried = self.untried()
        if untried is not None and len(untried) <= NUM_CANDIDATES:
            if not untried:
                return None
            return untried[int(np.argmin(bound(self._embed(untried))))]
        positions, bounds = self.candidates(bound)
        for index in np.argsort(bounds, kind="stable"):
            values = self._values(positions[index])
            if not self._duplicate(values):
                return values
        return self._random_values()

    def candidates(self, bound: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Legal positions, closer and closer to the lowest bounds: (count, axes) and their bounds (count,)."""
        dimensions = len(self._axes)
        sobol = qmc.Sobol(dimensions, seed=self._random_state.randint(2**31))
        positions = self._snap(sobol.random(NUM_CANDIDATES))
        bounds = bound(positions)
        for width in WIDTHS:
            best = positions[np.argsort(bounds, kind="stable")[:NUM_BEST], None]
            around = best + width * self._random_state.normal(size=(NUM_BEST, NUM_AROUND, dimensions))
            around = self._snap(np.clip(around, 0, 1).reshape(-1, dimensions))
            positions, bounds = np.vstack([positions, around]), np.append(bounds, bound(around))
        return positions, bounds

    @cached_property
    def _axes(self) -> tuple[_Axis, ...]:
        return tuple(_Axis(parameter) for parameter in self._nonfixed_space())

    def _alpha(self, errors: Sequence[float], scores: np.ndarray) -> np.ndarray:
        if self.given_alpha is not None:
            return np.full(len(scores), self.given_alpha)
        variances = np.square(errors) / (np.var(scores) or 1.0)
        known = variances[np.isfinite(variances)]
        usual = float(known.mean()) if known.size else DEFAULT_ALPHA
        return np.full(len(scores), max(usual, SMALLEST_ALPHA))

    def _positions(self, trials: Sequence[Any]) -> np.ndarray:
        return self._embed([trial.hyperparameters.values for trial in trials])

    def _embed(self, points: Sequence[Values]) -> np.ndarray:
        """Points as (count, axes) positions; what is not active in one lies at its default, as with Keras Tuner."""
        return np.array(
            [[axis.position(point.get(axis.name, axis.default)) for axis in self._axes] for point in points]
        )

    def _snap(self, positions: np.ndarray) -> np.ndarray:
        return np.column_stack([axis.snap(column) for axis, column in zip(self._axes, positions.T, strict=True)])

    def _values(self, position: np.ndarray) -> Values:
        found = {axis.name: axis.value(place) for axis, place in zip(self._axes, position, strict=True)}
        every = {
            parameter.name: found.get(parameter.name, parameter.default) for parameter in self.hyperparameters.space
        }
        return active_values(self.hyperparameters, every)


class _Axis:
    """One searched parameter as positions in 0..1, after Keras Tuner's own embedding."""

    def __init__(self, parameter: Any) -> None:
        self.name: str = parameter.name
        self.default: Value = parameter.default
        self.position: Callable[[Value], float] = parameter.value_to_prob
        self._parameter = parameter
        self._legal = legal_values(parameter)
        self._grid = None if self._legal is None else np.array([self.position(value) for value in self._legal])

    def snap(self, positions: np.ndarray) -> np.ndarray:
        """The positions (count,) of the nearest legal values."""
        return positions if self._grid is None else self._grid[self._nearest(positions)]

    def value(self, position: float) -> Value:
        if self._legal is not None:
            return self._legal[int(self._nearest(np.array([position]))[0])]
        value = self._parameter.prob_to_value(float(position))
        return min(max(value, self._parameter.min_value), self._parameter.max_value)

    def _nearest(self, positions: np.ndarray) -> np.ndarray:
        grid = self._grid
        return np.searchsorted((grid[1:] + grid[:-1]) / 2, positions)  # type: ignore[index]


def _gaussian_process(
    positions: np.ndarray, scores: np.ndarray, alpha: np.ndarray, *, kernel: Kernel | None = None
) -> GaussianProcessRegressor:
    """Fits a Matérn 5/2 process; `kernel` is taken as it is, without it the length scale is searched."""
    return GaussianProcessRegressor(
        kernel=kernel or Matern(nu=2.5, length_scale_bounds=LENGTH_SCALES),
        optimizer=None if kernel else _scan,
        alpha=alpha,
        normalize_y=True,
    ).fit(positions, scores)


@cache
def _threads() -> ThreadpoolController:
    """On a busy machine, threads waiting for each other cost 0.1 s per small matrix; one alone takes 1 ms."""
    return ThreadpoolController()


def _scan(objective: Callable[..., float], _: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
    """The one logarithm of a length scale with the highest likelihood: a coarse scan, then Brent's method."""

    def cost(logarithm: float) -> float:
        return float(objective(np.array([logarithm]), eval_gradient=False))

    low, high = bounds[0]
    grid = np.linspace(float(low), float(high), 13)
    lowest = int(np.argmin([cost(point) for point in grid]))
    inside = (grid[max(lowest - 1, 0)], grid[min(lowest + 1, len(grid) - 1)])
    best = minimize_scalar(cost, bounds=inside, method="bounded", options={"xatol": 1e-3})
    return np.array([best.x]), float(best.fun)
