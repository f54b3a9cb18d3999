"""Which trial is best, and how sure that is: epochs, standard errors, ties."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
from scipy.stats import spearmanr

DRAWS = 1000

T = TypeVar("T")


def best_epoch(mean_val_accuracy: Sequence[float]) -> int:
    """The epoch, counted from 1, where the mean validation accuracy is highest; the first on ties.

    Raises:
      ValueError: There is no epoch, or one that is NaN.
    """
    curve = np.asarray(mean_val_accuracy, dtype=float)
    if curve.size == 0 or np.isnan(curve).any():
        raise ValueError(f"a curve of at least one epoch without NaN is needed, received {list(mean_val_accuracy)}")
    return int(np.argmax(curve)) + 1


def correct(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where the likeliest class is the true one.

    Args:
      probabilities: Float, (seeds, images, classes).
      labels: Int, (images,).

    Returns:
      Bool, (seeds, images).
    """
    return probabilities.argmax(axis=-1) == labels


def standard_error(correct: np.ndarray, *, num_draws: int = DRAWS, seed: int = 0) -> float:
    """Bootstrap standard error of the mean accuracy, seeds and images drawn anew together.

    Both are drawn with replacement, every image drawn for all seeds alike, since the same
    images measure every seed (Efron and Tibshirani 1993, An Introduction to the Bootstrap).

    Args:
      correct: Bool or a difference of two, (seeds, images).
      num_draws: Bootstrap samples.
      seed: Of the draws: the same draws for all trials of a study.
    """
    num_seeds, num_images = correct.shape
    seeds, images = _counts(num_seeds, num_images, num_draws, seed)
    sums = ((seeds @ correct.astype(float)) * images).sum(axis=1)
    return float(sums.std(ddof=1)) / correct.size


def seed_spread(correct: np.ndarray) -> float | None:
    """Sample standard deviation of the seeds' accuracies; None with one seed. Takes (seeds, images)."""
    return float(correct.mean(axis=1).std(ddof=1)) if len(correct) > 1 else None


def difference_error(a: np.ndarray, b: np.ndarray, *, num_draws: int = DRAWS, seed: int = 0) -> float:
    """Standard error of the difference of two mean accuracies, paired by seed and by image.

    Args:
      a, b: Bool, (seeds, images), of the same shape: the same seeds on the same images.

    Raises:
      ValueError: The shapes differ, so that there is nothing to pair.
    """
    if a.shape != b.shape:
        raise ValueError(f"pairs need the same seeds and images, received {a.shape} and {b.shape}")
    return standard_error(a.astype(np.int8) - b.astype(np.int8), num_draws=num_draws, seed=seed)


def tied(best: np.ndarray, other: np.ndarray) -> bool:
    """Whether the difference of two trials is within one paired standard error of it; (seeds, images) each."""
    difference = abs(float(best.mean()) - float(other.mean()))
    return difference <= difference_error(best, other)


def smallest(tied: Sequence[T], *, parameters: Callable[[T], int], score: Callable[[T], float]) -> T:
    """Of trials that can't be told apart the one with the fewest parameters, then the highest score; else the first."""
    return min(tied, key=lambda one: (parameters(one), -score(one)))


def flattery(correct_by_epoch: Sequence[np.ndarray], *, num_draws: int = DRAWS, seed: int = 0) -> float:
    """How much the best score of a study overstates its trial, by having been picked on these very images.

    In each bootstrap sample of the images the best (trial, epoch) is picked anew; what it scores there above
    what it scores on all images is the luck of that pick (the optimism of Efron and Tibshirani 1993, section
    17.6). The mean over samples estimates the luck in the pick that was made. The one that is best on all images
    is off by nothing on average, so that what it is off by is subtracted from each sample: the estimate is the
    same, its own noise much less (Lavenberg and Welch 1981, control variates), and it is never negative.

    Args:
      correct_by_epoch: One Bool array (seeds, epochs, images) per trial, of the same images.

    Returns:
      A difference of accuracies, at least 0, to be subtracted from the best one.
    """
    means = np.concatenate([correct.astype(float).mean(axis=0) for correct in correct_by_epoch])
    num_images = means.shape[1]
    _, images = _counts(1, num_images, num_draws, seed)
    drawn = images @ means.T / num_images
    scores = means.mean(axis=1)
    best, picked = scores.argmax(), drawn.argmax(axis=1)
    gained, lost = drawn.max(axis=1) - drawn[:, best], scores[best] - scores[picked]
    return max(0.0, float((gained + lost).mean()))  # both are at least 0, up to rounding


def rank_correlation(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], *, num_draws: int = DRAWS, seed: int = 0
) -> tuple[float, float, float]:
    """Spearman's rank correlation of the scores of the same configurations at two sizes, with a 95% interval.

    The interval is a percentile bootstrap over the configurations, drawn in pairs: they are the sample.
    Drawing images would add their noise once more and shift it downwards.

    Args:
      first, second: One Bool array (seeds, images) per configuration, in the same order.

    Returns:
      The correlation, and the 2.5th and 97.5th percentile of its bootstrap; NaN where all scores are equal
      or there are fewer than three configurations.
    """
    if len(first) < 3:
        return math.nan, math.nan, math.nan
    # Whole numbers, so that equal scores stay equal.
    a, b = (np.array([one.sum(dtype=float) for one in side]) for side in (first, second))
    random = np.random.default_rng(seed)
    rows = random.integers(0, len(a), (num_draws, len(a)))
    draws = np.array([_spearman(a[drawn], b[drawn]) for drawn in rows])
    draws = draws[~np.isnan(draws)]
    low, high = np.percentile(draws, [2.5, 97.5]) if len(draws) else (math.nan, math.nan)
    return _spearman(a, b), float(low), float(high)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(spearmanr(a, b).statistic)


@lru_cache(maxsize=8)
def _counts(num_seeds: int, num_images: int, num_draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each seed and each image is drawn: whole numbers, (draws, seeds) and (draws, images)."""
    random = np.random.default_rng(seed)
    seeds = random.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_draws)
    images = random.multinomial(num_images, np.full(num_images, 1 / num_images), size=num_draws)
    return seeds.astype(float), images.astype(float)
