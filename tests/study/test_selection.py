import math

import numpy as np
import pytest

from fashion_tuning.study.selection import best_epoch, correct, difference_error, seed_spread, standard_error, tied


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
