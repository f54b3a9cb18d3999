"""What a person sees at the terminal, and what a machine reads with --json."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from fashion_tuning.data.source import Dataset
from fashion_tuning.wording import drawn_banner, size

if TYPE_CHECKING:
    from fashion_tuning.model.cache import CacheEntry
    from fashion_tuning.study.check import Findings
    from fashion_tuning.study.events import Report
    from fashion_tuning.study.leaderboard import Leaderboard
    from fashion_tuning.study.replay import Replay
    from fashion_tuning.tracking.records import StudyRecord


PROGRAM = "fashion-tuning"
_WIDE = 144


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # the command line's own exit code, where rich would exit with 1


class Terminal:
    """Prints tables and progress; plain lines where output is no terminal, JSON lines on demand.

    Args:
      as_json: Print one JSON object a line and nothing else.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.interactive = sys.stdout.isatty() and not as_json
        # Into a file or a pipe, a table must not be cut at 80 columns.
        self._console = _Console(highlight=False, soft_wrap=True, width=None if self.interactive else 150)

    def line(self, text: str) -> None:
        """One line of news; to stderr with --json."""
        if self.as_json:
            print(text, file=sys.stderr)
        else:
            self._console.print(text, markup=False)

    def json(self, event: str, values: dict[str, Any]) -> None:
        print(json.dumps({"event": event, **values}, default=str), flush=True)

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Yields a function of (done, total) that shows a bar; without a terminal one line if it takes long."""
        if not self.interactive:
            started, told = time.monotonic(), False

            def tell(done: int, total: int) -> None:
                nonlocal told
                if not told and time.monotonic() - started > 2:
                    told = True
                    self.line(f"{what}: {done} of {total}")

            yield tell
            return
        with Progress(
            TextColumn(what),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            console=self._console,
            transient=True,
        ) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """Yields the function that a study reports its events to."""
        from fashion_tuning.progress import JsonProgress, LineProgress, LiveProgress

        if self.as_json:
            yield JsonProgress(self.json).report
        elif self.interactive:
            with LiveProgress(self._console) as live:
                yield live.report
        else:
            yield LineProgress(self.line).report

    def dataset(self, dataset: Dataset) -> None:
        """Counts per split and class, files left out, notes, duplicates."""
        verification, manifest = dataset.verification, dataset.manifest
        self.line(f"{dataset.name}: {len(manifest.photos)} photos in {dataset.root}")
        self.line(f"manifest {manifest.digest}")
        counts = manifest.counts()
        table = Table("class", box=None, pad_edge=False)
        for split in counts:
            table.add_column(split, justify="right")
        for label in manifest.classes:
            table.add_row(label, *(str(counts[split].get(label, 0)) for split in counts))
        table.add_row("all", *(str(sum(labels.values())) for labels in counts.values()), style="bold")
        self._console.print(table)
        for title, entries in (("left out", verification.left_out), ("read, but remarkable", verification.notes)):
            self.line(f"{title}: {len(entries)}")
            for entry in entries:
                self.line(f"  {entry.path}: {entry.reason}")
        across = [pair for pair in verification.duplicates if pair.across_splits]
        self.line(f"duplicates: {len(verification.duplicates)}, of which {len(across)} across splits")
        for pair in verification.duplicates:
            mark = "ACROSS SPLITS " if pair.across_splits else ""
            self.line(f"  {mark}{pair.first} = {pair.second} (same {pair.kind})")

    def banner(self, dataset: Dataset) -> None:
        """Says what drawn garments are and how to use photos; nothing for photos."""
        if dataset.kind == "drawn":
            self.line(drawn_banner())

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
                    "failed": [asdict(record) for record in board.failed],
                },
            )
            return
        study = board.study
        self.line(f"\n{study.experiment} · study {study.digest} · run {study.run_id}")
        wide = self._console.width >= _WIDE
        self._console.print(_trials_table(board, wide=wide))
        tied = sum(row.tied for row in board.rows)
        if tied > 1:
            self.line(f"=  {tied - 1} more tie with the best: paired difference within one standard error")
        best, chosen = board.rows[0].record.metrics["best_val_accuracy"], board.chosen
        reason = "the best" if chosen == board.rows[0].record else "the smallest of those that tie"
        self.line(f"chosen: trial {chosen.trial:02d}, {reason} ({chosen.trainable_parameters:,} parameters)")
        flattery = board.flattery
        self.line(f"flattery: about {flattery:.4f} of the best is luck of the pick; {best - flattery:.4f} without it")
        if any(row.record.published_val_accuracy for row in board.rows):
            self.line("published: the best epoch of one seed, as reported for this configuration")
        if not wide:
            self.line("run ids are cut short here; --json, --csv or a wider window show them whole")
        for record in board.failed:
            self.line(f"failed: trial {record.trial:02d}: {record.error}: {record.error_message}")

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
            f"{findings.num_trials} completed trials, {findings.num_attempts} runs,"
            f" {findings.num_checkpoints} checkpoints compared"
        )
        num = len(findings.differences)
        self.line(f"{compared}: {f'{num} differences' if num else 'all agree'}")
        for run_id in findings.damaged:
            self.line(f"what to do: {_program()} replay {run_id} --repair")

    def replay(self, replay: Replay) -> None:
        """A replayed trial beside its record."""
        if self.as_json:
            self.json("replay", {**asdict(replay), "agrees": replay.agrees})
            return
        table = Table(box=None, pad_edge=False)
        for header in ("metric", "recorded", "replayed", "largest difference"):
            table.add_column(header, justify="left" if header == "metric" else "right")
        for one in replay.comparisons:
            table.add_row(one.name, _figure(one.recorded), _figure(one.replayed), f"{one.difference:.2g}")
        self._console.print(table)
        for note in replay.notes:
            self.line(f"note: {note}")
        for name in replay.repaired:
            self.line(f"made again: {name}")
        verdict = "agrees with its record" if replay.agrees else "DIFFERS from its record"
        self.line(f"trial {replay.trial:02d} {verdict} (tolerance {replay.tolerance:g})")

    def next_steps(self, study: StudyRecord, *, tracking_uri: str | None, card_path: Path | None) -> None:
        """The commands to type now; `card_path` where more trials can be asked for."""
        if self.as_json:
            return
        store = ["--tracking-uri", tracking_uri] if tracking_uri else []
        steps = {
            "compare in MLflow": ["ui"],
            "this table again": ["leaderboard", study.experiment],
            "the final model": ["final-train", str(card_path or study.experiment)],
        }
        if card_path is not None:
            steps["go on to N trials"] = ["tune", str(card_path), "--max-trials", "N"]
        self.line("\nnext:")
        for meaning, arguments in steps.items():
            self.line(f"  {meaning:<17}  {shlex.join([_program(), *arguments, *store])}")

    def cache(self, folder: Path, entries: Sequence[CacheEntry]) -> None:
        self.line(f"cache {folder}: {len(entries)} entries, {size(sum(entry.num_bytes for entry in entries))}")
        table = Table(box=None, pad_edge=False)
        for header in ("kind", "name", "size", "state", "days unused"):
            table.add_column(header, justify="right" if header in ("size", "days unused") else "left")
        for entry in entries:
            table.add_row(entry.kind, entry.name, size(entry.num_bytes), entry.state, f"{entry.days_unused:.1f}")
        self._console.print(table)

    def problems(self, problems: Sequence[str], *, good: str) -> None:
        for problem in problems:
            self.line(problem)
        self.line(good if not problems else f"{len(problems)} problems; fashion-tuning cache prune removes what is bad")

    def pruned(self, removed: Sequence[CacheEntry]) -> None:
        for entry in removed:
            self.line(f"removed {entry.kind} {entry.name} ({entry.state}, {size(entry.num_bytes)})")
        self.line(f"freed {size(sum(entry.num_bytes for entry in removed))}")


def _trials_table(board: Leaderboard, *, wide: bool) -> Table:
    """Columns fit into 80 characters; with `wide`, sources and whole run ids into `_WIDE`."""
    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), header_style="bold")
    for header in ("rank", "trial", "learning\nrate", "dense\nunits", "dropout", "val accuracy\n± se"):
        table.add_column(header, justify="right", no_wrap=True)
    for header in ("best\nepoch", "seconds", *(["trainable\nparameters"] if wide else [])):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("published" if wide else "publ.", no_wrap=True)
    table.add_column("run id", no_wrap=True)
    ties = any(row.tied for row in board.rows[1:])
    for row in board.rows:
        record = row.record
        metrics = record.metrics
        published = f"{record.published_val_accuracy:.4f}" if record.published_val_accuracy else ""
        if wide and record.source:
            published = f"{published} ({record.source})".lstrip()
        table.add_row(
            f"{row.rank}{'=' if row.tied and ties else ' '}",
            f"{record.trial:02d}",
            f"{record.values['learning_rate']:.3g}",
            f"{record.values['dense_units']:g}",
            f"{record.values['dropout']:.3g}",
            f"{metrics['best_val_accuracy']:.4f} ± {metrics['best_val_accuracy_se']:.4f}",
            f"{metrics['best_epoch']:.0f}/{metrics['epochs_run']:.0f}",
            f"{metrics['seconds']:.1f}",
            *([f"{record.trainable_parameters:,}"] if wide else []),
            published,
            record.run_id if wide else record.run_id[:8],
        )
    return table


def _program() -> str:
    """What to type for this program: the path it was started by where its name alone finds nothing."""
    started = sys.argv[0]
    return started if Path(started).name == PROGRAM and not shutil.which(PROGRAM) else PROGRAM


def dataset_json(dataset: Dataset) -> dict[str, Any]:
    """What `data --json` prints."""
    verification = dataset.verification
    return {
        "name": dataset.name,
        "root": str(dataset.root),
        "kind": dataset.kind,
        "digest": dataset.manifest.digest,
        "counts": dataset.manifest.counts(),
        "left_out": [asdict(entry) for entry in verification.left_out],
        "notes": [asdict(entry) for entry in verification.notes],
        "duplicates": [asdict(pair) for pair in verification.duplicates],
    }


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
