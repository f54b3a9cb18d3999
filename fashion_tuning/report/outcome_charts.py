"""The figures of what a study is set against: published scores, the final size, other studies, the final model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from fashion_tuning.figures import confusion_size, plot_confusion, plot_reliability
from fashion_tuning.hyperparameters import besides
from fashion_tuning.lettering import shortened
from fashion_tuning.measures import Bin
from fashion_tuning.report.charts import SCORE
from fashion_tuning.report.drawing import BLUE, ORANGE, drawing
from fashion_tuning.report.material import Pair, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PUBLISHED: Final = 40
LONGEST_CONFIGURATION: Final = 60


def draw_published(trials: Sequence[Trial]) -> Figure:
    """Ours beside what was published of the same configurations, of many the best."""
    num = len(trials)
    if num > MAX_PUBLISHED:
        trials = sorted(trials, key=lambda trial: trial.row.rank)[:MAX_PUBLISHED]
    names = [_describe(trial) for trial in trials]
    with drawing(height=1.0 + 0.35 * len(trials), texts=names) as figure:
        axes = figure.subplots()
        rows = range(len(trials))
        axes.errorbar(
            [trial.score for trial in trials],
            rows,
            xerr=[trial.error for trial in trials],
            fmt="o",
            color=BLUE,
            ms=5,
            label="ours, mean over seeds ± standard error",
        )
        published = [trial.record.published_val_accuracy or 0.0 for trial in trials]
        axes.plot(published, rows, "D", color=ORANGE, ms=5, label="published, best epoch of one seed")
        axes.set_yticks(rows, shortened(names, longest=LONGEST_CONFIGURATION))
        axes.invert_yaxis()
        axes.set_xlabel(SCORE if num == len(trials) else f"{SCORE}; the best {len(trials)} of {num}")
        axes.grid(axis="x")
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def draw_sizes(pairs: Sequence[Pair], *, small: int, large: int) -> Figure:
    """The same configurations at two image sizes."""
    with drawing(width=4.6, height=4.2) as figure:
        axes = figure.subplots()
        axes.plot([pair.small for pair in pairs], [pair.large for pair in pairs], "o", color=BLUE, ms=5)
        axes.set(xlabel=f"{SCORE} at {small} px", ylabel=f"{SCORE} at {large} px")
        axes.grid()
    return figure


def draw_studies(scores: Mapping[str, Sequence[float]]) -> Figure:
    """All scores of each study, by its name."""
    with drawing(height=1.0 + 0.6 * len(scores)) as figure:
        axes = figure.subplots()
        for place, values in enumerate(scores.values()):
            axes.plot(values, [place] * len(values), "o", ms=4, color=BLUE, alpha=0.6)
            axes.plot(max(values), place, "D", ms=6, color=ORANGE, label="best" if place == 0 else None)
        axes.set_yticks(range(len(scores)), list(scores))
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.set_xlabel(SCORE)
        axes.grid(axis="x")
        axes.legend(loc="lower left")
    return figure


def draw_confusion(confusion: np.ndarray, class_names: Sequence[str]) -> Figure:
    """See `figures.plot_confusion`."""
    width, height = confusion_size(class_names)
    with drawing(width=width, height=height, texts=class_names) as figure:
        plot_confusion(figure, confusion, class_names)
    return figure


def draw_calibration(bins: Sequence[Bin], *, calibration_error: float) -> Figure:
    """See `figures.plot_reliability`."""
    with drawing(width=4.8, height=4.8) as figure:
        plot_reliability(figure, bins, calibration_error=calibration_error)
    return figure


def _describe(trial: Trial) -> str:
    values = trial.values
    text = f"lr {values['learning_rate']:g}, dense {values['dense_units']:g}, dropout {values['dropout']:g}"
    if others := besides(values):
        text += f", {others}"
    return f"{text} ({trial.record.source})" if trial.record.source else text
