"""Which hyperparameters matter, by Optuna's evaluators: several, since they answer different questions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fashion_tuning.config import Choice, Fixed, FloatRange, IntRange, Space
from fashion_tuning.hyperparameters import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.importance import BaseImportanceEvaluator

MIN_TRIALS: Final = 8
NUM_DRAWS: Final = 30
SEED: Final = 1
NUM_TREES: Final = 16


@dataclass(frozen=True)
class Share:
    """One hyperparameter's share of the importance, 0..1, with a 90% bootstrap interval over trials."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """What one evaluator says: the shares of all searched hyperparameters, largest first."""

    evaluator: str
    shares: tuple[Share, ...]


def importances(
    space: Space | None, values: Sequence[Mapping[str, Value]], scores: Sequence[float]
) -> tuple[Importance, ...]:
    """Importance by fANOVA, PED-ANOVA and mean decrease in impurity; read-only.

    fANOVA (Hutter, Hoos and Leyton-Brown 2014) shares out the variance over the whole space, PED-ANOVA (Watanabe,
    Bansal and Hutter 2023) asks what sets the best tenth apart, mean decrease in impurity (Breiman 2001) what a
    random forest splits by. The intervals are percentiles over studies whose trials are drawn with replacement.

    Args:
      space: The card's; None for a list of configurations.
      values: Of completed trials; scores: theirs.

    Returns:
      Nothing where fewer than two hyperparameters were searched, or trials are too few or all alike. One that is
      active in some trials only is left out.
    """
    searched = {
        name: allowed
        for name, allowed in (space.items() if space else ())
        if _varies(allowed) and all(name in one for one in values)
    }
    if len(searched) < 2 or len(values) < MIN_TRIALS or np.ptp(scores) == 0:
        return ()
    import optuna
    from optuna.importance import (
        FanovaImportanceEvaluator,
        MeanDecreaseImpurityImportanceEvaluator,
        PedAnovaImportanceEvaluator,
    )

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PED-ANOVA is marked experimental
        makers: dict[str, Callable[[], BaseImportanceEvaluator]] = {
            "fANOVA": lambda: FanovaImportanceEvaluator(n_trees=NUM_TREES, seed=SEED),
            "PED-ANOVA": PedAnovaImportanceEvaluator,
            "mean decrease in impurity": lambda: MeanDecreaseImpurityImportanceEvaluator(n_trees=NUM_TREES, seed=SEED),
        }
        distributions = {name: _distribution(allowed) for name, allowed in searched.items()}
        rows = [np.arange(len(values)), *_draws(len(values), np.asarray(scores))]
        found = []
        for evaluator, make in makers.items():
            drawn = [
                _evaluate(make(), distributions, [values[row] for row in some], [scores[row] for row in some])
                for some in rows
            ]
            whole, samples = drawn[0], drawn[1:]
            shares = [
                Share(name, whole[name], *(float(q) for q in np.percentile([one[name] for one in samples], [5, 95])))
                for name in searched
            ]
            found.append(Importance(evaluator, tuple(sorted(shares, key=lambda share: -share.value))))
    return tuple(found)


def _varies(allowed: FloatRange | IntRange | Choice | Fixed) -> bool:
    return not isinstance(allowed, Fixed) and not (isinstance(allowed, Choice) and len(allowed.values) == 1)


def _draws(num_trials: int, scores: np.ndarray) -> list[np.ndarray]:
    """Trials drawn with replacement, such that their scores are not all alike."""
    random = np.random.default_rng(SEED)
    found: list[np.ndarray] = []
    while len(found) < NUM_DRAWS:
        rows = random.integers(0, num_trials, num_trials)
        if np.ptp(scores[rows]) > 0:
            found.append(rows)
    return found


def _distribution(allowed: FloatRange | IntRange | Choice | Fixed) -> BaseDistribution:
    """The range in Optuna's words. Steps are left out: importance asks where a value lies, not which are allowed."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(allowed, Choice):
        return CategoricalDistribution(allowed.values)
    if isinstance(allowed, IntRange):
        return IntDistribution(allowed.min_value, allowed.max_value, log=allowed.sampling == "log")
    if isinstance(allowed, FloatRange):
        return FloatDistribution(allowed.min_value, allowed.max_value, log=allowed.sampling == "log")
    raise TypeError(f"{allowed} is not searched")


def _evaluate(
    evaluator: BaseImportanceEvaluator,
    distributions: Mapping[str, BaseDistribution],
    values: Sequence[Mapping[str, Value]],
    scores: Sequence[float],
) -> dict[str, float]:
    import optuna

    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: one[name] for name in distributions}, distributions=dict(distributions), value=score
            )
            for one, score in zip(values, scores, strict=True)
        ]
    )
    # Without `params`: given them in another order than by name, Optuna 5.0 mislabels mean decrease in impurity.
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    total = sum(found.values())
    return {name: float(found[name] / total) if total > 0 else 1 / len(found) for name in distributions}
