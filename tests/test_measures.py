import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from fashion_tuning.measures import accuracy_at_priors, mcnemar, measure, reliability, sure_from, wilson_interval

NAMES = ("dress", "hat", "t-shirt")
LABELS = np.array([0, 0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.6, 0.1, 0.3], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2], [0.3, 0.45, 0.25]], np.float32
)


def figures(**changes):
    settings = {"class_names": NAMES, "train_counts": np.array([10, 30, 60]), **changes}
    return measure(PROBABILITIES, LABELS, **settings)


def test_shares_by_hand():
    found = figures()
    assert found.accuracy == pytest.approx(3 / 6)
    assert found.top_2 == pytest.approx(5 / 6)  # the last one has it third
    assert found.top_3 == 1
    assert found.confusion.tolist() == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert [one.support for one in found.classes] == [3, 2, 1]
    assert found.classes[0].precision == pytest.approx(2 / 3)
    assert found.classes[0].recall == pytest.approx(2 / 3)
    assert found.classes[1].precision == pytest.approx(1 / 3)
    assert found.classes[2].f1 == 0
    assert found.macro_f1 == pytest.approx((2 / 3 + 0.4 + 0) / 3)
    picked = PROBABILITIES[np.arange(6), LABELS]
    assert found.log_loss == pytest.approx(-np.log(picked).mean(), rel=1e-6)
    assert found.accuracy_at_train_priors == pytest.approx((10 * 2 / 3 + 30 * 1 / 2 + 0) / 100)


def test_every_single_number_is_a_metric_by_a_plain_name():
    metrics = figures().metrics()
    assert {"accuracy", "accuracy_low", "accuracy_high", "macro_f1", "top_3", "recall/t-shirt"} <= set(metrics)
    assert all(isinstance(value, float) for value in metrics.values())


def test_names_of_classes_become_names_that_mlflow_takes():
    metrics = figures(class_names=("a & b", "a + b", "it's")).metrics()
    assert {"recall/a _ b", "recall/a _ b 2", "recall/it_s"} <= set(metrics)


@pytest.mark.parametrize(
    "names", [("x" * 255, "x" * 254 + "y", "服" * 85), ("a/b", "a_b", "a_b 2"), ("a_b 2", "a/b", "a_b")]
)
def test_long_names_and_names_that_are_cut_alike_become_metrics_of_their_own(names):
    metrics = figures(class_names=names).metrics()
    assert sum(name.startswith("recall/") for name in metrics) == 3
    assert max(map(len, metrics)) <= 250


def test_a_class_without_a_photo_counts_nowhere():
    found = measure(PROBABILITIES[:5], LABELS[:5], class_names=NAMES, train_counts=np.array([1, 1, 98]))
    assert found.accuracy_at_train_priors == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.macro_f1 == pytest.approx((2 / 3 + 0.5) / 2)
    assert found.classes[2].support == 0


def test_no_photo_is_an_error():
    with pytest.raises(ValueError, match="no photo"):
        measure(PROBABILITIES[:0], LABELS[:0], class_names=NAMES, train_counts=np.ones(3))


@given(successes=st.integers(0, 400), rest=st.integers(0, 400))
def test_wilson_interval_is_wilsons(successes, rest):
    total = successes + rest
    if not total:
        return
    low, high = wilson_interval(successes, total)
    share, z = successes / total, norm.ppf(0.975)
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    assert low == pytest.approx(max(0, middle - half), abs=1e-9)
    assert high == pytest.approx(min(1, middle + half), abs=1e-9)


def test_reweighting_to_its_own_priors_changes_nothing():
    hits = PROBABILITIES.argmax(-1) == LABELS
    assert accuracy_at_priors(hits, LABELS, counts=np.bincount(LABELS)) == pytest.approx(hits.mean())


def test_reliability_bins_hold_every_photo_once():
    bins = reliability(PROBABILITIES, LABELS)
    assert sum(one.count for one in bins) == 6
    assert [one.low for one in bins] == sorted(one.low for one in bins)
    for one in bins:
        assert one.low < one.confidence <= one.high + 1e-7
    error = figures().calibration_error
    assert error == pytest.approx(sum(one.count * abs(one.accuracy - one.confidence) for one in bins) / 6)


def test_a_model_that_means_what_it_says_is_calibrated():
    random = np.random.default_rng(3)
    confidence = random.uniform(0.5, 1, 40_000)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = (random.random(40_000) > confidence).astype(int)
    found = measure(probabilities, labels, class_names=("a", "b"), train_counts=np.ones(2))
    assert found.calibration_error < 0.01


def test_certain_and_right_is_in_the_last_bin():
    (only,) = reliability(np.array([[1.0, 0.0]]), np.array([0]))
    assert (only.low, only.high, only.confidence, only.accuracy) == (0.9, 1.0, 1.0, 1.0)


def test_mcnemar_counts_who_is_right_alone():
    first = np.array([True] * 10 + [False] * 2 + [True] * 5)
    second = np.array([False] * 10 + [True] * 2 + [True] * 5)
    test = mcnemar(first, second)
    assert (test.only_first, test.only_second) == (10, 2)
    assert test.p_value == pytest.approx(2 * sum([1, 12, 66]) / 2**12)
    assert not test.first_is_worse
    assert mcnemar(second, first).first_is_worse
    assert mcnemar(first, first).p_value == 1
    with pytest.raises(ValueError, match="same photos"):
        mcnemar(first, second[:3])


def test_from_where_on_answers_are_sure() -> None:
    labels = np.array([0, 0, 1, 0, 1])
    first = np.array([0.99, 0.9, 0.2, 0.7, 0.6])
    probabilities = np.stack([first, 1 - first], axis=1)
    assert sure_from(probabilities, labels, precision=0.9) == pytest.approx(0.7)  # only the last is wrong
    assert sure_from(probabilities, labels, precision=0.8) == pytest.approx(0.6)
    assert sure_from(probabilities, 1 - labels) == 1.0
    tied = np.array([[0.8, 0.2], [0.8, 0.2], [0.9, 0.1]])
    assert sure_from(tied, np.array([0, 1, 0])) == 0.9
    assert sure_from(tied, np.array([0, 0, 0])) == 0.8
