"""Sentences of a report against studies whose outcome is known: no number may say another thing than the trials do."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_board import STUDY
from synthetic import CARD, draw_values, make_material, make_trials

from fashion_tuning.evaluate import Evaluation
from fashion_tuning.measures import measure
from fashion_tuning.report import outcome_readings, readings
from fashion_tuning.report.axes import Axis, make_axes
from fashion_tuning.report.importance import Importance, Share
from fashion_tuning.report.material import Failure, Final, Pair, Trial
from fashion_tuning.report.sections import make_sections

LEARNING_RATE = Axis("learning_rate", 1e-4, 1e-2, is_log=True)
DENSE = Axis("dense_units", 0, 1, choices=(0, 10, 100, 1000))
DROPOUT = Axis("dropout", 0.0, 0.8)

STUDIES = st.builds(
    lambda seed, scores: make_trials(draw_values(len(scores), seed=seed), scores),
    st.integers(0, 10_000),
    st.lists(st.floats(0.1, 0.99).map(lambda score: round(score, 4)), min_size=1, max_size=30),
)
"""Random values with scores that have nothing to do with them."""


def numbers(sentence: str) -> list[float]:
    return [float(found) for found in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?", sentence)]


def trials_of(*entries: tuple[float, int, float, float]) -> tuple[Trial, ...]:
    """Trials of (learning rate, dense units, dropout, score)."""
    values = [{"learning_rate": one[0], "dense_units": one[1], "dropout": one[2]} for one in entries]
    return make_trials(values, [one[3] for one in entries])


@settings(max_examples=200)
@given(STUDIES)
def test_history_names_the_best_and_counts_what_lies_near(trials: tuple[Trial, ...]) -> None:
    if len(trials) == 1:
        assert readings.read_history(trials).startswith(f"The only completed trial scored {trials[0].score:.4f}")
        return
    found = re.fullmatch(
        r"The best score, ([\d.]+), came with the (\d+)(?:st|nd|rd|th) of (\d+) completed trials \(trial (\d+)\);"
        r" (no|\d+) other scores? lies? within its standard error of ([\d.]+)\.",
        readings.read_history(trials),
    )
    assert found is not None
    score, place, count, trial = float(found[1]), int(found[2]), int(found[3]), int(found[4])
    scores = [one.score for one in trials]
    assert score == pytest.approx(max(scores), abs=5e-5)
    assert trials[place - 1].score == max(scores)
    assert trials[place - 1].number == trial
    assert count == len(trials)
    near = sum(abs(one - max(scores)) <= 0.01 for one in scores) - 1
    assert (0 if found[5] == "no" else int(found[5])) == near


@settings(max_examples=200)
@given(STUDIES)
def test_a_slice_of_a_range_is_true_of_every_trial(trials: tuple[Trial, ...]) -> None:
    sentence = readings.read_slice(trials, LEARNING_RATE)
    best = max(trial.score for trial in trials)
    edges = {"below": min, "above": max}
    for where, edge in edges.items():
        bound = edge(trial.values["learning_rate"] for trial in trials if trial.row.tied)
        outside = [
            trial.score
            for trial in trials
            if (trial.values["learning_rate"] < bound if where == "below" else trial.values["learning_rate"] > bound)
        ]
        assert (where in sentence) == bool(outside)
        if outside:
            told = re.search(rf"{where} ([\d.e-]+) .*?the highest is ([\d.]+)", sentence)
            assert told is not None
            assert float(told[1]) == pytest.approx(bound, rel=1e-2)
            assert float(told[2].rstrip(".")) == pytest.approx(max(outside), abs=5e-5)
            assert best - max(outside) > 0.01  # none of them ties


@settings(max_examples=200)
@given(STUDIES)
def test_a_slice_of_choices_is_true_of_every_trial(trials: tuple[Trial, ...]) -> None:
    sentence = readings.read_slice(trials, DENSE)
    tied = {trial.values["dense_units"] for trial in trials if trial.row.tied}
    seen = {trial.values["dense_units"] for trial in trials}
    if seen == tied:
        assert "can't be told apart" in sentence
    else:
        told = re.search(r"no trial with (.*?) ties with the best; the highest there is ([\d.]+)", sentence)
        assert told is not None
        assert set(numbers(told[1])) == seen - tied
        reached = max(trial.score for trial in trials if trial.values["dense_units"] in seen - tied)
        assert float(told[2].rstrip(".")) == pytest.approx(reached, abs=5e-5)
    untried = re.search(r"; ([^;]*?) (?:was|were) not tried", sentence)
    assert set(numbers(untried[1]) if untried else ()) == {0, 10, 100, 1000} - seen


def test_slices_in_words() -> None:
    trials = trials_of((0.0001, 0, 0.0, 0.78), (0.001, 100, 0.2, 0.83), (0.002, 1000, 0.4, 0.829), (0.01, 0, 0.8, 0.70))
    assert readings.read_slice(trials, LEARNING_RATE) == (
        "learning rate: below 0.001 the one trial does not tie with the best, the highest is 0.7800;"
        " above 0.002 the one trial does not tie with the best, the highest is 0.7000."
    )
    assert readings.read_slice(trials, DENSE) == (
        "dense units: no trial with 0 ties with the best; the highest there is 0.7800; 10 was not tried."
    )
    assert readings.read_slice(trials[1:3], DENSE) == (
        "dense units: 100 and 1000 can't be told apart on these 2 trials, each has one that ties with the best;"
        " 0 and 10 were not tried."
    )


ACTIVATION = Axis("activation", 0, 1, choices=("relu", "gelu", "tanh"))
DECAY = Axis("weight_decay", 1e-4, 1e-1, is_log=True)


def conditional() -> tuple[Trial, ...]:
    """Five trials: an activation beside dense layers only, a weight decay in two that are far from the best."""
    trials = trials_of(
        (0.001, 100, 0.2, 0.83), (0.001, 0, 0.2, 0.829), (0.001, 10, 0.2, 0.75), (0.01, 100, 0.2, 0.7),
        (0.002, 1000, 0.2, 0.828),
    )  # fmt: skip
    others = [
        {"activation": "gelu"},
        {},
        {"activation": "relu", "weight_decay": 0.01},
        {"activation": "relu", "weight_decay": 0.001},
        {"activation": "gelu"},
    ]
    return tuple(
        replace(trial, row=replace(trial.row, record=replace(trial.record, values={**trial.values, **more})))
        for trial, more in zip(trials, others, strict=True)
    )


def test_words_and_what_is_active_in_some_trials_only() -> None:
    trials = conditional()
    assert readings.read_slice(trials, ACTIVATION) == (
        "activation: no trial with relu ties with the best; the highest there is 0.7500; tanh was not tried."
    )
    assert readings.read_slice(trials, DECAY) == (
        "weight decay: none of the 2 trials that have one ties with the best, the highest is 0.7500."
    )
    assert readings.read_parallel(trials, [DENSE, ACTIVATION, DECAY]) == (
        "The 3 trials that tie, the best among them, have dense units 0, 100 or 1000 and activation gelu (2 of them)."
    )
    assert readings.read_contours(trials, [LEARNING_RATE, ACTIVATION]) == (
        "The one trial with high learning rate and activation relu reached 0.7000, against 0.8300 with low learning"
        " rate and activation gelu."
    )


def test_importance_says_what_it_leaves_out() -> None:
    values = [{**one, "activation": "relu"} for one in draw_values(12, seed=2)]
    scores = np.random.default_rng(3).normal(0.8, 0.02, 12).round(4).tolist()
    material = make_material(make_trials(values, scores))
    (whole,) = (one for one in make_sections(material) if one.name == "importance")
    assert len(whole.readings) == 1
    some = [{**one, "activation": "gelu"} if place % 2 else one for place, one in enumerate(values)]
    some[0] = {name: value for name, value in some[0].items() if name != "activation"}
    (part,) = (one for one in make_sections(make_material(make_trials(some, scores))) if one.name == "importance")
    assert part.readings[1] == "Left out, since not active in every trial: activation."


@settings(max_examples=100)
@given(STUDIES)
def test_what_ties_is_spanned(trials: tuple[Trial, ...]) -> None:
    sentence = readings.read_parallel(trials, [LEARNING_RATE, DENSE, DROPOUT])
    tied = [trial for trial in trials if trial.row.tied]
    if len(tied) == 1:
        assert sentence.startswith("No other trial ties")
        return
    assert sentence.startswith(f"The {len(tied)} trials that tie")
    rates = [trial.values["learning_rate"] for trial in tied]
    told = re.search(r"learning rate from ([\d.e-]+) to ([\d.e-]+)", sentence)
    assert told is not None
    assert float(told[1]) == pytest.approx(min(rates), rel=1e-2)
    assert float(told[2].rstrip(",")) == pytest.approx(max(rates), rel=1e-2)


@settings(max_examples=100)
@given(STUDIES)
def test_the_pareto_front_is_beaten_by_none_and_beats_the_rest(trials: tuple[Trial, ...]) -> None:
    front = readings.pareto_front(trials)
    for trial in trials:
        beaten = any(
            other.seconds <= trial.seconds
            and other.score >= trial.score
            and (other.seconds < trial.seconds or other.score > trial.score)
            for other in trials
        )
        same = any((other.seconds, other.score) == (trial.seconds, trial.score) for other in front)
        assert beaten != same


def test_cost_in_words() -> None:
    trials = trials_of((0.001, 1000, 0, 0.83), (0.001, 0, 0, 0.825), (0.001, 100, 0, 0.7))
    assert readings.read_cost(trials, readings.pareto_front(trials)) == (
        "2 trials are on the Pareto front; trial 02 ties with the best and took 2.0 s against 12.0 s."
    )
    assert readings.read_cost(trials[:1], trials[:1]) == (
        "1 trial is on the Pareto front; no trial that ties with the best is cheaper than it (12.0 s)."
    )


@settings(max_examples=100)
@given(STUDIES)
def test_quarters_have_the_means_that_are_told(trials: tuple[Trial, ...]) -> None:
    sentence = readings.read_contours(trials, [LEARNING_RATE, DROPOUT])
    quarters: dict[tuple[str, str], list[float]] = {}
    for trial in trials:
        key = (
            "high" if trial.values["learning_rate"] > 1e-3 else "low",
            "high" if trial.values["dropout"] > 0.4 else "low",
        )
        quarters.setdefault(key, []).append(trial.score)
    if len(quarters) < 2:
        assert sentence == "All trials lie in one corner of the space."
        return
    told = re.fullmatch(
        r"The (one trial|(\d+) trials) with (low|high) learning rate and (low|high) dropout (?:average|reached)"
        r" ([\d.]+), against ([\d.]+) with (low|high) learning rate and (low|high) dropout\.",
        sentence,
    )
    assert told is not None
    means = {key: float(np.mean(scores)) for key, scores in quarters.items()}
    assert float(told[5]) == pytest.approx(min(means.values()), abs=6e-5)
    assert float(told[6]) == pytest.approx(max(means.values()), abs=6e-5)
    assert means[told[3], told[4]] == pytest.approx(min(means.values()))
    assert means[told[7], told[8]] == pytest.approx(max(means.values()))
    assert len(quarters[told[3], told[4]]) == int(told[2] or 1)


def test_curves_say_where_they_peak_and_whether_they_still_rise() -> None:
    best, other = trials_of((0.001, 0, 0, 0.83), (0.001, 10, 0, 0.8))
    rising = replace(
        other,
        row=replace(other.row, record=replace(other.record, metrics={**other.record.metrics, "best_epoch": 4.0})),
        val_accuracy=(0.1, 0.2, 0.3, 0.8),
    )
    assert readings.read_curves(best, rising, ()) == (
        "The best (trial 01) peaked at epoch 3 of 4 and ended 0.0200 lower; the median (trial 02) was highest at its"
        " last epoch, 4: more of them might help."
    )
    failure = Failure(other.record, ())
    assert readings.read_curves(best, best, [failure]).endswith("ended 0.0200 lower. 1 failed, see below.")


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (lambda one: 0.2 - one["dropout"] / 5, "The gap shrinks as dropout rises (rank correlation -1.00"),
        (lambda one: one["dropout"] / 5, "The gap grows as dropout rises (rank correlation 1.00"),
        (lambda one: (one["learning_rate"] * 1e6) % 1 / 10, "Whether the gap goes with dropout can't be told"),
        (lambda _: 0.1, "Too few different dropout rates"),
    ],
)
def test_gap_and_dropout(gap, expected: str) -> None:
    trials = make_trials(draw_values(20, seed=4), np.linspace(0.7, 0.8, 20), gap=gap)
    if expected.startswith("Too few"):
        trials = tuple(
            replace(one, row=replace(one.row, record=replace(one.record, values={**one.values, "dropout": 0.2})))
            for one in trials
        )
    assert readings.read_gap(trials).startswith(expected)


def test_seeds_and_their_spread() -> None:
    trials = trials_of((0.001, 0, 0, 0.83), (0.001, 10, 0, 0.8), (0.001, 100, 0, 0.7))
    wide = replace(trials[2], row=replace(trials[2].row, seeds=(0.6, 0.8)))
    assert readings.read_seeds([*trials[:2], wide]) == (
        "The seeds of a trial lie 0.0200 apart (median), at most 0.2000 (trial 03); the standard error, photos"
        " included, is 0.0100 (median)."
    )
    alone = replace(trials[0], row=replace(trials[0].row, seeds=(0.83,)))
    assert readings.read_seeds([alone]) == "One seed per trial: their spread is not known."


def test_published_figures() -> None:
    trials = [
        replace(one, row=replace(one.row, record=replace(one.record, published_val_accuracy=published)))
        for one, published in zip(trials_of((0.001, 0, 0, 0.83), (0.001, 10, 0, 0.80)), (0.835, 0.84), strict=True)
    ]
    assert outcome_readings.read_published(trials) == (
        "Ours are within one standard error of 1 of 2 published figures, and 0.0225 below them on average; ours had 4"
        " epochs, theirs as many as the source says."
    )


def importance(evaluator: str, **shares: tuple[float, float, float]) -> Importance:
    found = sorted((Share(name, *numbers) for name, numbers in shares.items()), key=lambda share: -share.value)
    return Importance(evaluator, tuple(found))


def test_evaluators_that_agree_and_that_do_not() -> None:
    sure = importance("fANOVA", learning_rate=(0.9, 0.8, 1.0), dropout=(0.1, 0.0, 0.2))
    unsure = importance("PED-ANOVA", learning_rate=(0.6, 0.2, 1.0), dropout=(0.4, 0.0, 0.8))
    other = importance("trees", learning_rate=(0.4, 0.2, 1.0), dropout=(0.6, 0.0, 0.8))
    axes = [LEARNING_RATE, DROPOUT]
    assert readings.read_importance([sure, unsure], axes, num_trials=20) == (
        "All 2 evaluators put the same first (learning rate 0.90 by fANOVA, learning rate 0.60 by PED-ANOVA); on 20"
        " trials the 90% intervals keep the first two apart for fANOVA only."
    )
    assert readings.read_importance([unsure, other], axes, num_trials=20) == (
        "The evaluators disagree on what matters most (learning rate 0.60 by PED-ANOVA, dropout 0.60 by trees); on 20"
        " trials the 90% intervals of the first two overlap."
    )
    assert "keep the first two apart for all of them" in readings.read_importance([sure, sure], axes, num_trials=20)
    assert readings.read_importance([], axes, num_trials=2).startswith("Importance is not estimated")


def test_sizes_in_words() -> None:
    pairs = (Pair("trial 01", 0.83, 0.88), Pair("trial 02", 0.82, 0.89), Pair("trial 03", 0.7, 0.8))
    final = Final(replace(STUDY, kind="final"), 299, pairs, (0.5, 0.2, 0.9), None)
    assert outcome_readings.read_sizes(final, small=150) == (
        "Ranks at 150 and 299 px correlate with 0.50 (Spearman, 95% interval 0.20 to 0.90, 3 configurations), so they"
        " go together; the best at 150 px is 2nd at 299 px."
    )
    unsure = replace(final, correlation=(0.5, -0.2, 0.9))
    assert "so it can't be told whether they go together" in outcome_readings.read_sizes(unsure, small=150)
    assert outcome_readings.read_sizes(replace(final, correlation=None), small=150).startswith(
        "3 configurations say nothing"
    )


def evaluation(labels: list[int], predicted: list[int], *, confidence: float) -> Evaluation:
    probabilities = np.full((len(labels), 3), (1 - confidence) / 2, np.float32)
    probabilities[np.arange(len(labels)), predicted] = confidence
    figures = measure(
        probabilities, np.array(labels), class_names=("hat", "shoes", "skirt"), train_counts=np.array([1, 1, 1])
    )
    return Evaluation("r", "test", 2, figures, (figures.accuracy,), None, None)


def test_figures_of_averages_say_so() -> None:
    found = evaluation([0, 1, 2], [0, 1, 2], confidence=0.8)
    assert "views" not in outcome_readings.read_confusion(found)
    assert ", look 2, mean of 3 views each" in outcome_readings.read_confusion(replace(found, num_views=3))


def test_confusion_and_calibration_in_words() -> None:
    found = evaluation([0, 0, 0, 1, 1, 2, 2, 2, 2, 2], [0, 1, 1, 1, 1, 2, 2, 2, 2, 0], confidence=0.8)
    assert outcome_readings.read_confusion(found).startswith("Test accuracy 0.7000, 95% interval ")
    assert outcome_readings.read_confusion(found).endswith(
        "10 photos, look 2; most often hat is taken for shoes: 2 of 3 photos."
    )
    assert outcome_readings.read_calibration(found).startswith(
        "The model is 0.100 surer than right on average (mean confidence 0.800, accuracy 0.700)"
    )
    right = evaluation([0, 1, 2], [0, 1, 2], confidence=0.9)
    assert outcome_readings.read_confusion(right).endswith("no photo was taken for another category.")
    assert outcome_readings.read_calibration(right).startswith("The model is 0.100 less sure than right")


def test_axes_follow_the_card_or_what_was_tried() -> None:
    tried = draw_values(30, seed=2)
    rate, dense, dropout = make_axes(CARD.space, tried)
    assert (rate.is_log, rate.position(1e-3), rate.position(1e-4)) == (True, pytest.approx(0.5), 0.0)
    assert dense.choices == (0, 10, 100, 1000)
    assert [dense.position(one) for one in (0, 1000)] == [0.0, 1.0]
    assert dropout.position(0.4) == 0.5
    listed = [{"learning_rate": rate, "dense_units": 100, "dropout": 0.2} for rate in (0.01, 0.001)]
    (only,) = make_axes(None, listed)
    assert only.choices == (0.001, 0.01)
    assert [text for _, text in rate.ticks()] == ["0.0001", "0.001", "0.01"]
