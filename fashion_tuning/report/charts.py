"""The figures of a study's own trials: each takes what it shows and returns a Matplotlib figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_tuning.report.axes import Axis
from fashion_tuning.report.drawing import BLUE, COLOURS, GREY, ORANGE, SCORES, drawing
from fashion_tuning.report.importance import Importance
from fashion_tuning.report.material import Failure, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORE = "validation accuracy"
_ACROSS = 3
_ABSENT = -0.12
_NAMED = 3  # failed trials
_PANEL = {"x": 22, "y": 14}  # letters, and lines, that a small panel has room for
_SLANT = 4  # letters that a slanted text takes up


def draw_history(trials: Sequence[Trial], failures: Sequence[Failure]) -> Figure:
    """Scores in the order of trials, the best so far, and one standard error around the best."""
    best = min(trials, key=lambda trial: trial.row.rank)
    with drawing() as figure:
        axes = figure.subplots()
        axes.axhspan(best.score - best.error, best.score + best.error, color=GREY, alpha=0.2, lw=0)
        numbers = [trial.number for trial in trials]
        scores = [trial.score for trial in trials]
        axes.errorbar(numbers, scores, [trial.error for trial in trials], fmt="o", color=BLUE, ms=4, lw=0.8)
        axes.step(numbers, np.maximum.accumulate(scores), where="post", color=ORANGE, label="best so far")
        axes.plot([], [], color=GREY, alpha=0.4, lw=6, label="the best ± one standard error")
        if failures:
            failed = [one.record.trial for one in failures]
            axes.plot(failed, [min(scores)] * len(failed), "x", color=ORANGE, label="failed")
        axes.set(xlabel="trial", ylabel=SCORE)
        _count_along(axes)
        figure.legend(loc="outside upper right", ncols=3)
    return figure


def draw_importance(importances: Sequence[Importance], axes_of: Sequence[Axis]) -> Figure:
    """Shares by evaluator, side by side, with their bootstrap intervals."""
    labels = {axis.name: axis.label for axis in axes_of}
    names = [share.name for share in importances[0].shares]
    height = 0.8 / len(importances)
    with drawing(height=1.0 + 0.7 * len(names)) as figure:
        axes = figure.subplots()
        for place, (found, colour) in enumerate(zip(importances, COLOURS, strict=False)):
            shares = {share.name: share for share in found.shares}
            values = [shares[name].value for name in names]
            spread = [
                [max(0.0, shares[name].value - shares[name].low) for name in names],
                [max(0.0, shares[name].high - shares[name].value) for name in names],
            ]
            at = [row + (place - (len(importances) - 1) / 2) * height for row in range(len(names))]
            axes.barh(at, values, height * 0.9, xerr=spread, color=colour, label=found.evaluator, ecolor=GREY)
        axes.set_yticks(range(len(names)), [labels.get(name, name) for name in names])
        axes.invert_yaxis()
        axes.set(xlim=(0, 1.02), xlabel="share of the importance, with its 90% interval")
        axes.legend(loc="lower right")
    return figure


def draw_parallel(trials: Sequence[Trial], axes_of: Sequence[Axis]) -> Figure:
    """One line per trial across its hyperparameters and its score; those that tie with the best are thick."""
    from matplotlib import colormaps

    scores = [trial.score for trial in trials]
    low, high = min(scores), max(scores)
    score_axis = Axis("score", low, high if high > low else low + 0.01)
    columns = [*axes_of, score_axis]
    with drawing(width=max(7.0, 1.1 * len(columns)), height=3.8) as figure:
        axes = figure.subplots()
        for trial in sorted(trials, key=lambda one: one.score):
            heights = [_place(axis, trial) for axis in axes_of]
            share = score_axis.position(trial.score)
            axes.plot(
                range(len(columns)),
                [*heights, share],
                color=colormaps[SCORES](0.05 + 0.85 * share),
                lw=2.2 if trial.row.tied else 0.8,
                alpha=0.95 if trial.row.tied else 0.6,
            )
        for place, axis in enumerate(columns):
            axes.axvline(place, color=GREY, lw=0.8)
            for height, text in axis.ticks():
                axes.annotate(text, (place, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
            if axis is not score_axis and any(axis.name not in trial.values for trial in trials):
                axes.annotate(
                    "none", (place, _ABSENT), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7
                )
        labels = [textwrap.fill(text, 14) for text in (*(axis.label for axis in axes_of), SCORE)]
        axes.set_xticks(range(len(columns)), labels)
        axes.set(xlim=(-0.1, len(columns) - 0.7), yticks=[])
        axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def draw_slices(trials: Sequence[Trial], axes_of: Sequence[Axis]) -> Figure:
    """Score against each hyperparameter by itself; trials in which it is not active are left out."""
    rows, columns = _grid(len(axes_of))
    with drawing(height=0.4 + 2.6 * rows) as figure:
        panels: Any = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for panel, axis in zip(panels.flat, axes_of, strict=False):
            having = [trial for trial in trials if axis.name in trial.values]
            _scores(panel, having, [axis.position(trial.values[axis.name]) for trial in having])
            _lay_out(panel, axis, along="x")
            panel.set_xlabel(axis.label)
        for panel in panels.flat[len(axes_of) :]:
            panel.set_visible(False)
        for panel in panels[:, 0]:
            panel.set_ylabel(SCORE)
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def draw_contours(trials: Sequence[Trial], axes_of: Sequence[Axis]) -> Figure:
    """Score over each pair of hyperparameters, interpolated linearly between trials where they span a plane."""
    pairs = list(combinations(axes_of, 2))
    rows, columns = _grid(len(pairs))
    every = [trial.score for trial in trials]
    with drawing(height=0.4 + 2.8 * rows) as figure:
        panels: Any = figure.subplots(rows, columns, squeeze=False)
        for panel, (across, up) in zip(panels.flat, pairs, strict=False):
            having = [trial for trial in trials if across.name in trial.values and up.name in trial.values]
            scores = np.array([trial.score for trial in having])
            x = np.array([across.position(trial.values[across.name]) for trial in having])
            y = np.array([up.position(trial.values[up.name]) for trial in having])
            if across.has_order and up.has_order:
                _fill(panel, x, y, scores)
            dots = panel.scatter(
                x, y, c=scores, vmin=min(every), vmax=max(every), cmap=SCORES, edgecolors=GREY, s=28, zorder=3
            )
            _lay_out(panel, across, along="x")
            _lay_out(panel, up, along="y")
            panel.set(xlabel=across.label, ylabel=up.label)
        for panel in panels.flat[len(pairs) :]:
            panel.set_visible(False)
        figure.colorbar(dots, ax=list(panels.flat), label=SCORE)
    return figure


def draw_curves(best: Trial, median: Trial, failures: Sequence[Failure]) -> Figure:
    """Learning curves, means over seeds: validation as lines, training dashed."""
    with drawing() as figure:
        axes = figure.subplots()
        shown = [(best, "best", BLUE)] + ([(median, "median", ORANGE)] if median.number != best.number else [])
        for trial, what, colour in shown:
            epochs = range(1, 1 + len(trial.val_accuracy))
            axes.plot(epochs, trial.val_accuracy, "o-", ms=3, color=colour, label=f"{what}: trial {trial.number:02d}")
            axes.plot(epochs, trial.accuracy, "--", color=colour, lw=1, label="the same in training")
        failed = [failure for failure in failures if failure.val_accuracy]
        for number, failure in enumerate(failed):
            epochs = range(1, 1 + len(failure.val_accuracy))
            label = _failed_label(failed) if number == 0 else None  # a line each would leave no room for the figure
            axes.plot(epochs, failure.val_accuracy, "x-", color=GREY, label=label)
        axes.set(xlabel="epoch", ylabel="accuracy")
        _count_along(axes)
        axes.grid(axis="y")
        axes.legend(loc="best")
    return figure


def draw_gap(trials: Sequence[Trial]) -> Figure:
    """Accuracy in training less that in validation, against dropout."""
    with drawing(height=3.0) as figure:
        axes = figure.subplots()
        units = sorted({trial.values["dense_units"] for trial in trials})
        for trial in trials:
            place = units.index(trial.values["dense_units"])
            axes.plot(trial.values["dropout"], trial.gap, "o", color=_of(place), ms=5)
        for place, one in enumerate(units[: len(COLOURS)]):
            axes.plot([], [], "o", color=_of(place), label=f"dense {one:g}")
        axes.axhline(0, color=GREY, lw=0.8)
        axes.set(xlabel="dropout", ylabel="training less validation accuracy")
        axes.legend(loc="best")
    return figure


def draw_cost(trials: Sequence[Trial], front: Sequence[Trial]) -> Figure:
    """Score against seconds, and the trials that no other beats in both."""
    with drawing(height=3.0) as figure:
        axes = figure.subplots()
        _scores(axes, trials, [trial.seconds for trial in trials])
        axes.step(
            [t.seconds for t in front], [t.score for t in front], where="post", color=ORANGE, label="Pareto front"
        )
        axes.set(xscale="log", xlabel="seconds of a trial, all its seeds", ylabel=SCORE)
        _plain_along(axes)
        figure.legend(loc="outside upper right", ncols=3)
    return figure


def draw_seeds(ranked: Sequence[Trial]) -> Figure:
    """Every seed's accuracy at the best epoch, best configuration first."""
    with drawing(height=3.0) as figure:
        axes = figure.subplots()
        for place, trial in enumerate(ranked, 1):
            axes.plot([place, place], [min(trial.row.seeds), max(trial.row.seeds)], color=GREY, lw=0.8)
            axes.plot([place] * len(trial.row.seeds), trial.row.seeds, "o", ms=3, color=BLUE)
            axes.plot(place, trial.score, "_", ms=8, color=ORANGE)
        axes.plot([], [], "o", ms=3, color=BLUE, label="one seed")
        axes.plot([], [], "_", ms=8, color=ORANGE, label="mean")
        axes.set(xlabel="rank", ylabel=SCORE)
        _count_along(axes)
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def _grid(num_panels: int) -> tuple[int, int]:
    """Rows and columns of small panels."""
    return -(-num_panels // _ACROSS), min(num_panels, _ACROSS)


def _place(axis: Axis, trial: Trial) -> float:
    """Where a trial crosses an axis of parallel coordinates; below it where the hyperparameter is not active."""
    return axis.position(trial.values[axis.name]) if axis.name in trial.values else _ABSENT


def _scores(panel: Axes, trials: Sequence[Trial], places: Sequence[float]) -> None:
    """Scores with their standard errors; those that tie with the best stand out."""
    for tied, colour in ((False, GREY), (True, BLUE)):
        some = [(place, trial) for place, trial in zip(places, trials, strict=True) if trial.row.tied == tied]
        panel.errorbar(
            [place for place, _ in some],
            [trial.score for _, trial in some],
            [trial.error for _, trial in some],
            fmt="o",
            ms=4,
            lw=0.8,
            color=colour,
            label="ties with the best" if tied else "worse",
        )


def _count_along(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _plain_along(axes: Axes) -> None:
    """Numbers as people write them, on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _lay_out(panel: Axes, axis: Axis, *, along: str) -> None:
    """Names an axis by as many of its values as there is room for, slanted where they are long."""
    ticks = axis.ticks()
    room, longest = _PANEL[along], max(len(text) for _, text in ticks)
    slanted = along == "x" and len(ticks) * (longest + 1) > room
    step = -(-len(ticks) // (room // _SLANT if slanted else room)) if slanted or along == "y" else 1
    places, texts = zip(*ticks[::step], strict=True)
    if along == "x":
        panel.set_xlim(-0.06, 1.06)
        turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
        panel.set_xticks(places, texts, fontsize=7, **turned)
    else:
        panel.set_ylim(-0.06, 1.06)
        panel.set_yticks(places, texts, fontsize=7)


def _fill(panel: Axes, x: np.ndarray, y: np.ndarray, scores: np.ndarray) -> None:
    points = np.column_stack([x, y])
    centred = points - points.mean(axis=0)
    if len(np.unique(points, axis=0)) < 4 or np.linalg.matrix_rank(centred, tol=1e-6) < 2:
        return
    panel.tricontourf(x, y, scores, levels=8, cmap=SCORES, alpha=0.5)


def _failed_label(failed: Sequence[Failure]) -> str:
    numbers = ", ".join(f"{failure.record.trial:02d}" for failure in failed[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return f"failed: trial{'s' if len(failed) > 1 else ''} {numbers}{more}"


def _of(place: int) -> str:
    return COLOURS[place] if place < len(COLOURS) else GREY
