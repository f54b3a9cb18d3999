"""Importance on studies whose score is a known function of the values."""

import numpy as np
import pytest
from synthetic import CARD, draw_values

from fashion_tuning.report.importance import MIN_TRIALS, importances

EVALUATORS = ["fANOVA", "PED-ANOVA", "mean decrease in impurity"]


def test_a_score_of_the_learning_rate_alone_puts_it_first_for_all() -> None:
    values = draw_values(60, seed=1)
    scores = [0.8 - 0.1 * (np.log10(one["learning_rate"]) + 3) ** 2 for one in values]
    found = importances(CARD.space, values, scores)
    assert [one.evaluator for one in found] == EVALUATORS
    for one in found:
        assert one.shares[0].name == "learning_rate"
        assert one.shares[0].low > one.shares[1].high, one
        assert sum(share.value for share in one.shares) == pytest.approx(1.0)
        for share in one.shares:
            assert 0.0 <= share.low <= share.high <= 1.0


def test_noise_leaves_intervals_that_overlap() -> None:
    values = draw_values(20, seed=2)
    scores = np.random.default_rng(3).normal(0.8, 0.01, 20).tolist()
    for one in importances(CARD.space, values, scores):
        assert one.shares[0].low <= one.shares[1].high


def test_the_same_trials_give_the_same_shares() -> None:
    values = draw_values(12, seed=5)
    scores = [0.8 - one["dropout"] / 10 for one in values]
    assert importances(CARD.space, values, scores) == importances(CARD.space, values, scores)


def test_nothing_is_estimated_without_a_search_or_with_too_little() -> None:
    values = draw_values(MIN_TRIALS, seed=6)
    scores = [0.8 + place / 100 for place in range(MIN_TRIALS)]
    assert importances(None, values, scores) == ()
    assert importances(CARD.space, values[:-1], scores[:-1]) == ()
    assert importances(CARD.space, values, [0.8] * MIN_TRIALS) == ()
    assert importances(CARD.space, values, scores)
