import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_tuner.src.engine import oracle as engine

from fashion_tuning.config import Card
from fashion_tuning.errors import StoreError
from fashion_tuning.hyperparameters import HYPERPARAMETERS, is_active
from fashion_tuning.study.search import WAITING, Search, Suggestion

TUNERS = ("random", "bayesian", "hyperband", "grid")

LEARNING_RATE = {"type": "float", "min_value": 1e-4, "max_value": 1e-2, "sampling": "log"}
DENSE_UNITS = {"type": "choice", "values": [0, 10, 100, 1000]}
DROPOUT = {"type": "float", "min_value": 0.0, "max_value": 0.8, "step": 0.1}
SPACE = {"learning_rate": LEARNING_RATE, "dense_units": DENSE_UNITS, "dropout": DROPOUT}
SMALL = {  # 2 * 3 * 3 = 18 points
    "learning_rate": {"type": "choice", "values": [0.01, 0.001]},
    "dense_units": {"type": "int", "min_value": 1, "max_value": 100, "step": 10, "sampling": "log"},
    "dropout": {"type": "float", "min_value": 0.1, "max_value": 0.3, "step": 0.1},
}
NINE = {**SMALL, "learning_rate": {"type": "fixed", "value": 0.001}}
LISTED = {"learning_rate": 1e-3, "dense_units": 100, "dropout": 0.2}


def make_card(tuner, *, space=SPACE, seed=1, epochs=9, **search):
    if tuner in ("random", "bayesian"):
        search.setdefault("max_trials", 100)
    return Card.model_validate(
        {
            "name": "test",
            "seed": seed,
            "images": {"image_size": 150},
            "training": {"epochs": epochs},
            "search": {"tuner": tuner, **search},
            "space": space,
        }
    )


def score(values):
    """Highest, 0.8, at learning rate 1e-3 and dropout 0.3."""
    return 0.8 - 0.05 * (math.log10(values["learning_rate"]) + 3) ** 2 - 0.2 * (values["dropout"] - 0.3) ** 2


def ask_and_tell(search, numbers):
    """Runs trials one after another until the search is over; their suggestions by number."""
    found = {}
    for number in numbers:
        suggestion = search.ask(number)
        if suggestion is None:
            break
        assert suggestion is not WAITING
        found[number] = suggestion
        search.tell(number, score(suggestion.values), standard_error=0.01)
    return found


def play(card, record):
    search = Search(card)
    for call, trial, argument in record:
        if call == "tell":
            search.tell(trial, argument, standard_error=0.01)
        else:
            getattr(search, call)(trial, argument)
    return search


# --- the same calls, the same answer ---


@st.composite
def spaces(draw):
    ordinary = st.sampled_from([SPACE, SMALL])
    learning_rate = draw(
        st.one_of(st.just({"type": "fixed", "value": 0.001}), ordinary.map(lambda s: s["learning_rate"]))
    )
    log_units = {"type": "int", "min_value": 1, "max_value": draw(st.integers(2, 300)), "sampling": "log"}
    dense_units = draw(st.one_of(st.just(log_units), ordinary.map(lambda s: s["dense_units"])))
    free = {"type": "float", "min_value": 0.0, "max_value": 0.5}
    dropout = draw(st.one_of(st.just(free), ordinary.map(lambda s: s["dropout"])))
    return {"learning_rate": learning_rate, "dense_units": dense_units, "dropout": dropout}


scores = st.one_of(st.none(), st.just(math.nan), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
moves = st.lists(st.tuples(st.integers(0, 5), scores), min_size=8, max_size=40)


@pytest.mark.parametrize("tuner", TUNERS)
@settings(max_examples=12, deadline=None)
@given(space=spaces(), moves=moves, seed=st.integers(1, 2**31 - 1))
def test_a_played_record_continues_as_the_unbroken_search(tuner, space, moves, seed):
    extra = {"num_initial_points": 3} if tuner == "bayesian" else {}
    card = make_card(tuner, space=space, seed=seed, **extra)
    search, record, running, number = Search(card), [], [], 1
    for choice, result in moves:
        if running and (choice >= 3 or len(running) == 3):
            trial = running.pop(choice % len(running))
            search.tell(trial, result, standard_error=0.01)
            record.append(("tell", trial, result))
            continue
        suggestion = search.ask(number)
        if not isinstance(suggestion, Suggestion):
            continue
        written = json.loads(json.dumps([suggestion.values, suggestion.scope]))
        record.append(("replay", number, Suggestion(*written)))
        running.append(number)
        number += 1

    again = play(card, record)
    for following in range(number, number + 3):
        assert again.ask(following) == search.ask(following)


def test_bayesian_suggestions_continue_from_every_point_of_a_record():
    card = make_card("bayesian", num_initial_points=4)
    search, record = Search(card), [("list", 1, LISTED), ("tell", 1, 0.75)]
    search.list(1, LISTED)
    search.tell(1, 0.75, standard_error=0.01)
    for number in range(2, 12):
        suggestion = search.ask(number)
        assert play(card, record).ask(number) == suggestion
        result = score(suggestion.values)
        record += [("replay", number, suggestion), ("tell", number, result)]
        search.tell(number, result, standard_error=0.01)


@pytest.mark.parametrize(("space", "workers"), [(SPACE, 1), (SPACE, 3), (NINE, 3), (NINE, 50)])
def test_hyperband_is_rebuilt_at_every_point_of_its_brackets(space, workers):
    card = make_card("hyperband", space=space)
    search, record, running, answers = Search(card), [], [], []
    while True:
        number = sum(call == "replay" for call, *_ in record) + 1
        suggestion = search.ask(number)
        # What is played has no asks without an answer: they must have left nothing behind.
        assert play(card, record).ask(number) == suggestion
        answers.append(suggestion)
        if isinstance(suggestion, Suggestion):
            record.append(("replay", number, suggestion))
            running.append((number, score(suggestion.values)))
        elif not running:
            break
        if not isinstance(suggestion, Suggestion) or len(running) == workers:
            trial, result = running.pop(0)
            record.append(("tell", trial, None if trial % 7 == 0 else result))
            search.tell(*record[-1][1:])
    assert answers[-1] is None
    assert (WAITING in answers) == (workers > 1)
    scopes = [answer.scope for answer in answers if isinstance(answer, Suggestion)]
    assert any("tuner/trial_id" in scope for scope in scopes)
    assert {scope["tuner/bracket"] for scope in scopes} == {0, 1, 2} or space is NINE


@pytest.mark.parametrize("tuner", ["grid", "hyperband"])
def test_a_record_that_differs_is_refused(tuner):
    card = make_card(tuner)
    first = Search(card).ask(1)
    assert isinstance(first, Suggestion)
    other = Suggestion({**first.values, "dropout": 0.7}, first.scope)
    with pytest.raises(StoreError, match="trial 1 differs"):
        Search(card).replay(1, other)


# --- seeds ---


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_no_two_asks_of_any_seed_share_a_draw(tuner):
    rates = []
    for seed in range(1, 6):
        rates += [
            s.values["learning_rate"] for s in ask_and_tell(Search(make_card(tuner, seed=seed)), range(1, 9)).values()
        ]
    assert len(set(rates)) == len(rates) == 40


def test_an_ask_depends_on_its_number_not_on_what_was_asked_before():
    card = make_card("random")
    search = Search(card)
    for number in range(1, 5):
        search.ask(number)
    assert search.ask(9) == Search(card).ask(9)


# --- values ---


@pytest.mark.parametrize("tuner", TUNERS)
def test_values_are_legal_plain_numbers(tuner):
    card = make_card(tuner, **({"num_initial_points": 4} if tuner == "bayesian" else {}))
    for suggestion in ask_and_tell(Search(card), range(1, 16)).values():
        assert list(suggestion.values) == ["learning_rate", "dense_units", "dropout"]
        assert [type(value) for value in suggestion.values.values()] == [float, int, float]
        assert suggestion.values["dropout"] in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
        assert suggestion.values["dense_units"] in (0, 10, 100, 1000)
        assert 1e-4 <= suggestion.values["learning_rate"] <= 1e-2
        if tuner != "hyperband":
            assert (suggestion.scope, suggestion.epochs) == ({}, None)


@pytest.mark.parametrize("tuner", ["random", "bayesian", "grid"])
def test_a_finite_space_is_gone_through_once_and_then_over(tuner):
    found = ask_and_tell(Search(make_card(tuner, space=SMALL)), range(1, 30))
    points = {tuple(suggestion.values.values()) for suggestion in found.values()}
    assert points == set(itertools.product((0.001, 0.01), (1, 10, 100), (0.1, 0.2, 0.3)))
    assert len(found) == 18


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_listed_and_running_values_are_not_suggested_again(tuner):
    search = Search(
        make_card(tuner, space=SMALL, num_initial_points=2) if tuner == "bayesian" else make_card(tuner, space=SMALL)
    )
    search.list(1, {"learning_rate": 0.001, "dense_units": 10, "dropout": 0.3})
    search.list(2, {"learning_rate": 0.01, "dense_units": 1, "dropout": 0.1})
    search.tell(1, 0.8, standard_error=0.01)
    search.tell(2, 0.7, standard_error=0.01)
    points = set()
    while isinstance(suggestion := search.ask(3 + len(points)), Suggestion):
        points.add(tuple(suggestion.values.values()))  # none of them ends
    assert len(points) == 16
    assert not points & {(0.001, 10, 0.3), (0.01, 1, 0.1)}


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_space_with_one_point_is_asked_for_once(tuner):
    fixed = {
        "learning_rate": {"type": "fixed", "value": 0.001},
        "dense_units": {"type": "fixed", "value": 0},
        "dropout": {"type": "choice", "values": [0]},
    }
    found = ask_and_tell(Search(make_card(tuner, space=fixed)), range(1, 4))
    assert [s.values for s in found.values()] == [{"learning_rate": 0.001, "dense_units": 0, "dropout": 0.0}]


@pytest.mark.parametrize(
    ("range_", "expected"),
    [
        ({"type": "float", "min_value": 0.0, "max_value": 0.35, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"type": "float", "min_value": 0.05, "max_value": 0.4, "step": 2.0, "sampling": "log"}, [0.05, 0.1, 0.2, 0.4]),
        (
            {"type": "float", "min_value": 0.1, "max_value": 0.8, "step": 2.0, "sampling": "reverse_log"},
            [0.1, 0.5, 0.7, 0.8],
        ),
    ],
)
def test_steps_are_counted_from_the_lower_bound_as_keras_tuner_does(range_, expected):
    space = {**SMALL, "learning_rate": {"type": "fixed", "value": 0.001}, "dropout": range_}
    found = ask_and_tell(Search(make_card("grid", space=space)), range(1, 100))
    assert sorted({suggestion.values["dropout"] for suggestion in found.values()}) == expected


# --- listed configurations ---


def test_listed_results_count_as_the_bayesian_search_s_first_points():
    card = make_card("bayesian")  # 3 axes: 9 points before the first suggestion of its own
    drawn = Search(card).ask(20)

    def after(listed):
        search = Search(card)
        for number in range(1, listed + 1):
            search.list(number, {**LISTED, "learning_rate": number * 1e-3})
            search.tell(number, 0.7 + number / 100, standard_error=0.01)
        return search.ask(20)

    assert after(8) == drawn
    assert after(9) != drawn


@pytest.mark.parametrize("tuner", ["grid", "hyperband"])
def test_grid_and_hyperband_are_not_told_of_listed_configurations(tuner):
    card = make_card(tuner)
    search = Search(card)
    for number in (1, 2):
        search.list(number, LISTED)
    search.tell(2, 0.9)
    search.tell(1, None)
    shifted = ask_and_tell(search, range(3, 26))
    assert tuner != "grid" or [s.values for s in shifted.values()] == [
        s.values for s in ask_and_tell(Search(card), range(1, 24)).values()
    ]
    sources = [s.scope["tuner/trial_id"] for s in shifted.values() if "tuner/trial_id" in s.scope]
    assert all(shifted[source].values in [s.values for s in shifted.values()] for source in sources)
    assert (tuner == "hyperband") == bool(sources)


# --- results ---


def test_bayesian_search_comes_closer_than_random_draws():
    def mean_of_last(tuner, **search):
        found = ask_and_tell(Search(make_card(tuner, **search)), range(1, 25))
        return sum(score(found[number].values) for number in range(15, 25)) / 10

    assert mean_of_last("bayesian", beta=1.0, alpha=1e-3) > mean_of_last("random") + 0.01


def test_measured_noise_changes_the_next_suggestion_unless_alpha_is_given():
    def after(standard_error, **search):
        tested = Search(make_card("bayesian", num_initial_points=6, **search))
        for number in range(1, 7):
            suggestion = tested.ask(number)
            tested.tell(number, score(suggestion.values), standard_error=standard_error)
        return tested.ask(7)

    assert after(0.001) != after(0.05)
    assert after(0.001, alpha=0.01) == after(0.05, alpha=0.01)


def test_a_bayesian_suggestion_counts_with_the_running_ones():
    search = Search(make_card("bayesian", num_initial_points=6))
    ask_and_tell(search, range(1, 7))
    alone = Search(make_card("bayesian", num_initial_points=6))
    ask_and_tell(alone, range(1, 7))
    search.ask(7)
    assert search.ask(8) != alone.ask(8)


@pytest.mark.parametrize("tuner", TUNERS)
def test_failed_trials_are_neither_repeated_nor_waited_for(tuner):
    search = Search(make_card(tuner, space=SMALL))
    points = []
    for number in range(1, 40):
        suggestion = search.ask(number)
        if suggestion is None:
            break
        assert suggestion is not WAITING
        points.append(tuple(suggestion.values.values()))
        search.tell(number, (None, math.nan, math.inf)[number % 3])
    assert len(points) == len(set(points)) >= 9


def test_hyperband_promotes_the_best_and_names_it_by_our_number():
    search = Search(make_card("hyperband"))
    search.list(1, LISTED)
    found = ask_and_tell(search, range(2, 50))
    first = [number for number, s in found.items() if s.scope["tuner/bracket"] == 2 and s.scope["tuner/round"] == 0]
    assert first == list(range(2, 11))
    assert {found[number].epochs for number in first} == {1}
    best = max(first, key=lambda number: score(found[number].values))
    assert found[11].scope["tuner/trial_id"] == best
    assert found[11].values == found[best].values
    assert found[11].epochs == 3


def test_a_result_of_a_trial_that_is_not_running_is_refused():
    search = Search(make_card("random"))
    search.ask(1)
    search.tell(1, 0.5)
    with pytest.raises(KeyError):
        search.tell(1, 0.5)


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_search_leaves_no_files_no_output_and_no_locks(tuner, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    ask_and_tell(Search(make_card(tuner)), range(1, 14))
    assert list(Path().iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert not engine.LOCKS
    assert not engine.THREADS


# --- hyperparameters that are active beside some values of others only ---

CONDITIONAL = {
    "learning_rate": {"type": "choice", "values": [0.01, 0.001]},
    "dense_units": {"type": "choice", "values": [0, 100]},
    "dropout": {"type": "fixed", "value": 0.2},
    "dense_layers": {"type": "choice", "values": [1, 2]},
    "dense_units_2": {"type": "choice", "values": [10, 100]},
    "activation": {"type": "choice", "values": ["relu", "gelu"]},
    "optimizer": {"type": "choice", "values": ["adam", "sgd", "adamw"]},
    "momentum": {"type": "choice", "values": [0.5, 0.9]},
}
# optimizers with momenta 1 + 2 + 1, times heads 1 + (1 + 2) * 2, times 2 learning rates
NUM_CONDITIONAL = (1 + 2 + 1) * (1 + (1 + 2) * 2) * 2


@pytest.mark.parametrize("tuner", ["random", "bayesian", "grid"])
def test_a_conditional_space_is_walked_through_and_only_what_is_active_is_named(tuner):
    extra = {"num_initial_points": 4} if tuner == "bayesian" else {}
    found = ask_and_tell(Search(make_card(tuner, space=CONDITIONAL, **extra)), range(1, 200))
    assert len(found) == NUM_CONDITIONAL
    points = {json.dumps(one.values, sort_keys=True) for one in found.values()}
    assert len(points) == NUM_CONDITIONAL
    for suggestion in found.values():
        values = suggestion.values
        assert list(values) == [name for name in HYPERPARAMETERS if name in CONDITIONAL and is_active(name, values)]
        assert type(values["dense_units"]) is int
        assert type(values["learning_rate"]) is float


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_conditional_study_continues_as_it_was(tuner):
    extra = {"num_initial_points": 3} if tuner == "bayesian" else {}
    wide = {**CONDITIONAL, "learning_rate": LEARNING_RATE} if tuner != "grid" else CONDITIONAL
    card = make_card(tuner, space=wide, **extra)
    unbroken = ask_and_tell(Search(card), range(1, 13))
    record = []
    for number in range(1, 7):
        record.append(("replay", number, unbroken[number]))
        record.append(("tell", number, score(unbroken[number].values)))
    assert ask_and_tell(play(card, record), range(7, 13)) == {number: unbroken[number] for number in range(7, 13)}


def test_listed_values_of_a_conditional_space_are_not_suggested_again():
    card = make_card("bayesian", space=CONDITIONAL, num_initial_points=2)
    given = {"learning_rate": 0.01, "dense_units": 0, "dropout": 0.2, "optimizer": "sgd", "momentum": 0.9}
    search = Search(card)
    search.list(1, given)
    search.tell(1, 0.5, standard_error=0.01)
    found = ask_and_tell(search, range(2, 200))
    assert len(found) == NUM_CONDITIONAL - 1
    assert given not in [one.values for one in found.values()]
