"""What a person sees at the terminal, and what a machine reads with --json."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from fashion_tuning.data.listing import describe_entries
from fashion_tuning.data.source import Dataset
from fashion_tuning.pulse import SECONDS, Pulse
from fashion_tuning.quiet import tell
from fashion_tuning.tables import Column, Table
from fashion_tuning.wording import drawn_banner, shared_pictures, size

if TYPE_CHECKING:
    from fashion_tuning.model.cache import CacheEntry
    from fashion_tuning.study.events import Report


PROGRAM = "fashion-tuning"


class Terminal:
    """Prints tables and progress; plain lines where output is no terminal, JSON lines on demand.

    Args:
      as_json: Print one JSON object a line and nothing else.
      silence: The longest that long work says nothing where output is no terminal, in seconds.
    """

    def __init__(self, *, as_json: bool = False, silence: float = SECONDS) -> None:
        self.as_json = as_json
        self.interactive = sys.stdout.isatty() and not as_json
        self._console = Console(highlight=False, emoji=False, soft_wrap=True)
        self._pulse = Pulse(self._tick, seconds=silence)
        self._in_study = False
        self._turn = threading.RLock()  # the pulse's thread prints too

    def line(self, text: str) -> None:
        """One line of news; to stderr with --json."""
        self._pulse.spoke()
        with self._turn:
            if self.as_json:
                sys.stderr.write(f"{text}\n")
            else:
                self._console.print(text.replace("\x1b", "\ufffd"), markup=False)

    def json(self, event: str, values: dict[str, Any]) -> None:
        """One JSON object on a line of its own."""
        self._pulse.spoke()
        with self._turn:
            sys.stdout.write(json.dumps({"event": event, **values}, default=str) + "\n")
            sys.stdout.flush()

    def _tick(self, text: str) -> None:
        """A sign of life: among the events of a study, and elsewhere beside what a command answers."""
        if not self._in_study:
            tell(text)
        elif self.as_json:
            self.json("progress", {"text": text})
        else:
            self.line(text)

    def table(self, *tables: Table) -> Table:
        """Prints the first of these tables that fits, or the last one in blocks; which one.

        Into a file or a pipe any table fits.
        """
        width = self._console.width if self.interactive else None
        chosen = next((table for table in tables if table.fits(width)), tables[-1])
        self._console.print(chosen.render(width))
        return chosen

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int, int | None], None]]:
        """Yields a function of (done, total) that shows a bar; without a terminal a line now and then."""

        def text(done: int, total: int | None) -> str:
            return f"{done:,}" if total is None else f"{done:,} of {total:,}"

        if not self.interactive:
            with self._pulse.beating(what):
                yield lambda done, total: self._pulse.note(f"{what}: {text(done, total)}")
            return
        columns = (TextColumn(what), BarColumn(), TextColumn("{task.fields[count]}"))
        # Above the bar, unless it goes to a file of its own.
        beside = sys.stderr.isatty()
        with Progress(*columns, console=self._console, transient=True, redirect_stderr=beside) as bar:
            task = bar.add_task(what, total=None, count="")
            yield lambda done, total: bar.update(task, completed=done, total=total, count=text(done, total))

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Shows that something is being done that can't be counted."""
        with self.counting(what):
            yield

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """Yields the function that a study reports its events to."""
        from fashion_tuning.progress import JsonProgress, LineProgress, LiveProgress

        if self.interactive:
            with LiveProgress(self._console) as live:
                yield live.report
            return
        self._in_study = True
        try:
            with self._pulse.beating("starting"):
                if self.as_json:
                    yield JsonProgress(self.json, note=self._pulse.note).report
                else:
                    yield LineProgress(self.line, note=self._pulse.note).report
        finally:
            self._in_study = False

    def dataset(self, dataset: Dataset) -> None:
        """Counts per split and class, files left out, notes, duplicates."""
        verification, manifest = dataset.verification, dataset.manifest
        self.line(f"{dataset.name}: {len(manifest.photos)} photos in {dataset.root}")
        self.line(f"manifest {manifest.digest}")
        counts = manifest.counts()
        table = Table([Column("class"), *(Column(split, right=True) for split in counts)])
        for label in manifest.classes:
            table.add(label, *(str(counts[split].get(label, 0)) for split in counts))
        table.add("all", *(str(sum(labels.values())) for labels in counts.values()), strong=True)
        self.table(table)
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
        entry_or_entries = "entry" if len(entries) == 1 else "entries"
        num_bytes = sum(entry.num_bytes for entry in entries)
        self.line(f"cache {folder}: {len(entries)} {entry_or_entries}, {size(num_bytes)}")
        headers = ("kind", "name", "size", "state", "days unused")
        table = Table([Column(header, right=header in ("size", "days unused")) for header in headers])
        for entry in entries:
            table.add(entry.kind, entry.name, size(entry.num_bytes), entry.state, f"{entry.days_unused:.1f}")
        self.table(table)

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
