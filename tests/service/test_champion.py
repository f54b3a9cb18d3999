"""Which model answers: what the self-test finds, and what becomes of one that fails it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fashion_tuning.data.decode import Sizing
from fashion_tuning.errors import ParityError, StoreError
from fashion_tuning.model.classifier import Prepared
from fashion_tuning.service.champion import Champion
from fashion_tuning.service.loaded import Loaded, sample, try_out


class Rule:
    """A model that is a formula of a picture's mean, (pictures,) to (pictures, classes)."""

    class_names = ("hat", "shoes")
    sizing = Sizing(32)

    def __init__(self, formula: Callable[[np.ndarray], np.ndarray]) -> None:
        self._formula = formula

    def answer(self, prepared: Sequence[Prepared]) -> np.ndarray:
        return self._formula(np.array([one.pixels.mean() for one in prepared]) / 255)


def good(means: np.ndarray) -> np.ndarray:
    return np.stack([means, 1 - means], axis=1)


def loaded(formula: Callable[[np.ndarray], np.ndarray] = good, *, version: str = "1") -> Loaded:
    return Loaded("rule", version, Rule(formula), "keras", 0.6)  # type: ignore[arg-type]


class Shelf:
    """A source whose newest model a test puts there."""

    def __init__(self) -> None:
        self.name, self.model, self.loads = "1", loaded(), 0
        self.away = False

    def newest(self) -> str:
        if self.away:
            raise StoreError("the store is away")
        return self.name

    def load(self) -> Loaded:
        self.loads += 1
        return self.model


def broken(means: np.ndarray) -> np.ndarray:
    return good(means) * np.nan


def test_a_good_model_passes() -> None:
    try_out(loaded())


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (broken, "no probabilities"),
        (lambda means: good(means) * 2, "no probabilities"),
        (lambda means: np.stack([means + 1, -means], axis=1), "no probabilities"),
        (lambda means: means[:, None], "one probability for each class"),
        (lambda means: good(means)[:1], "one probability for each class"),
        (lambda means: good(np.full(len(means), means.max())), "alone and in a batch differently"),
    ],
    ids=["nan", "sum", "negative", "classes", "pictures", "batch"],
)
def test_a_bad_one_does_not(formula: Callable[[np.ndarray], np.ndarray], said: str) -> None:
    with pytest.raises(ParityError, match=said):
        try_out(loaded(formula))


def test_a_bad_model_is_refused_once_and_a_better_one_taken() -> None:
    shelf, told = Shelf(), list[str]()
    champion = Champion(shelf, tell=told.append)
    assert champion.look() is False
    shelf.name, shelf.model = "2", loaded(broken, version="2")
    assert [champion.look(), champion.look()] == [False, False]
    assert (champion.current.version, shelf.loads, told) == ("1", 2, ["refused"])
    with pytest.raises(ParityError, match="no probabilities"):
        champion.reload()  # somebody asks for it by name: it is tried again
    shelf.name, shelf.model = "3", loaded(version="3")
    assert champion.look() is True
    assert (champion.current.version, told) == ("3", ["refused", "refused", "taken"])
    shelf.name, shelf.model = "1", loaded()
    assert champion.reload() is True
    assert champion.reload() is False
    assert champion.current.version == "1"


def test_a_store_that_is_away_changes_nothing() -> None:
    shelf = Shelf()
    champion = Champion(shelf)
    shelf.away = True
    assert champion.look() is False
    assert champion.current.version == "1"


def test_the_first_model_has_to_be_fit() -> None:
    shelf = Shelf()
    shelf.model = loaded(lambda means: means[99])  # type: ignore[arg-type, return-value]
    with pytest.raises(ParityError, match="IndexError"):
        Champion(shelf)


def test_what_is_unsure() -> None:
    assert loaded().is_unsure(0.59)
    assert not loaded().is_unsure(0.6)
    assert not Loaded("rule", "1", Rule(good), "keras", None).is_unsure(0.1)  # type: ignore[arg-type]


def test_the_picture_of_the_self_test_is_a_png() -> None:
    assert sample().startswith(b"\x89PNG")
