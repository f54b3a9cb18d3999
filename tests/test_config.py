"""Cards: what the shipped ones say, what a wrong one is answered, what the digest covers."""

import codecs
import os
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fashion_tuning.backbones import BACKBONES, NO_CUT
from fashion_tuning.card_file import read_card_text
from fashion_tuning.config import (
    Card,
    Choice,
    Configuration,
    Fixed,
    FloatRange,
    IntRange,
    Space,
    Views,
    load_card,
    parse_card,
)
from fashion_tuning.data.views import View
from fashion_tuning.digest import Study
from fashion_tuning.errors import UsageError
from fashion_tuning.hyperparameters import HYPERPARAMETERS, OPTIONAL, Value

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
MAIN = EXPERIMENTS / "xception_150.toml"

Change = Callable[[dict[str, Any]], object]


def main_values() -> dict[str, Any]:
    """The main card's settings, to be changed."""
    return load_card(MAIN).model_dump(exclude_none=True)


def digest(values: dict[str, Any], **inputs: str) -> str:
    return Study(card=Card.model_validate(values), inputs=inputs).digest


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_card_loads_and_is_named_like_its_file(path: Path) -> None:
    assert load_card(path).name == path.stem.replace("_", "-")


def test_the_default_space() -> None:
    space = load_card(MAIN).space
    assert space is not None
    assert {name: allowed.model_dump() for name, allowed in space.items()} == {
        "learning_rate": {
            "type": "float",
            "min_value": 1e-4,
            "max_value": 1e-2,
            "step": None,
            "sampling": "log",
        },
        "dense_units": {"type": "choice", "values": (0, 10, 100, 1000)},
        "dropout": {"type": "float", "min_value": 0.0, "max_value": 0.8, "step": 0.1, "sampling": "linear"},
    }


def test_the_default_study() -> None:
    card = load_card(MAIN)
    assert card.search is not None
    assert (card.search.tuner, card.search.max_trials, card.search.alpha) == ("bayesian", 20, None)
    assert card.training.model_dump() == {
        "epochs": 10,
        "seeds": 3,
        "batch_size": 32,
        "patience": None,
        "max_seconds": None,
    }
    assert (card.images.image_size, card.images.interpolation, card.seed) == (150, "nearest", 1)


COURSE = [
    (0.01, 0, 0.0, 0.8270),
    (0.001, 0, 0.0, 0.8299),
    (0.0001, 0, 0.0, 0.7801),
    (0.001, 100, 0.0, 0.8416),
    (0.001, 100, 0.2, 0.8416),
    (0.001, 100, 0.5, 0.8446),
    (0.001, 100, 0.8, 0.8240),
    (0.0005, 100, 0.2, None),
]


@pytest.mark.parametrize("name", ["xception_150.toml", "course.toml"])
def test_the_courses_configurations_come_first_and_in_its_order(name: str) -> None:
    listed = load_card(EXPERIMENTS / name).configurations
    assert [(*one.named.values(), one.published_val_accuracy) for one in listed] == COURSE


def test_the_courses_card_repeats_its_epochs() -> None:
    assert [one.epochs for one in load_card(EXPERIMENTS / "course.toml").configurations] == [10] * 3 + [30] * 4 + [10]


# What is replaced in the main card, by what, and what the answer says of it: key, received, expected.
WRONG = {
    "unknown key": ("batch_size = 32", "batch_sise = 32", "training.batch_sise", "32", "batch_size"),
    "unknown table": ("[space.dropout]", "[space.dropuot]", "space.dropuot", '"max_value": 0.8', "learning_rate"),
    "missing key": ("\nseed = 1\n", "\n", "seed", "nothing", "a value"),
    "missing range": ("[space.dropout]", "[photos_]", "photos_", "max_value", "photos"),
    "text for a number": ("epochs = 10\n", 'epochs = "ten"\n', "training.epochs", '"ten"', "integer"),
    "fraction for a whole number": ("epochs = 10\n", "epochs = 10.0\n", "training.epochs", "10.0", "integer"),
    "truth for a number": ("epochs = 10\n", "epochs = true\n", "training.epochs", "true", "integer"),
    "number for text": ('name = "xception-150"', "name = 150", "name", "150", "string"),
    "list for a table": ("[search]", "[[search]]", "search", "bayesian", "a table"),
    "name with blanks": ('"xception-150"', '"Xception 150"', "name", '"Xception 150"', "a-z"),
    "name of the drawn twin": ('"xception-150"', '"x-drawn"', "name", '"x-drawn"', "ending"),
    "seed 0": ("\nseed = 1", "\nseed = 0", "seed", "0", "1"),
    "too small an image": ("image_size = 150", "image_size = 70", "images.image_size", "70", "71"),
    "unknown tuner": ('"bayesian"', '"magic"', "search.tuner", '"magic"', "'hyperband'"),
    "unknown kind of range": ('"choice"', '"chioce"', "space.dense_units.type", '"chioce"', "'choice'"),
    "range of no kind": ('type = "float"', "", "space.learning_rate.type", "nothing", "'choice'"),
    "range upside down": ("max_value = 0.8", "max_value = -0.8", "space.dropout.max_value", "-0.8", "more than"),
    "empty range": ("max_value = 0.8", "max_value = 0.0", "space.dropout.max_value", "0.0", "more than"),
    "endless range": ("max_value = 0.8", "max_value = inf", "space.dropout.max_value", "Infinity", "finite"),
    "log from 0": ("min_value = 1e-4", "min_value = 0.0", "space.learning_rate.min_value", "0.0", "'log'"),
    "log by steps of 1": ('"log"', '"log"\nstep = 1.0', "space.learning_rate.step", "1.0", "above 1"),
    "step 0": ("step = 0.1", "step = 0.0", "space.dropout.step", "0.0", "greater than 0"),
    "choice given twice": ("[0, 10, 100, 1000]", "[0, 10, 10]", "space.dense_units.values", "[0, 10, 10]", "once"),
    "no choice": ("[0, 10, 100, 1000]", "[]", "space.dense_units.values", "[]", "at least one"),
    "choice of text": ("[0, 10, 100, 1000]", '["x"]', "space.dense_units.values.#1", '"x"', "number"),
    "units by halves": ("[0, 10, 100, 1000]", "[0, 2.5]", "space.dense_units.values.#2", "2.5", "whole"),
    "units below 0": ("[0, 10, 100, 1000]", "[-1]", "space.dense_units.values.#1", "-1", "whole"),
    "dropout of 1": ("max_value = 0.8", "max_value = 1.0", "space.dropout.max_value", "1.0", "less than 1"),
    "learning rate range from 0": (
        'min_value = 1e-4\nmax_value = 1e-2\nsampling = "log"',
        "min_value = 0.0\nmax_value = 1e-2",
        "space.learning_rate.min_value",
        "0.0",
        "greater than 0",
    ),
    "learning rate outside": (
        "learning_rate = 0.0005",
        "learning_rate = 0.05",
        "configurations.#8.learning_rate",
        "0.05",
        "0.0001 to 0.01 (log)",
    ),
    "dense units outside": (
        "learning_rate = 0.0005\ndense_units = 100",
        "learning_rate = 0.0005\ndense_units = 50",
        "configurations.#8.dense_units",
        "50",
        "one of 0, 10, 100, 1000",
    ),
    "dropout outside": ("dropout = 0.5", "dropout = 0.9", "configurations.#6.dropout", "0.9", "0 to 0.8, step 0.1"),
    "dropout off the steps": ("dropout = 0.5", "dropout = 0.55", "configurations.#6.dropout", "0.55", "step 0.1"),
    "dropout of text": ("dropout = 0.5", 'dropout = "0.5"', "configurations.#6.dropout", '"0.5"', "number"),
    "same configuration twice": (
        "dropout = 0.5",
        "dropout = 0.2",
        "configurations.#6",
        '{"learning_rate": 0.001, "dense_units": 100, "dropout": 0.2}',
        "#5",
    ),
    "published in points": (
        "published_val_accuracy = 0.8446",
        "published_val_accuracy = 84.46",
        "configurations.#6.published_val_accuracy",
        "84.46",
        "1",
    ),
    "fewer trials than listed": ("max_trials = 20", "max_trials = 7", "search.max_trials", "7", "at least 8"),
    "no end": ("max_trials = 20", "", "search.max_trials", "nothing", "'bayesian'"),
    "setting of another tuner": ("max_trials = 20", "max_trials = 20\nfactor = 3", "search.factor", "3", "'hyperband'"),
    "alpha without a Gaussian process": (
        'tuner = "bayesian"',
        'tuner = "grid"\nalpha = 0.1',
        "search.alpha",
        "0.1",
        "'bayesian'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_card_is_answered_with_file_key_received_and_expected(case: str, tmp_path: Path) -> None:
    old, new, key, received, expected = WRONG[case]
    text = MAIN.read_text()
    assert old in text
    path = tmp_path / "card.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load_card(path)
    lines = str(caught.value).splitlines()
    answers = [
        re.fullmatch(rf"{re.escape(str(path))}: (\S+): received (.+), expected (.+)", line) for line in lines[:-1]
    ]
    answer = next(one for one in answers if one and one[1] == key)
    assert received in answer[2]
    assert expected in answer[3]
    assert lines[-1] == f"what to do: correct {path} and run the command again"
    assert len(lines) <= 3


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        (MAIN.read_text().split("[space.learning_rate]")[0], "space", "[space] beside [search]"),
        (MAIN.read_text().replace("[search]", "[model]\n[training_]").split("[space")[0], "training_", "training"),
        (re.sub(r"\[search\][^[]*", "", MAIN.read_text()), "search", "[search] beside [space]"),
        (MAIN.read_text().split("[search]")[0], "card", "[[configurations]]"),
        ("", "name", "a value"),
    ],
    ids=["search without space", "other tables", "space without search", "nothing to train", "empty"],
)
def test_a_card_that_lacks_tables_is_told_which(text: str, key: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_card(text, name="card.toml")
    first = str(caught.value).splitlines()[0]
    assert first.startswith(f"card.toml: {key}: received ")
    assert expected in first.partition(", expected ")[2]


def test_several_mistakes_are_told_at_once_but_not_without_end() -> None:
    text = MAIN.read_text().replace("dropout = 0.", 'dropout = "x0.').replace("\nseed = 1", "\nseed = 0")
    text = re.sub(r'("x0\.\d)', r'\1"', text)
    with pytest.raises(UsageError) as caught:
        parse_card(text, name="card.toml")
    assert "card.toml: seed: " in str(caught.value)
    assert "card.toml: configurations.#7.dropout: " in str(caught.value)
    assert "and 1 more" in str(caught.value)


def test_what_is_no_toml_is_shown_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"card\.toml: line 2: received 'seed = = 3', expected TOML"):
        parse_card('name = "x"\nseed = = 3\nepochs = 1', name="card.toml")


def test_a_card_that_ends_too_early_is_shown_with_its_last_line() -> None:
    with pytest.raises(UsageError, match=r"line 1: received 'values = \[1,', expected TOML"):
        parse_card("values = [1,\n", name="card.toml")


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    files = {
        "latin": "# a line\n# é".encode("latin-1"),
        "no mark": "name = 'x'".encode("utf-16-le"),
        "half": b"\xff\xfen\0a",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for path, reason, action in (
        (tmp_path / "none.toml", "No such file", "name a card that exists"),
        (tmp_path, "directory", "name a card that exists"),
        (tmp_path / "latin", "byte 12, in line 2, is no UTF-8", "save it as UTF-8"),
        (tmp_path / "no mark", "byte 2, in line 1, is a zero byte, as in UTF-16 without its mark", "save it as UTF-8"),
        (tmp_path / "half", "its mark says UTF-16", "save it as UTF-8"),
    ):
        with pytest.raises(UsageError, match=reason) as caught:
            load_card(path)
        assert str(path) in str(caught.value)
        assert "expected: an experiment card" in str(caught.value)
        assert action in caught.value.action


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_however_an_editor_saves_a_card_it_says_the_same(encoding: str, end: str, tmp_path: Path) -> None:
    text = f"# größe 服装\n{MAIN.read_text(encoding='utf-8')}"
    path = tmp_path / "card.toml"
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    path.write_bytes(mark + text.replace("\n", end).encode(encoding))
    assert load_card(path) == parse_card(text, name="card")
    assert read_card_text(path) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("description = '" + "x" * 21_600 + "'",
         r"card\.toml: description: received 21,600 characters, expected at most 4,000"),
        ("[[configurations]]\nlearning_rate = 0.1\ndense_units = 0\ndropout = 0.0\nsource = '" + "x" * 201 + "'",
         r"card\.toml: configurations\.#1\.source: received 201 characters, expected at most 200"),
        ("seeds = 250", r"card\.toml: training\.seeds: received 250, expected at most 249"),
    ],
)  # fmt: skip
def test_what_mlflow_can_not_hold_is_refused_when_the_card_is_read(change: str, message: str, tmp_path: Path) -> None:
    head, table = ("name = 'x'\nseed = 1\n", "[images]\nimage_size = 150\n[training]\nepochs = 1\n")
    listed = (
        ""
        if "configurations" in change
        else "[[configurations]]\nlearning_rate = 0.1\ndense_units = 0\ndropout = 0.0\n"
    )
    text = head + (change + "\n" if change.startswith("description") else "") + table
    text += (change + "\n" if not change.startswith("description") else "") + listed
    path = tmp_path / "card.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        load_card(path)
    assert len(str(caught.value)) < 400
    parse_card(text, name="card.toml")  # what an earlier version has recorded is read all the same


def parse_space(*, learning_rate: str = 'type = "fixed"\nvalue = 0.001', dense_units: str, dropout: str) -> Card:
    return parse_card(
        "name = 'x'\nseed = 1\n[images]\nimage_size = 150\n[training]\nepochs = 1\n[search]\ntuner = 'grid'\n"
        f"[space.learning_rate]\n{learning_rate}\n[space.dense_units]\n{dense_units}\n[space.dropout]\n{dropout}\n",
        name="card.toml",
    )


def test_fixed_values_whole_ranges_and_mixed_choices_stand_in_a_space() -> None:
    card = parse_space(
        dense_units='type = "int"\nmin_value = 16\nmax_value = 128\nstep = 2\nsampling = "log"',
        dropout='type = "choice"\nvalues = [0, 0.25, 0.5]',
    )
    assert card.space is not None
    assert card.space.learning_rate == Fixed(type="fixed", value=0.001)
    assert card.space.dense_units == IntRange(type="int", min_value=16, max_value=128, step=2, sampling="log")
    assert card.space.dropout == Choice(type="choice", values=(0, 0.25, 0.5))
    assert [str(allowed) for _, allowed in card.space.items()] == [
        "0.001 (fixed)",
        "16 to 128, step 2 (log)",
        "one of 0, 0.25, 0.5",
    ]


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (Fixed(type="fixed", value=0.2), [0.2], [0.3, "0.2", True]),
        (Choice(type="choice", values=(0, 1)), [0, 1, 1.0], [2, 0.5, True]),
        (IntRange(type="int", min_value=1, max_value=9), [1, 5, 9, 5.0], [0, 10, 5.5, True]),
        (IntRange(type="int", min_value=1, max_value=9, step=4), [1, 5, 9], [3, 8]),
        (IntRange(type="int", min_value=16, max_value=128, step=2, sampling="log"), [16, 64, 128], [48, 100]),
        (FloatRange(type="float", min_value=0.0, max_value=0.8), [0.0, 0.123, 0.8, 0], [-0.1, 0.81, "0.1"]),
        (FloatRange(type="float", min_value=0.0, max_value=0.8, step=0.1), [0.3, 0.7, 0.1 * 3], [0.25, 0.35]),
        (FloatRange(type="float", min_value=1e-4, max_value=1e-1, step=10, sampling="log"), [1e-3, 1e-2], [2e-3]),
        (
            FloatRange(type="float", min_value=1.0, max_value=100.0, step=10, sampling="reverse_log"),
            [100.0, 91.0, 1.0],
            [10.0],
        ),
    ],
    ids=str,
)
def test_a_range_contains_its_values_and_no_others(allowed: Any, inside: list, outside: list) -> None:
    assert all(allowed.contains(value) for value in inside)
    assert not any(allowed.contains(value) for value in outside)


@settings(deadline=None)
@given(steps=st.integers(1, 20), low=st.floats(0.001, 0.1), step=st.floats(0.01, 0.5))
def test_every_step_from_the_lower_bound_is_inside(steps: int, low: float, step: float) -> None:
    allowed = FloatRange(type="float", min_value=low, max_value=low + (steps + 0.5) * step, step=step)
    assert all(allowed.contains(low + index * step) for index in range(steps + 1))
    assert not allowed.contains(low + (steps + 1) * step)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda path: path.name)
def test_a_card_comes_back_from_its_own_values(path: Path) -> None:
    card = load_card(path)
    assert Card.model_validate(card.model_dump()) == card
    assert Card.model_validate_json(card.model_dump_json()) == card


UNIMPORTANT: dict[str, Change] = {
    "name": lambda card: card.update(name="another"),
    "description": lambda card: card.update(description="Another."),
    "photos": lambda card: card.update(photos="drawn"),  # the manifest's digest says which they are
    "max_trials": lambda card: card["search"].update(max_trials=50),
    "final": lambda card: card.update(
        final={
            "image_size": 224,
            "epochs": 3,
            "patience": None,
            "learning_rate_factors": (0.1,),
            "choose": "best",
        }
    ),
    "time limit": lambda card: card["training"].update(max_seconds=600.0),
    "published figure": lambda card: card["configurations"][0].update(published_val_accuracy=0.5),
    "source": lambda card: card["configurations"][0].update(source="elsewhere"),
    "0 for 0.0": lambda card: card["space"]["dropout"].update(min_value=0),
    "defaults spelled out": lambda card: card.update(model={"backbone": "xception"}),
}


@pytest.mark.parametrize("case", UNIMPORTANT)
def test_what_decides_nothing_leaves_the_digest(case: str) -> None:
    values = main_values()
    UNIMPORTANT[case](values)
    assert digest(values, manifest="m") == digest(main_values(), manifest="m")


def test_comments_and_layout_leave_the_digest() -> None:
    bare = re.sub(r"\s*#.*", "", MAIN.read_text()).replace("1e-4", "0.0001")
    assert parse_card(bare, name="bare") == load_card(MAIN)


IMPORTANT: dict[str, Change] = {
    "seed": lambda card: card.update(seed=2),
    "image size": lambda card: card["images"].update(image_size=151),
    "interpolation": lambda card: card["images"].update(interpolation="bilinear"),
    "aspect": lambda card: card["images"].update(aspect="pad"),
    "views": lambda card: card.update(views={"number": 1, "horizontal_flip": True}),
    "engine": lambda card: card.update(model={"engine": "openvino"}),
    "precision": lambda card: card.update(model={"precision": "bfloat16"}),
    "storage": lambda card: card.update(model={"storage": "float16"}),
    "pruning": lambda card: card.update(pruning={"rule": "median"}),
    "teacher": lambda card: card.update(
        teacher={"study": "other"}, space={**card["space"], "distillation": {"type": "fixed", "value": 0.5}}
    ),
    "epochs": lambda card: card["training"].update(epochs=11),
    "seeds": lambda card: card["training"].update(seeds=4),
    "batch size": lambda card: card["training"].update(batch_size=33),
    "patience": lambda card: card["training"].update(patience=3),
    "tuner": lambda card: card["search"].update(tuner="random"),
    "alpha": lambda card: card["search"].update(alpha=0.1),
    "beta": lambda card: card["search"].update(beta=1.0),
    "initial points": lambda card: card["search"].update(num_initial_points=9),
    "lower bound": lambda card: card["space"]["learning_rate"].update(min_value=9e-5),
    "upper bound": lambda card: card["space"]["learning_rate"].update(max_value=2e-2),
    "sampling": lambda card: card["space"]["learning_rate"].update(sampling="linear"),
    "another choice": lambda card: card["space"]["dense_units"].update(values=(0, 10, 100, 1000, 2000)),
    "step": lambda card: card["space"]["dropout"].update(step=0.05),
    "configured learning rate": lambda card: card["configurations"][0].update(learning_rate=0.009),
    "configured dense units": lambda card: card["configurations"][0].update(dense_units=1000),
    "configured dropout": lambda card: card["configurations"][0].update(dropout=0.1),
    "configured epochs": lambda card: card["configurations"][0].update(epochs=30),
    "order of configurations": lambda card: card.update(configurations=tuple(reversed(card["configurations"]))),
    "one configuration fewer": lambda card: card.update(configurations=card["configurations"][1:]),
    "no search": lambda card: (card.pop("search"), card.pop("space")),
}


NUMBERS = st.one_of(
    st.tuples(st.just(("seed",)), st.integers(1, 2**31 - 1)),
    st.tuples(st.just(("images", "image_size")), st.integers(71, 1000)),
    st.tuples(st.just(("training", "epochs")), st.integers(1, 1000)),
    st.tuples(st.just(("training", "batch_size")), st.integers(1, 4096)),
    st.tuples(st.just(("search", "alpha")), st.floats(1e-9, 1.0)),
    st.tuples(st.just(("search", "beta")), st.floats(0.0, 10.0)),
    st.tuples(st.just(("space", "learning_rate", "max_value")), st.floats(1e-2, 10.0)),
    st.tuples(st.just(("configurations", 0, "learning_rate")), st.floats(5e-3, 1e-2)),
)


@settings(deadline=None)
@given(setting=NUMBERS)
def test_the_digest_changes_exactly_when_a_number_does(setting: tuple[tuple, float]) -> None:
    keys, value = setting
    values = main_values()
    table = values
    for key in keys[:-1]:
        table = table[key]
    same = table.get(keys[-1]) == value
    table[keys[-1]] = value
    assert (digest(values) == digest(main_values())) == same


@pytest.mark.parametrize("case", IMPORTANT)
def test_each_deciding_setting_has_a_digest_of_its_own(case: str) -> None:
    values = main_values()
    IMPORTANT[case](values)
    others = [main_values()]
    for name in IMPORTANT:
        if name != case:
            other = main_values()
            IMPORTANT[name](other)
            others.append(other)
    assert digest(values) not in {digest(other) for other in others}


def test_the_tables_above_name_every_setting_that_a_card_has() -> None:
    """A setting that a card gets later has to be entered in one of the two tables."""
    before = _flat(load_card(MAIN).model_dump())
    touched = {f"configurations.{name}" for name in OPTIONAL} | {"views", "pruning", "teacher"}  # tables not there
    touched |= {"model.backbone", "search.factor", "search.hyperband_iterations"}  # one value; of another tuner
    for change in (*UNIMPORTANT.values(), *IMPORTANT.values()):
        values = main_values()
        change(values)
        after = _flat(Card.model_validate(values).model_dump())
        touched |= {key for key, value in before.items() if after.get(key) != value}
    assert {key for key in before if not key.startswith("space.")} <= touched


# --- hyperparameters beside the three that every card names ---

# One legal value of each, with what makes it active.
OTHERS: dict[str, dict[str, Value]] = {
    "backbone": {"backbone": "densenet121"},
    "cut": {"cut": "block14"},
    "suffix_factor": {"cut": "block14", "suffix_factor": 0.1},
    "head_epochs": {"cut": "block13", "head_epochs": 1},
    "batch_norm": {"cut": "block14", "batch_norm": "trained"},
    "views": {"views": 2},
    "pooling": {"pooling": "both"},
    "dense_layers": {"dense_layers": 2},
    "dense_units_2": {"dense_layers": 2, "dense_units_2": 50},
    "dense_units_3": {"dense_layers": 3, "dense_units_3": 50},
    "dropout_1": {"dense_layers": 2, "dropout_1": 0.1},
    "dropout_2": {"dense_layers": 3, "dropout_2": 0.1},
    "activation": {"activation": "gelu"},
    "normalization": {"normalization": "batch"},
    "label_smoothing": {"label_smoothing": 0.1},
    "mixup": {"mixup": 0.4},
    "distillation": {"distillation": 0.5},
    "class_weights": {"class_weights": "balanced"},
    "batch_size": {"batch_size": 64},
    "optimizer": {"optimizer": "sgd"},
    "weight_decay": {"optimizer": "adamw", "weight_decay": 0.01},
    "momentum": {"optimizer": "sgd", "momentum": 0.5},
    "schedule": {"schedule": "plateau"},
    "warmup_epochs": {"schedule": "cosine", "warmup_epochs": 1},
    "ema_momentum": {"ema_momentum": 0.99},
}


def listed(values: dict[str, Value], *, dense_units: int = 100) -> dict[str, Any]:
    """A card of one configuration."""
    card = main_values()
    del card["search"], card["space"]
    first = {"learning_rate": 0.001, "dense_units": dense_units, "dropout": 0.2}
    if "views" in values:
        card["views"] = {"number": 1, "horizontal_flip": True}
    if "distillation" in values:
        card["teacher"] = {"study": "another"}
    return {**card, "configurations": ({**first, **values},)}


def test_every_hyperparameter_may_stand_in_a_space_and_in_a_configuration() -> None:
    assert tuple(Space.model_fields) == tuple(HYPERPARAMETERS)
    assert tuple(Configuration.model_fields)[: len(HYPERPARAMETERS)] == tuple(HYPERPARAMETERS)
    assert set(OTHERS) == set(OPTIONAL)


@pytest.mark.parametrize("name", OTHERS)
def test_each_of_them_changes_the_digest_and_is_trained_with(name: str) -> None:
    values = OTHERS[name]
    card = Card.model_validate(listed(values))
    assert card.values_of(card.configurations[0]).items() >= values.items()
    changed = listed(values)
    without = {**changed, "configurations": ({**changed["configurations"][0], name: None},)}
    if name == "distillation":
        without["teacher"] = None
    assert digest(changed) != digest(without)


@pytest.mark.parametrize("name", [name for name, one in HYPERPARAMETERS.items() if one.parent])
def test_what_has_no_effect_is_refused(name: str) -> None:
    one = HYPERPARAMETERS[name]
    alone = {name: OTHERS[name][name]}
    with pytest.raises(ValidationError, match="no effect beside"):
        Card.model_validate(listed(alone, dense_units=0))
    card = main_values()
    card["configurations"] = ()
    card["space"][name] = {"type": "fixed", "value": OTHERS[name][name]}
    if one.parent != "dense_units":
        with pytest.raises(ValidationError, match=f"no {one.parent} of this space"):
            Card.model_validate(card)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pooling", "mean"), ("dense_layers", 4), ("dense_units_2", 0), ("activation", "swish"), ("optimizer", "lion"),
        ("label_smoothing", 1.0), ("batch_size", 0), ("ema_momentum", -0.1), ("schedule", "step"), ("momentum", 1.0),
        ("mixup", -0.1), ("distillation", 1.0),
    ],
)  # fmt: skip
def test_values_that_are_none(name: str, value: Value) -> None:
    with pytest.raises(ValidationError) as caught:
        Card.model_validate(listed({**OTHERS[name], name: value}))
    assert HYPERPARAMETERS[name].expected in str(caught.value)


@pytest.mark.parametrize(
    ("teacher", "values", "message"),
    [
        ({"study": "another"}, {}, "distillation above 0"),
        ({"study": "another"}, {"distillation": 0.0}, "distillation above 0"),
        (None, {"distillation": 0.5}, r"a table \[teacher\]"),
        ({"study": "xception-150"}, {"distillation": 0.5}, "another study than this one"),
        ({"study": ""}, {"distillation": 0.5}, "at least 1 character"),
        ({"run": "0a"}, {"distillation": 0.5}, "one of the keys study"),
    ],
)
def test_a_teacher_goes_with_distillation(
    teacher: dict[str, str] | None, values: dict[str, Value], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Card.model_validate({**listed(values), "teacher": teacher})


def test_the_teacher_decides_the_study() -> None:
    card = listed({"distillation": 0.5})
    assert digest(card) != digest({**card, "teacher": {"study": "one more"}})


VIEWS = {"number": 3, "horizontal_flip": True, "rotation": 10.0}


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ({"number": 3}, "a change beside number"),
        ({"number": 1, "average": True}, "a change beside number"),
        ({"number": 2, "horizontal_flip": True}, "1: there is one mirror image"),
        ({"number": 0, "rotation": 10.0}, "greater than or equal to 1"),
        ({"number": 1, "rotation": 181.0}, "less than or equal to 180"),
        ({"number": 1, "crop": 0.0}, "greater than or equal to 0.1"),
        ({"number": 1, "blur": 1.0}, "one of the keys number, average, horizontal_flip"),
    ],
)
def test_views_that_are_none(views: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Card.model_validate({**main_values(), "views": views})


def test_views_decide_the_study_and_trials_draw_from_as_many_as_there_are() -> None:
    card = {**main_values(), "views": VIEWS}
    assert digest(card) not in {digest(main_values()), digest({**card, "views": {**VIEWS, "number": 2}})}
    assert digest(card) == digest({**card, "views": {**VIEWS, "average": False}})
    assert digest(card) != digest({**card, "views": {**VIEWS, "average": True}})
    card["space"]["views"] = {"type": "choice", "values": (1, 4)}
    read = Card.model_validate(card)
    assert read.values_of(read.configurations[0])["views"] == 4
    card["space"]["views"] = {"type": "choice", "values": (1, 4, 5)}
    with pytest.raises(ValidationError, match="at most 4, the photo itself included"):
        Card.model_validate(card)
    del card["views"]
    with pytest.raises(ValidationError, match=r"a table \[views\]"):
        Card.model_validate(card)


def test_every_setting_of_a_view_may_stand_in_a_card() -> None:
    assert set(Views.model_fields) == {"average", *(field.name for field in fields(View))}
    for field in fields(View):
        if field.name != "number":
            assert Views.model_fields[field.name].default == field.default


def test_a_configuration_has_what_the_space_fixes_and_the_default_of_what_it_searches() -> None:
    card = main_values()
    card["space"] |= {
        "optimizer": {"type": "fixed", "value": "adamw"},
        "weight_decay": {"type": "float", "min_value": 1e-4, "max_value": 0.1, "sampling": "log"},
        "activation": {"type": "choice", "values": ("relu", "gelu")},
        "label_smoothing": {"type": "choice", "values": (0.0, 0.1)},
    }
    read = Card.model_validate(card)
    linear, dense = (read.values_of(one) for one in (read.configurations[0], read.configurations[3]))
    assert linear == {
        "learning_rate": 0.01, "dense_units": 0, "dropout": 0.0, "label_smoothing": 0.0, "optimizer": "adamw",
        "weight_decay": 0.004,
    }  # fmt: skip
    assert dense["activation"] == "relu"


def test_a_default_outside_the_space_has_to_be_said() -> None:
    card = main_values()
    card["space"]["activation"] = {"type": "choice", "values": ("gelu", "tanh")}
    with pytest.raises(ValidationError, match="a value inside the space: one of gelu, tanh"):
        Card.model_validate(card)
    card["space"]["activation"] = {"type": "choice", "values": ("relu", "tanh")}
    card["space"]["dense_layers"] = {"type": "fixed", "value": 2}
    card["space"]["dense_units_2"] = {"type": "choice", "values": (10, 100)}
    with pytest.raises(ValidationError, match="a value, since the space has it"):
        Card.model_validate(card)


def test_a_configuration_names_nothing_beside_the_space() -> None:
    card = main_values()
    card["configurations"][0]["optimizer"] = "sgd"
    with pytest.raises(ValidationError, match=r"space\.optimizer"):
        Card.model_validate(card)


def test_studies_on_record_keep_their_digest() -> None:
    """Settings that came later must leave the digest of a card that does not use them."""
    assert digest(main_values(), manifest="m") == "aa779d2f281bce63"


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """A dict of dicts as one dict of dotted keys; of a list of dicts the first one."""
    if isinstance(values, tuple) and values and isinstance(values[0], dict):
        values = values[0]
    if not isinstance(values, dict):
        return {prefix[:-1]: values}
    return {key: one for name, value in values.items() for key, one in _flat(value, f"{prefix}{name}.").items()}


@pytest.mark.parametrize("change", ["factor", "hyperband_iterations"])
def test_hyperbands_own_settings_change_the_digest(change: str) -> None:
    values = main_values()
    values["search"] = {"tuner": "hyperband"}
    before = digest(values)
    values["search"][change] = 2
    assert digest(values) != before


def test_the_inputs_beside_the_card_change_the_digest_in_any_order() -> None:
    values = main_values()
    assert digest(values, manifest="a", weights="b") != digest(values, manifest="b", weights="a")
    assert digest(values, manifest="a", weights="b") == digest(values, weights="b", manifest="a")
    assert re.fullmatch("[0-9a-f]{16}", digest(values, manifest="a"))


def test_the_final_card_differs_in_size_epochs_and_patience_alone_and_prunes_nothing() -> None:
    card = Card.model_validate({**load_card(MAIN).model_dump(), "pruning": {"rule": "median"}})
    final = card.at_final_size()
    assert (final.images.image_size, final.training.epochs, final.training.patience) == (299, 15, 4)
    assert final.pruning is None
    same = final.model_copy(update={"images": card.images, "training": card.training, "pruning": card.pruning})
    assert same == card
    assert final.training.seeds == card.training.seeds
    assert not card.is_fixed


def test_backbones_may_be_searched_and_each_trial_has_a_cut_of_its_own() -> None:
    card = main_values()
    card["space"]["backbone"] = {"values": ["efficientnetv2_b0", "xception"]}
    read = Card.model_validate(card)
    assert read.backbones() == ("xception", "efficientnetv2_b0")  # that of [model] first
    assert read.prefixes() == (("xception", NO_CUT), ("efficientnetv2_b0", NO_CUT))
    assert {read.backbone_of(read.values_of(one)) for one in read.configurations} == {"xception"}
    card["space"]["cut"] = {"values": [NO_CUT, "block6"]}
    assert Card.model_validate(card).prefixes() == tuple(
        (backbone, cut) for backbone in ("xception", "efficientnetv2_b0") for cut in (NO_CUT, "block6")
    )
    card["space"]["cut"] = {"values": [NO_CUT, "block14"]}
    with pytest.raises(ValidationError, match=r"one of avg_pool, top, block6.*since backbone = 'efficientnetv2_b0'"):
        Card.model_validate(card)
    card["space"]["backbone"] = {"value": "resnet51"}
    with pytest.raises(ValidationError, match="one of xception, efficientnetv2_b0"):
        Card.model_validate(card)


@pytest.mark.parametrize("where", ["space", "configurations"])
def test_a_cut_that_no_backbone_has_is_answered_with_those_of_the_card_s_own(where: str) -> None:
    card = main_values()
    if where == "space":
        card["space"]["cut"] = {"values": [NO_CUT, "block15"]}
    else:
        card["space"] = card["search"] = None
        card["configurations"] = [{**card["configurations"][0], "cut": "block15"}]
    legal = ", ".join((NO_CUT, *BACKBONES["xception"].cuts))
    with pytest.raises(ValidationError, match=rf"one of {legal}, since backbone = 'xception'"):
        Card.model_validate(card)


def test_listed_configurations_name_backbones_of_their_own() -> None:
    usual = {"learning_rate": 1e-3, "dense_units": 0, "dropout": 0.0}
    card = listed({})
    card["configurations"] = ({**usual, "backbone": "densenet121", "cut": "conv5"}, usual)
    read = Card.model_validate(card)
    assert read.prefixes() == (("xception", NO_CUT), ("densenet121", "conv5"))
    card["configurations"] = [{**usual, "backbone": "densenet121", "cut": "block14"}]
    with pytest.raises(ValidationError, match="since backbone = 'densenet121'"):
        Card.model_validate(card)
    for names, size in ((["densenet121"], 224), (["densenet121", "efficientnetv2_b2", "mobilenetv3_small"], 260)):
        card["configurations"] = [{**usual, "backbone": name} for name in names]
        assert Card.model_validate({**card, "final": {}}).final_size == size


def test_a_range_of_values_alone_is_a_choice_of_them() -> None:
    card, short = main_values(), main_values()
    card["space"]["label_smoothing"] = {"type": "choice", "values": [0.0, 0.1]}
    short["space"]["label_smoothing"] = {"values": [0.0, 0.1]}
    card["space"]["optimizer"], short["space"]["optimizer"] = {"type": "fixed", "value": "sgd"}, {"value": "sgd"}
    assert digest(card) == digest(short)


def test_a_card_that_is_a_pipe_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "card.toml")
    with pytest.raises(UsageError, match="a device or a pipe"):
        load_card(tmp_path / "card.toml")
