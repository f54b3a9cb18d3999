"""What a report has to show of a study, figure by figure, each with its reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from fashion_tuning.figures import MAX_COUNTED
from fashion_tuning.hyperparameters import besides, usual
from fashion_tuning.lettering import describe_missing, missing_letters
from fashion_tuning.report import charts, outcome_charts, outcome_readings, readings
from fashion_tuning.report.axes import Axis, make_axes
from fashion_tuning.report.importance import NUM_DRAWS, importances
from fashion_tuning.report.material import Material
from fashion_tuning.report.section import Section, Table, drawn, without_empty
from fashion_tuning.study.inputs import averages
from fashion_tuning.wording import count, luck, shared_pictures

MAX_PAIRED: Final = 4
BARS: Final = "bars: ± one standard error"


def make_sections(material: Material) -> list[Section]:
    """All parts that the study has something to say in, in reading order."""
    trials, failures, seeds = material.trials, material.failures, material.card.training.seeds
    axes = shown_axes(material)
    ranked = material.ranked
    median, front = ranked[len(ranked) // 2], readings.pareto_front(trials)
    num, photos = f"n = {count(len(trials), 'trial')}", material.num_photos
    sections = [
        _leaderboard(material),
        drawn(
            "history",
            "Optimization history",
            (readings.read_history(trials),),
            charts.draw_history(trials, failures),
            f"{_scores(material)}; {BARS}",
        ),
        _importance(material, axes),
    ]
    if axes:
        sections += _by_hyperparameter(material, axes)
    sections += [
        drawn(
            "curves",
            "Learning curves",
            (readings.read_curves(ranked[0], median, failures),),
            charts.draw_curves(ranked[0], median, failures),
            f"means of {count(seeds, 'seed')}; accuracy: share of {photos['validation']:,} validation photos (lines)"
            f" and of {photos['train']:,} train photos (dashed)",
        ),
        drawn(
            "gap",
            "Generalization gap and dropout",
            (readings.read_gap(trials),),
            charts.draw_gap(trials),
            f"{num}; difference of two shares of photos, means of {count(seeds, 'seed')} at the best epoch",
        ),
        drawn(
            "cost",
            "Cost and accuracy",
            (readings.read_cost(trials, front),),
            charts.draw_cost(trials, front),
            f"{_scores(material)}; {BARS}",
        ),
        drawn(
            "seeds",
            "Spread over seeds",
            (readings.read_seeds(trials),),
            charts.draw_seeds(ranked),
            f"{num} of {count(seeds, 'seed')}; accuracy: share of {photos['validation']:,} validation photos at the"
            " best epoch",
        ),
    ]
    published = [trial for trial in trials if trial.record.published_val_accuracy]
    if published:
        sections.append(
            drawn(
                "published",
                "The course's sweeps beside ours",
                (outcome_readings.read_published(published),),
                outcome_charts.draw_published(published),
                _scores(material, num_trials=len(published)),
            )
        )
    sections += _final(material)
    if failures:
        sections.append(_failures(material))
    sections.append(_provenance(material))
    return sections


def shown_axes(material: Material) -> tuple[Axis, ...]:
    """The hyperparameters that differ between a study's trials."""
    return make_axes(material.card.space, [dict(trial.values) for trial in material.trials])


def _leaderboard(material: Material) -> Section:
    board = material.board
    tied = sum(row.tied for row in board.rows)
    best = board.rows[0].record.metrics["best_val_accuracy"]
    if tied > 1:
        others = len(board.rows) - 1
        tie = f"{tied - 1} of {others} other trials tie" if others > 1 else "The other trial ties"
        ties = f"{tie} with the best: a paired difference within one standard error."
    elif len(board.rows) > 1:
        ties = "No other trial ties with the best: every paired difference is beyond one standard error."
    else:
        ties = "There is no other trial that might tie with it."
    words = luck(board.flattery, best)
    pick = f"{words[0].upper()}{words[1:]}; chosen is trial {board.chosen.trial:02d}."
    end = (f"All trials have been run: {board.exhausted}.",) if board.exhausted else ()
    columns = ("rank", "trial", "learning rate", "dense units", "dropout", "val accuracy", "± se", "best epoch",
               "seconds", "parameters", "published", "also")  # fmt: skip
    rows = []
    for trial in material.ranked:
        record, published = trial.record, trial.record.published_val_accuracy
        rows.append(
            (
                f"{trial.row.rank}{' =' if trial.row.tied and tied > 1 else ''}",
                f"{trial.number:02d}{' (chosen)' if record == board.chosen else ''}",
                *usual(trial.values),
                f"{trial.score:.4f}",
                f"{trial.error:.4f}",
                f"{trial.best_epoch} of {record.metrics['epochs_run']:.0f}",
                f"{trial.seconds:.1f}",
                f"{record.trainable_parameters:,}",
                f"{published:.4f}" if published else "",
                trial.row.also,
            )
        )
    return Section("leaderboard", "Leaderboard", (ties, pick, *end), table=without_empty(columns, rows))


def _scores(material: Material, *, num_trials: int | None = None) -> str:
    """What scores are of."""
    trials = count(len(material.trials) if num_trials is None else num_trials, "trial")
    seeds = material.card.training.seeds
    means = f"each the mean of {count(seeds, 'seed')}" if seeds > 1 else "each of 1 seed"
    return f"n = {trials}, {means}; accuracy: share of {material.num_photos['validation']:,} validation photos"


def _importance(material: Material, axes: Sequence[Axis]) -> Section:
    trials = material.trials
    found = importances(material.card.space, [trial.values for trial in trials], [trial.score for trial in trials])
    name, title = "importance", "Hyperparameter importance"
    said = [readings.read_importance(found, axes, num_trials=len(trials))]
    some = [axis.label for axis in axes if not all(axis.name in trial.values for trial in trials)]
    if found and some:
        said.append(f"Left out, since not active in every trial: {', '.join(some)}.")
    if not found:
        return Section(name, title, tuple(said))
    basis = (
        f"n = {count(len(trials), 'trial')}; shares of one evaluator sum to 1; bars: 90% intervals of {NUM_DRAWS}"
        " bootstrap draws of trials"
    )
    return drawn(name, title, tuple(said), charts.draw_importance(found, axes), basis)


def _by_hyperparameter(material: Material, axes: Sequence[Axis]) -> list[Section]:
    trials, scores = material.trials, _scores(material)
    sections = [
        drawn(
            "parallel",
            "Parallel coordinates",
            (readings.read_parallel(trials, axes),),
            charts.draw_parallel(trials, axes),
            f"{scores}; thick: ties with the best",
        ),
        drawn(
            "slices",
            "Each hyperparameter by itself",
            tuple(readings.read_slice(trials, axis) for axis in axes),
            charts.draw_slices(trials, axes),
            f"{scores}; {BARS}",
        ),
    ]
    pairwise = axes[:MAX_PAIRED]
    notes = ["Low and high: the halves of an axis as it is drawn."]
    if len(axes) > MAX_PAIRED:
        notes.append(f"Only the first {MAX_PAIRED} of {len(axes)} hyperparameters are paired here.")
    if len(axes) > 1:
        sections.append(
            drawn(
                "contours",
                "Pairs of hyperparameters",
                (readings.read_contours(trials, pairwise), *notes),
                charts.draw_contours(trials, pairwise),
                f"{scores}; dots: trials, areas: linear between them",
            )
        )
    return sections


def _final(material: Material) -> list[Section]:
    final = material.final
    if final is None:
        return []
    small = material.card.images.image_size
    sections = []
    if final.pairs:
        sections.append(
            drawn(
                "sizes",
                f"{small} px against {final.image_size} px",
                (outcome_readings.read_sizes(final, small=small),),
                outcome_charts.draw_sizes(final.pairs, small=small, large=final.image_size),
                _scores(material, num_trials=len(final.pairs)),
            )
        )
    if final.evaluation is not None:
        figures = final.evaluation.figures
        num = f"n = {figures.num_images:,} {final.evaluation.split} photos"
        names = [class_figures.name for class_figures in figures.classes]
        missing = missing_letters(names)
        boxes = (f"Of this figure as PNG: {describe_missing(missing)}.",) if missing else ()
        sections += [
            drawn(
                "confusion",
                "The final model's mistakes",
                (outcome_readings.read_confusion(final.evaluation), *boxes),
                outcome_charts.draw_confusion(figures.confusion, names),
                f"{num}, counted in the cells" if len(names) <= MAX_COUNTED else f"{num}, of {len(names)} classes",
            ),
            drawn(
                "calibration",
                "The final model's calibration",
                (outcome_readings.read_calibration(final.evaluation),),
                outcome_charts.draw_calibration(figures.bins, calibration_error=figures.calibration_error),
                f"{num}, counted in the bars; accuracy: share of them",
            ),
        ]
    return sections


def _failures(material: Material) -> Section:
    rows = tuple(
        (
            f"{one.record.trial:02d}",
            *usual(one.record.values),
            besides(one.record.values),
            one.record.error,
            (one.record.error_message.strip().splitlines() or [""])[0][:300],
        )
        for one in material.failures
    )
    kinds = sorted({one.record.error for one in material.failures})
    what = f"{count(len(rows), 'trial')} failed: {', '.join(kinds)}."
    columns = ("trial", "learning rate", "dense units", "dropout", "also", "error", "message")
    return Section("failures", "What failed and why", (what,), table=without_empty(columns, rows))


def _provenance(material: Material) -> Section:
    card, study, metrics = material.card, material.study, material.metrics
    rows: list[tuple[str, str]] = [
        ("experiment", study.experiment),
        ("study", f"{study.digest}, generation {study.generation}"),
        ("MLflow run", study.run_id),
        ("command", "fashion-tuning tune with the card card.toml, an artifact of that run"),
        ("training", f"{count(card.training.seeds, 'seed')}, at most {count(card.training.epochs, 'epoch')}, batches of"
                     f" {card.training.batch_size}"),
        ("images", f"{card.images.image_size} px, {card.images.interpolation}, {card.images.aspect}"),
        ("frozen features", f"{', '.join(card.backbones())}, by {card.model.engine} in {card.model.precision}"),
    ]  # fmt: skip
    rows += [(name, value) for name, value in material.provenance.items() if value]
    for name, label in (("seconds_features", "features took"), ("seconds_trials", "trials took")):
        if math.isfinite(metrics.get(name, math.nan)):
            rows.append((label, f"{metrics[name]:.0f} s"))
    note = (
        "Scores are mean validation accuracies over seeds, at the epoch where the mean is highest; standard errors"
        " are bootstraps over seeds and photos. Test is not read by a study."
    )
    if averages(card):
        note += " Validation probabilities are means over each photo and the views that a trial trains on."
    if material.shared:
        note += f" {shared_pictures(material.shared)}; a model may be measured on what it has learned."
    return Section("measured", "How it was measured", (note,), table=Table(("what", "value"), tuple(rows)))
