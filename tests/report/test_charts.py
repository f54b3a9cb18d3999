"""The report's figures with few and many trials, values and long words: all of it can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from legibility import faults
from matplotlib.figure import Figure
from small_board import failed_record
from synthetic import draw_values, make_trials

from fashion_tuning.backbones import BACKBONES
from fashion_tuning.report import charts, outcome_charts
from fashion_tuning.report.axes import Axis, make_axes
from fashion_tuning.report.material import Failure, Trial


def wide_trials(num: int) -> tuple[tuple[Trial, ...], tuple[Axis, ...]]:
    """Trials of a search over many long words, decades and whole numbers."""
    random, values = np.random.default_rng(1), draw_values(num)
    for one in values:
        one["learning_rate"] = float(10 ** random.uniform(-9, 0))
        one["dense_units"] = int(random.choice([2**power for power in range(14)]))
        one["backbone"] = str(random.choice(list(BACKBONES)))  # type: ignore[assignment]
        one["batch_size"] = int(random.choice(range(8, 128, 8)))
    return make_trials(values, random.normal(0.8, 0.02, num).tolist()), make_axes(None, values)  # type: ignore[arg-type]


def published(trials: Sequence[Trial]) -> list[Trial]:
    """With what was reported of the same configurations, by a talkative source."""
    changes = {"published_val_accuracy": 0.8, "source": "a blog's $second$ post on the same photos, " * 4}
    return [replace(one, row=replace(one.row, record=replace(one.row.record, **changes))) for one in trials]


DRAWN: dict[str, Callable[[], Figure]] = {
    "slices": lambda: charts.draw_slices(*wide_trials(40)),
    "contours": lambda: charts.draw_contours(wide_trials(40)[0], wide_trials(40)[1][:4]),
    "parallel": lambda: charts.draw_parallel(*wide_trials(40)),
    "history": lambda: charts.draw_history(wide_trials(500)[0], ()),
    "one trial": lambda: charts.draw_history(wide_trials(1)[0], ()),
    "seeds": lambda: charts.draw_seeds(wide_trials(200)[0]),
    "gap": lambda: charts.draw_gap(wide_trials(100)[0]),
    "published": lambda: outcome_charts.draw_published(published(wide_trials(100)[0])),
    "studies": lambda: outcome_charts.draw_studies({f"{'long-name-' * 6}{n}-drawn": [0.8, 0.7] for n in range(9)}),
}


@pytest.mark.parametrize("name", DRAWN)
def test_it_can_be_read(name: str) -> None:
    assert faults(DRAWN[name]()) == []


def test_many_failed_trials_leave_room_for_the_curves() -> None:
    trials, _ = wide_trials(2)
    failures = [Failure(failed_record(number), (0.3, 0.2)) for number in range(3, 43)]
    figure = charts.draw_curves(trials[0], trials[1], failures)
    assert faults(figure) == []
    assert "failed: trials 03, 04, 05 and 37 more" in [text.get_text() for text in figure.axes[0].get_legend().texts]  # type: ignore[union-attr]
