"""Which trial is best, and how sure that is: epochs, standard errors, ties."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

DRAWS = 1000


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


@lru_cache(maxsize=8)
def _counts(num_seeds: int, num_images: int, num_draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each seed and each image is drawn: whole numbers, (draws, seeds) and (draws, images)."""
    random = np.random.default_rng(seed)
    seeds = random.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_draws)
    images = random.multinomial(num_images, np.full(num_images, 1 / num_images), size=num_draws)
    return seeds.astype(float), images.astype(float)
