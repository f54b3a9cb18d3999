"""What a person sees at the terminal, and what a machine reads with --json."""

from __future__ import annotations

import json
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

from fashion_tuning.data.listing import describe_entries
from fashion_tuning.data.source import Dataset
from fashion_tuning.wording import drawn_banner, shared_pictures, size

if TYPE_CHECKING:
    from fashion_tuning.model.cache import CacheEntry
    from fashion_tuning.study.events import Report


PROGRAM = "fashion-tuning"


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
            for line in describe_entries(entries):
                self.line(f"  {line}")
        across = [pair for pair in verification.duplicates if pair.across_splits]
        self.line(f"duplicates: {len(verification.duplicates)}, of which {len(across)} across splits")
        if verification.shared:
            self.line(f"  {shared_pictures(verification.shared)}")
        for pair in verification.duplicates:
            mark = "ACROSS SPLITS " if pair.across_splits else ""
            self.line(f"  {mark}{pair.first} = {pair.second} (same {pair.kind})")

    def banner(self, dataset: Dataset) -> None:
        """Says what drawn garments are and how to use photos; nothing for photos."""
        if dataset.kind == "drawn":
            self.line(drawn_banner())

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
        "shared": verification.shared,
    }
