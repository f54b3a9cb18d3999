"""How many trials a card has to offer: as many as the search itself gives before it has nothing more."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_tuning.config import Card
from fashion_tuning.study.agenda import Agenda
from fashion_tuning.study.combinations import count_points, describe_offer, trials_offered
from fashion_tuning.study.search import Search
from fashion_tuning.study.suggestion import Suggestion

RATES = {"type": "choice", "values": [0.01, 0.001]}
FOUR = {
    "learning_rate": RATES,
    "dense_units": {"type": "choice", "values": [0, 10]},
    "dropout": {"type": "fixed", "value": 0.2},
}


def make_card(**tables: object) -> Card:
    given = {name: table for name, table in tables.items() if table is not None}
    basis = {"name": "test", "seed": 1, "images": {"image_size": 150}, "training": {"epochs": 4}}
    return Card.model_validate({**basis, **given})


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, object]:
    """Small finite spaces, with what is active beside certain values only."""
    units = draw(st.lists(st.sampled_from([0, 10, 100, 1000]), min_size=1, max_size=3, unique=True))
    space: dict[str, object] = {"learning_rate": RATES, "dense_units": {"type": "choice", "values": units}}
    space["dropout"] = draw(
        st.sampled_from(
            [
                {"type": "fixed", "value": 0.5},
                {"type": "float", "min_value": 0.1, "max_value": 0.3, "step": 0.1},
                {"type": "float", "min_value": 0.1, "max_value": 0.45, "step": 2, "sampling": "log"},
            ]
        )
    )
    if any(units) and draw(st.booleans()):
        space["dense_layers"] = {"type": "int", "min_value": 1, "max_value": draw(st.integers(2, 3))}
        if draw(st.booleans()):
            space["dense_units_2"] = {"type": "choice", "values": [10, 20]}
    if draw(st.booleans()):
        space["optimizer"] = {"type": "choice", "values": draw(st.sampled_from([["adam"], ["adam", "sgd"]]))}
        if "sgd" in space["optimizer"]["values"]:  # type: ignore[index]
            space["momentum"] = {"type": "choice", "values": [0.0, 0.9]}
    return space


@settings(max_examples=12, deadline=None)
@given(spaces(), st.sampled_from(["grid", "random"]))
def test_the_count_is_what_the_search_gives(space: dict[str, object], tuner: str) -> None:
    card = make_card(space=space, search={"tuner": tuner, **({"max_trials": 999} if tuner == "random" else {})})
    search, number = Search(card), 0
    while isinstance(search.ask(number + 1), Suggestion):
        number += 1
        search.tell(number, 0.5)
    assert trials_offered(card) == number


@pytest.mark.parametrize(
    ("change", "points", "of_grid"),
    [
        ({}, 4, 4),
        ({"dropout": {"type": "float", "min_value": 0.1, "max_value": 0.3}}, None, 40),
        ({"dense_units": {"type": "int", "min_value": 1, "max_value": 30}}, 60, 60),
        ({"dense_units": {"type": "int", "min_value": 1, "max_value": 2**31}}, None, None),
    ],
)
def test_ranges_without_a_step(change: dict[str, object], points: int | None, of_grid: int | None) -> None:
    space = make_card(space={**FOUR, **change}, search={"tuner": "grid"}).space
    assert space is not None
    assert (count_points(space), count_points(space, of_grid=True)) == (points, of_grid)


def cards() -> dict[str, Card]:
    listed = [{"learning_rate": 0.01, "dense_units": 10, "dropout": 0.2}]
    return {
        "grid": make_card(space=FOUR, search={"tuner": "grid", "max_trials": 50}),
        "grid beside a list": make_card(space=FOUR, search={"tuner": "grid", "max_trials": 50}, configurations=listed),
        "random": make_card(space=FOUR, search={"tuner": "random", "max_trials": 50}, configurations=listed),
        "list": make_card(space=None, search=None, configurations=listed),
    }


@pytest.mark.parametrize(
    ("name", "number", "why"),
    [
        ("grid", 4, "the grid has no more than 4 combinations"),
        ("grid beside a list", 5, "the grid has no more than 4 combinations, beside 1 listed"),
        ("random", 4, "the space has no more than 4 combinations"),
        ("list", 1, "the card lists no more than 1 configuration"),
    ],
)
def test_a_study_that_ends_early_says_why(name: str, number: int, why: str) -> None:
    card = cards()[name]
    assert describe_offer(card) == why
    agenda = Agenda(card, [], max_trials=50)
    assert agenda.num_expected == number
    while (record := agenda.next_trial()) is not None:
        assert agenda.why_short
        agenda.tell(replace(record, status="FINISHED", tell=agenda.next_order(), metrics={"best_val_accuracy": 0.5}))
    assert agenda.why_short == f"the study ends after {number} of 50 trials: {why}"
    assert Agenda(card, agenda.ended, max_trials=number).why_short == ""
