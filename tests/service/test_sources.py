"""A model's file as what is served: over how many views it averages, and whether its threshold of doubt holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from serving import garment

from fashion_tuning.data.views import View
from fashion_tuning.errors import UsageError
from fashion_tuning.service.loaded import Loaded
from fashion_tuning.service.sources import find_source

MIRROR = View(1, horizontal_flip=True).name


def load(path: Path, average_views: bool | None = None, *, engine: str = "keras") -> Loaded:
    source = find_source(str(path), engine=engine, average_views=average_views, tracking_uri=None, patience=1.0)
    return source.load()


@pytest.mark.parametrize(
    ("average", "asked", "num_views", "threshold"),
    [
        (True, None, 2, 0.2),
        (False, True, 2, None),
        pytest.param(True, False, 1, None, marks=pytest.mark.slow),
        pytest.param(False, None, 1, 0.2, marks=pytest.mark.slow),
    ],
)
def test_views_are_averaged_as_the_card_says_or_as_asked(
    average: bool, asked: bool | None, num_views: int, threshold: float | None, make_model: Callable[..., Path]
) -> None:
    """A threshold that was found on other answers is none."""
    loaded = load(make_model(views=(MIRROR,), average=average), asked)
    assert (loaded.classifier.num_views, loaded.unsure_below) == (num_views, threshold)


def test_a_model_without_views_has_none_to_average_over(model: Path) -> None:
    with pytest.raises(UsageError, match="trained with views"):
        load(model, True)


@pytest.mark.slow
def test_an_export_answers_as_keras_does(model: Path) -> None:
    photos = [garment("shoes", place) for place in range(3)]
    exact, exported = load(model), load(model, engine="saved_model")
    assert (exact.engine, exported.engine) == ("keras", "saved_model")
    assert "of Keras's images/s" in exported.note
    ours, theirs = (
        one.classifier.answer([one.classifier.prepare(photo) for photo in photos]) for one in (exported, exact)
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
