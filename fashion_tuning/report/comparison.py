"""Several studies on one page: their trials ranked together, and what sets them apart."""

from __future__ import annotations

from dataclasses import replace

from fashion_tuning.hyperparameters import besides, usual
from fashion_tuning.report.outcome_charts import draw_studies
from fashion_tuning.report.section import Section, Table, drawn, without_empty
from fashion_tuning.study.comparison import Comparison
from fashion_tuning.wording import count


def comparison_sections(comparison: Comparison) -> list[Section]:
    """The parts of the page."""
    return [_studies(comparison), _ranking(comparison), *_differences(comparison)]


def names(comparison: Comparison) -> dict[str, str]:
    """What each study is called on the page, by its run id: its experiment, and its run where two share one."""
    studies = [board.study for board in comparison.boards]
    shared = [one.experiment for one in studies]
    return {
        one.run_id: one.experiment if shared.count(one.experiment) == 1 else f"{one.experiment} {one.run_id[:8]}"
        for one in studies
    }


def read_comparison(comparison: Comparison) -> str:
    """Which study has the best trial, and whether the others' best can be told from it."""
    called = names(comparison)
    first = comparison.rows[0]
    score = first.row.record.metrics["best_val_accuracy"]
    parts = [
        f"The best trial of all, {score:.4f}, is trial {first.row.record.trial:02d} of {called[first.study.run_id]}"
    ]
    for board in comparison.boards:
        if board.study.run_id == first.study.run_id:
            continue
        best = next(one for one in comparison.rows if one.study.run_id == board.study.run_id)
        name, score = called[board.study.run_id], best.row.record.metrics["best_val_accuracy"]
        if not best.comparable:
            parts.append(f"the best of {name}, {score:.4f}, has other photos or seeds and can't be paired with it")
        elif any(one.tied for one in comparison.rows if one.study.run_id == board.study.run_id):
            parts.append(f"a trial of {name}, whose best is {score:.4f}, ties with it")
        else:
            parts.append(f"none of {name} ties with it, the best there is {score:.4f}")
    return "; ".join(parts) + "."


def _studies(comparison: Comparison) -> Section:
    called = names(comparison)
    columns = ("study", "digest", "run", "completed", "failed", "best val accuracy", "± se", "luck of the pick")
    rows = []
    for board in comparison.boards:
        metrics = board.rows[0].record.metrics
        rows.append(
            (
                called[board.study.run_id],
                board.study.digest,
                board.study.run_id,
                str(len(board.rows)),
                str(len(board.failed)),
                f"{metrics['best_val_accuracy']:.4f}",
                f"{metrics['best_val_accuracy_se']:.4f}",
                f"{board.flattery:.4f}",
            )
        )
    scores = {
        called[board.study.run_id]: [row.record.metrics["best_val_accuracy"] for row in board.rows]
        for board in comparison.boards
    }
    each = ", ".join(f"{len(values)} of {name}" for name, values in scores.items())
    drawing = drawn(
        "studies",
        "Studies",
        (read_comparison(comparison),),
        draw_studies(scores),
        f"n = {count(len(comparison.rows), 'trial')}: {each}; accuracy: share of each study's validation photos,"
        " mean of its seeds",
    )
    return replace(drawing, table=Table(columns, tuple(rows)))


def _ranking(comparison: Comparison) -> Section:
    called = names(comparison)
    columns = ("rank", "study", "trial", "learning rate", "dense units", "dropout", "val accuracy", "± se",
               "seconds", "also")  # fmt: skip
    rows = []
    for one in comparison.rows:
        record = one.row.record
        rows.append(
            (
                f"{one.rank}{' =' if one.tied else ''}{'' if one.comparable else ' *'}",
                called[one.study.run_id],
                f"{record.trial:02d}",
                *usual(record.values),
                f"{record.metrics['best_val_accuracy']:.4f}",
                f"{record.metrics['best_val_accuracy_se']:.4f}",
                f"{record.metrics['seconds']:.1f}",
                besides(record.values),
            )
        )
    notes = ["= ties with the best of all: paired difference within one standard error."]
    if not all(one.comparable for one in comparison.rows):
        notes.append("* has other photos or seeds than the best, so that nothing can be paired.")
    return Section("ranking", "All trials", tuple(notes), table=without_empty(columns, rows))


def _differences(comparison: Comparison) -> list[Section]:
    called = names(comparison)
    first = called[comparison.boards[0].study.run_id]
    rows = [
        (called[one.study.run_id], one.kind, *(part.strip() for part in _split(line)))
        for one in comparison.differences
        for line in one.lines
    ]
    if not rows:
        return [Section("differences", "What differs", ("The studies have the same settings, data and versions.",))]
    columns = ("study", "kind", "what", f"{first} -> the study")
    return [
        Section(
            "differences",
            "What differs",
            (f"Each study against {first}: space, data, training, versions.",),
            table=Table(columns, tuple(rows)),
        )
    ]


def _split(line: str) -> tuple[str, str]:
    what, _, change = line.partition(": ")
    return what, change
