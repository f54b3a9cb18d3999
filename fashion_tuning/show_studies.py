"""What a person sees of studies and their trials, and what a machine reads with --json."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_tuning.hyperparameters import usual
from fashion_tuning.masking import leave_password_out, mask_address
from fashion_tuning.show import PROGRAM, Terminal
from fashion_tuning.tables import Column, Table
from fashion_tuning.wording import count, luck

if TYPE_CHECKING:
    from fashion_tuning.report.write import Report
    from fashion_tuning.study.check import Findings
    from fashion_tuning.study.comparison import Comparison
    from fashion_tuning.study.leaderboard import Leaderboard
    from fashion_tuning.study.replay import Replay
    from fashion_tuning.tracking.records import StudyRecord, TrialRecord


class StudyTerminal(Terminal):
    """A terminal that knows studies as well."""

    def leaderboard(self, board: Leaderboard) -> None:
        """Completed trials, best first; published figures of the same configuration beside ours."""
        if self.as_json:
            self.json(
                "leaderboard",
                {
                    "study": asdict(board.study),
                    "rows": board.as_dicts(),
                    "chosen": board.chosen.run_id,
                    "flattery": board.flattery,
                    "exhausted": board.exhausted,
                    "failed": [asdict(record) for record in board.failed],
                },
            )
            return
        study = board.study
        self.line(f"\n{study.experiment} · study {study.digest} · run {study.run_id}")
        wide = _trials_table(board, wide=True)
        shown = self.table(wide, _trials_table(board, wide=False))
        tied = sum(row.tied for row in board.rows)
        if tied > 1:
            tie = f"{tied - 1} more tie" if tied > 2 else "1 more ties"
            self.line(f"=  {tie} with the best: paired difference within one standard error")
        best, chosen = board.rows[0].record.metrics["best_val_accuracy"], board.chosen
        reason = "the best" if chosen == board.rows[0].record else "the smallest of those that tie"
        self.line(f"chosen: trial {chosen.trial:02d}, {reason} ({chosen.trainable_parameters:,} parameters)")
        self.line(f"flattery: {luck(board.flattery, best)}")
        if board.exhausted:
            self.line(f"all trials have been run: {board.exhausted}")
        if any(row.record.published_val_accuracy for row in board.rows):
            self.line("published: the best epoch of one seed, as reported for this configuration")
        if shown is not wide:
            self.line("run ids are cut short here; --json, --csv or a wider window show them whole")
        for record in board.failed:
            self.line(f"failed: trial {record.trial:02d}: {record.error}: {record.error_message}")

    def comparison(self, comparison: Comparison) -> None:
        """The trials of several studies in one ranking, and what sets the studies apart."""
        self.table(_compared_table(comparison))
        self.line("=  ties with the best of all: paired difference within one standard error")
        if not all(one.comparable for one in comparison.rows):
            self.line("*  has other photos or seeds than the best, so that nothing can be paired")
        first = comparison.boards[0].study
        for one in comparison.differences:
            self.line(f"{one.study.experiment} against {first.experiment}, {one.kind}:")
            for line in one.lines:
                self.line(f"  {line}")
        if not comparison.differences:
            self.line("the studies have the same settings, data and versions")

    def report(self, report: Report) -> None:
        """Where a report was written."""
        if self.as_json:
            self.json("report", {"page": str(report.page), "readings": report.readings})
            return
        self.line(f"report: {report.page} ({count(report.num_figures, 'figure')} beside it)")

    def findings(self, findings: Findings) -> None:
        """What `check` has found, and what to do about it."""
        if self.as_json:
            self.json("findings", asdict(findings))
            return
        for one in findings.differences:
            place = f"trial {one.trial:02d}" if one.trial else "study"
            self.line(f"{place} (run {one.run_id}): {one.what}")
        for note in findings.notes:
            self.line(f"note: {note}")
        compared = (
            f"{count(findings.num_trials, 'completed trial')}, {count(findings.num_attempts, 'run')},"
            f" {count(findings.num_checkpoints, 'checkpoint')} compared"
        )
        num = len(findings.differences)
        self.line(f"{compared}: {count(num, 'difference') if num else 'all agree'}")
        for run_id in findings.damaged:
            self.line(f"what to do: {_program()} replay {run_id} --repair")

    def replay(self, replay: Replay) -> None:
        """A replayed trial beside its record."""
        if self.as_json:
            self.json("replay", {**asdict(replay), "agrees": replay.agrees})
            return
        headers = ("metric", "recorded", "replayed", "largest difference")
        table = Table([Column(header, right=header != "metric") for header in headers])
        for one in replay.comparisons:
            table.add(one.name, _figure(one.recorded), _figure(one.replayed), f"{one.difference:.2g}")
        self.table(table)
        for note in replay.notes:
            self.line(f"note: {note}")
        for name in replay.repaired:
            self.line(f"made again: {name}")
        verdict = "agrees with its record" if replay.agrees else "DIFFERS from its record"
        self.line(f"trial {replay.trial:02d} {verdict} (tolerance {replay.tolerance:g})")

    def next_steps(
        self, study: StudyRecord, *, tracking_uri: str | None, card_path: Path | None, data_dirs: Sequence[Path] = ()
    ) -> None:
        """The commands to type now.

        Args:
          card_path: Where more trials can be asked for.
          data_dirs: The folders that the command named; what trains needs them again.
        """
        if self.as_json:
            return
        store, first = _store_to_type(tracking_uri)
        photos = [word for folder in data_dirs for word in ("--data", str(folder))]
        steps = {
            "compare in MLflow": ["ui"],
            "this table again": ["leaderboard", study.experiment],
            "the final model": ["final-train", str(card_path or study.experiment), *photos],
        }
        if card_path is not None:
            steps["go on to N trials"] = ["tune", str(card_path), "--max-trials", "N", *photos]
        self.line(f"\nnext{first}:")
        for meaning, arguments in steps.items():
            self.line(f"  {meaning:<17}  {shlex.join([_program(), *arguments, *store])}")


def trial_columns() -> list[Column]:
    """What every table of trials shows of one: its values and what it has reached."""
    return [
        Column("learning\nrate", right=True),
        Column("dense\nunits", right=True),
        Column("dropout", right=True),
        Column("val accuracy\n± se", right=True, name="val accuracy"),
    ]


def trial_cells(record: TrialRecord) -> list[str]:
    """A completed trial's cells below `trial_columns`."""
    metrics = record.metrics
    return [*usual(record.values), f"{metrics['best_val_accuracy']:.4f} ± {metrics['best_val_accuracy_se']:.4f}"]


def also_column(cells: Iterable[str]) -> list[Column]:
    """A column for what trials name beside the usual values, where any does."""
    return [Column("also", below=True)] if any(cells) else []


def _trials_table(board: Leaderboard, *, wide: bool) -> Table:
    """Columns fit into 80 characters; `wide` with sources and whole run ids."""
    also = also_column(row.also for row in board.rows)
    columns = [
        Column("rank", right=True),
        Column("trial", right=True),
        *trial_columns(),
        Column("best\nepoch", right=True),
        Column("seconds", right=True),
        *([Column("trainable\nparameters", right=True)] if wide else []),
        Column("published" if wide else "publ.", name="published"),
        Column("run id"),
        *also,
    ]
    table = Table(columns, gap=2 if wide else 1)
    ties = any(row.tied for row in board.rows[1:])
    for row in board.rows:
        record = row.record
        metrics = record.metrics
        published = f"{record.published_val_accuracy:.4f}" if record.published_val_accuracy else ""
        if wide and record.source:
            published = f"{published} ({record.source})".lstrip()
        table.add(
            f"{row.rank}{'=' if row.tied and ties else ' '}",
            f"{record.trial:02d}",
            *trial_cells(record),
            f"{metrics['best_epoch']:.0f}/{metrics['epochs_run']:.0f}",
            f"{metrics['seconds']:.1f}",
            *([f"{record.trainable_parameters:,}"] if wide else []),
            published,
            record.run_id if wide else record.run_id[:8],
            *([row.also] if also else []),
        )
    return table


def _compared_table(comparison: Comparison) -> Table:
    """Fits into 80 characters where names are short."""
    also = also_column(compared.row.also for compared in comparison.rows)
    columns = [Column("rank", right=True), Column("study"), Column("trial", right=True), *trial_columns()]
    table = Table([*columns, Column("run id"), *also], gap=1)
    for one in comparison.rows:
        record = one.row.record
        table.add(
            f"{one.rank}{'=' if one.tied else ' ' if one.comparable else '*'}",
            one.study.experiment,
            f"{record.trial:02d}",
            *trial_cells(record),
            record.run_id[:8],
            *([one.row.also] if also else []),
        )
    return table


def _store_to_type(tracking_uri: str | None) -> tuple[list[str], str]:
    """The option that names a store again, without its password, and what has to be done for it to be enough."""
    if not tracking_uri or mask_address(tracking_uri) == tracking_uri:
        return ["--tracking-uri", tracking_uri] if tracking_uri else [], ""
    if bare := leave_password_out(tracking_uri):
        return ["--tracking-uri", bare], ", with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD set"
    return [], ", with MLFLOW_TRACKING_URI set to the store, whose password is not repeated here"


def _program() -> str:
    """What to type for this program: the path it was started by where its name alone finds nothing."""
    started = sys.argv[0]
    return started if Path(started).name == PROGRAM and not shutil.which(PROGRAM) else PROGRAM


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
