import itertools
import math

import numpy as np
import pytest

from fashion_tuning.study.selection import (
    best_epoch,
    correct,
    difference_error,
    flattery,
    rank_correlation,
    seed_spread,
    smallest,
    standard_error,
    tied,
)


@pytest.fixture
def random():
    return np.random.default_rng(5)


@pytest.mark.parametrize(("curve", "epoch"), [([0.5], 1), ([0.5, 0.8, 0.7], 2), ([0.5, 0.8, 0.8, 0.1], 2), ([0, 0], 1)])
def test_best_epoch_counts_from_one_and_takes_the_first(curve, epoch):
    assert best_epoch(curve) == epoch


@pytest.mark.parametrize("curve", [[], [math.nan], [0.5, math.nan, 0.9]])
def test_a_curve_with_gaps_has_no_best_epoch(curve):
    with pytest.raises(ValueError, match="without NaN"):
        best_epoch(curve)


def test_correct_compares_the_likeliest_class():
    probabilities = np.array([[[0.6, 0.4], [0.2, 0.8]], [[0.1, 0.9], [0.3, 0.7]]], np.float32)
    assert correct(probabilities, np.array([0, 1])).tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize("accuracy", [0.5, 0.83, 0.98])
def test_one_seed_has_the_binomial_standard_error(random, accuracy):
    hits = random.random((1, 341)) < accuracy
    share = hits.mean()
    assert standard_error(hits) == pytest.approx(math.sqrt(share * (1 - share) / 341), rel=0.08)


def test_seeds_that_agree_on_every_image_add_nothing(random):
    hits = random.random((1, 341)) < 0.8
    assert standard_error(np.repeat(hits, 3, axis=0)) == pytest.approx(standard_error(hits), rel=0.08)


def test_seeds_that_differ_as_a_whole_have_the_error_of_a_mean_of_seeds():
    hits = np.repeat([[True], [True], [False], [True]], 50, axis=1)
    assert standard_error(hits, num_draws=4000) == pytest.approx(math.sqrt(0.75 * 0.25 / 4), rel=0.08)


def test_more_images_and_more_draws_behave(random):
    hits = random.random((3, 800)) < 0.8
    assert standard_error(hits) < standard_error(hits[:, :200])
    assert standard_error(hits, num_draws=4000) == pytest.approx(standard_error(hits, num_draws=4000, seed=1), rel=0.08)
    assert standard_error(hits) == standard_error(hits)


def test_all_right_has_no_error():
    assert standard_error(np.ones((3, 50), bool)) == 0


def test_seed_spread_is_over_seeds():
    assert seed_spread(np.array([[True, True], [True, False]])) == pytest.approx(np.std([1, 0.5], ddof=1))
    assert seed_spread(np.array([[True, False]])) is None


def test_a_difference_is_paired(random):
    a = random.random((3, 341)) < 0.8
    b = a.copy()
    b[:, :5] = ~b[:, :5]
    assert difference_error(a, a) == 0
    assert difference_error(a, b) < 0.5 * math.hypot(standard_error(a), standard_error(b))
    assert difference_error(a, b) == pytest.approx(difference_error(b, a))


def test_a_paired_difference_has_mcnemar_s_standard_error(random):
    a, b = random.random((2, 1, 400)) < 0.8
    difference = a.astype(int) - b.astype(int)
    assert difference_error(a, b, num_draws=4000) == pytest.approx(difference.std() / math.sqrt(400), rel=0.08)


def test_a_difference_needs_the_same_seeds_and_images():
    with pytest.raises(ValueError, match="same seeds and images"):
        difference_error(np.ones((3, 10), bool), np.ones((2, 10), bool))


def test_ties_are_within_one_error_of_the_difference():
    best = np.zeros((1, 100), bool)
    best[:, :80] = True
    one_better_one_worse = best.copy()
    one_better_one_worse[0, [0, 1, 90]] = [False, False, True]  # -1 image, error about 1.7 images
    one_worse_for_sure = best.copy()
    one_worse_for_sure[0, :9] = False  # -9 images, error about 2.9 images
    assert tied(best, best)
    assert tied(best, one_better_one_worse)
    assert not tied(best, one_worse_for_sure)


def test_the_smallest_of_the_tied_then_the_better_then_the_first():
    trials = [("large", 1000, 0.9), ("small", 10, 0.7), ("small too", 10, 0.8), ("small last", 10, 0.8)]
    chosen = smallest(trials, parameters=lambda one: one[1], score=lambda one: one[2])
    assert chosen[0] == "small too"


def noise(random, *, num_trials, epochs=10, accuracy=0.8):
    """Trials that are equally good; seeds agree a great deal."""
    easy = random.random((1, 1, 341)) < accuracy
    return [easy ^ (random.random((3, epochs, 341)) < 0.1) for _ in range(num_trials)]


def test_the_best_of_many_equal_trials_is_flattered_by_what_it_exceeds_the_truth(random):
    """The truth is known here: every trial is right on a fresh image with the same probability."""
    excess, estimates = [], []
    for _ in range(20):
        trials = noise(random, num_trials=20)
        means = np.concatenate([trial.mean(axis=0) for trial in trials])
        # What is common to all trials is no luck of the pick.
        excess.append(means.mean(axis=1).max() - means.mean())
        estimates.append(flattery(trials))
    assert np.mean(estimates) == pytest.approx(np.mean(excess), rel=0.5)


def test_more_trials_flatter_more_and_one_epoch_of_one_trial_not_at_all(random):
    few, many = (flattery(noise(random, num_trials=num)) for num in (2, 40))
    assert 0 < few < many
    assert flattery(noise(random, num_trials=1, epochs=1)) == pytest.approx(0, abs=0.002)


def test_flattery_is_never_negative_and_is_what_the_plain_mean_comes_to(random):
    for num_images, share in itertools.product((1, 4, 12, 40), (0.3, 0.5, 0.9)):
        trials = [random.random((1, 2, num_images)) < share for _ in range(3)]
        trials.append(np.ones((1, 1, num_images), bool) if share == 0.9 else trials[0][:, :1])
        estimate = flattery(trials)
        assert estimate >= 0
        # The plain mean of what each pick is off by, whose noise only very many samples take away.
        means = np.concatenate([trial.astype(float).mean(axis=0) for trial in trials])
        images = random.multinomial(num_images, np.full(num_images, 1 / num_images), size=20_000)
        drawn = images @ means.T / num_images
        off = drawn.max(axis=1) - means.mean(axis=1)[drawn.argmax(axis=1)]
        assert estimate == pytest.approx(off.mean(), abs=5 * off.std() / 20_000**0.5 + 5 * off.std() / 1000**0.5 / 2)
    assert flattery([random.random((2, 1, 30)) < 0.5]) == 0


def test_a_trial_that_stands_out_is_flattered_less_than_one_of_many(random):
    equal = noise(random, num_trials=20)
    far_best = [*equal[:-1], np.ones_like(equal[0])]
    assert flattery(far_best) < flattery(equal) / 3


def test_rank_correlation_of_the_same_and_of_the_opposite_order(random):
    trials = [random.random((3, 341)) < share for share in (0.2, 0.4, 0.6, 0.8)]
    value, low, high = rank_correlation(trials, trials)
    assert (value, low, high) == (1, 1, 1)
    value, low, high = rank_correlation(trials, trials[::-1])
    assert value == pytest.approx(-1)
    assert high < 0


def test_rank_correlation_of_noise_has_a_wide_interval(random):
    value, low, high = rank_correlation(*([random.random((3, 341)) < 0.8 for _ in range(12)] for _ in range(2)))
    assert low < value < high
    assert high - low > 0.5


@pytest.mark.parametrize("num_trials", [0, 1, 2])
def test_two_trials_have_no_rank_correlation(random, num_trials):
    trials = [random.random((3, 50)) < 0.5 for _ in range(num_trials)]
    assert all(math.isnan(value) for value in rank_correlation(trials, trials))


def test_equal_scores_have_no_rank_correlation():
    trials = [np.ones((2, 20), bool)] * 4
    assert all(math.isnan(value) for value in rank_correlation(trials, trials))
