"""A study's events as they happen: bars on a terminal, plain lines in a log, JSON for machines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from fashion_tuning.study.events import EpochEnded, Event, FeaturesProgress, Plan, TrialEnded, TrialStarted
from fashion_tuning.tracking.records import TrialRecord
from fashion_tuning.wording import duration, size

_SECONDS_BETWEEN_LINES = 10.0


class JsonProgress:
    """Every event as one JSON object."""

    def __init__(self, write: Callable[[str, dict[str, Any]], None]) -> None:
        self._write = write

    def report(self, event: Event) -> None:
        names = {
            Plan: "plan",
            FeaturesProgress: "features",
            TrialStarted: "trial_started",
            EpochEnded: "epoch_ended",
            TrialEnded: "trial_ended",
        }
        self._write(names[type(event)], asdict(event))


class LineProgress:
    """Plain lines: the plan, features every ten seconds, each trial as it ends."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last = 0.0

    def report(self, event: Event) -> None:
        if isinstance(event, Plan):
            self._write(plan_text(event))
        elif isinstance(event, FeaturesProgress):
            self._features(event)
        elif isinstance(event, TrialEnded):
            self._write(trial_text(event))

    def _features(self, event: FeaturesProgress) -> None:
        now = time.monotonic()
        if not event.computed and not event.waiting:
            return
        if event.done < event.total and now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        self._write(features_text(event))


class LiveProgress:
    """Two bars that stay at the bottom of a terminal: features, then trials."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), console=console
        )
        self._features: TaskID | None = None
        self._trials: TaskID | None = None
        self._text = ""
        self._epochs: dict[int, str] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def report(self, event: Event) -> None:
        if isinstance(event, Plan):
            self._console.print(plan_text(event), markup=False)
        elif isinstance(event, FeaturesProgress):
            if self._features is None:
                self._features = self._bars.add_task("features", total=event.total, text="")
            self._bars.update(self._features, completed=event.done, text=features_text(event))
        elif isinstance(event, TrialStarted):
            if self._trials is None:
                self._trials = self._bars.add_task(
                    "trials", total=event.max_trials, completed=event.record.trial - 1, text=""
                )
            self._epochs[event.record.trial] = f"trial {event.record.trial:02d} starts"
            self._show()
        elif isinstance(event, EpochEnded):
            record = event.record
            self._epochs[record.trial] = (
                f"trial {record.trial:02d} epoch {event.epoch}/{record.epochs} {event.val_accuracy:.4f}"
            )
            self._show()
        elif self._trials is not None:
            self._epochs.pop(event.record.trial, None)
            self._console.print(trial_text(event), markup=False)
            best = f"best {event.best.score:.4f}" if event.best else "none completed yet"
            left = "" if event.seconds_left is None else f", {duration(event.seconds_left)} left"
            self._text = best + left
            self._bars.update(self._trials, completed=event.trials_ended)
            self._show()

    def _show(self) -> None:
        if self._trials is not None:
            self._bars.update(self._trials, text=" · ".join([*self._epochs.values(), self._text]).strip(" ·"))


def plan_text(plan: Plan) -> str:
    """What is about to happen, in a few lines."""
    counts = ", ".join(f"{count:,} {split}" for split, count in plan.counts.items())
    number = f"{plan.max_trials} trials" if plan.max_trials is not None else "trials until the tuner ends"
    lines = [
        f"plan: {plan.card} ({plan.tuner})",
        f"  photos    {plan.dataset}: {counts}; {len(plan.classes)} classes, {plan.image_size} px",
        f"  trials    {number}, {plan.seeds} seeds, up to {plan.epochs} epochs"
        + (f"; {plan.trials_ended} are there already" if plan.trials_ended else ""),
        f"  features  {plan.images_cached:,} images cached, {plan.images_missing:,} to compute",
        f"  cost      about {duration(plan.seconds)} (a rough estimate), at most {size(plan.checkpoint_bytes)} of"
        f" checkpoints and {size(plan.feature_bytes)} of features",
        f"  MLflow    experiment {plan.experiment}, run {plan.study_run}"
        + (f", generation {plan.generation}" if plan.generation > 1 else "")
        + (", resumed" if plan.resumed else ""),
        f"            {plan.store}",
    ]
    if plan.changed:
        lines.append("  a new study, since these differ from the last one of this name:")
        lines += [f"    {change}" for change in plan.changed]
    return "\n".join(lines)


def features_text(event: FeaturesProgress) -> str:
    """Such as "features 1,024/3,409, 25.1 images/s, 1 min 35 s left"."""
    text = f"features {event.done:,}/{event.total:,}"
    if event.waiting:
        return text + ", another process computes them"
    if event.computed and event.seconds > 0:
        rate = event.computed / event.seconds
        text += f", {rate:.1f} images/s"
        if event.done < event.total:
            text += f", {duration((event.total - event.done) / rate)} left"
    return text


def trial_text(event: TrialEnded) -> str:
    """One line on a trial that has ended."""
    record = event.record
    total = f"/{event.max_trials}" if event.max_trials is not None else ""
    start = f"trial {record.trial:02d}{total}  {_values(record)}"
    if record.score is None:
        return f"{start}  FAILED: {record.error}: {record.error_message}"
    metrics = record.metrics
    text = (
        f"{start}  val accuracy {record.score:.4f} ± {metrics['best_val_accuracy_se']:.4f}"
        f" at epoch {metrics['best_epoch']:.0f}, {metrics['seconds']:.1f} s"
    )
    if event.best is not None:
        mark = "the best so far" if event.best.trial == record.trial else f"best {event.best.score:.4f}"
        text += f"  [{mark}]"
    if event.seconds_left:
        text += f"  {duration(event.seconds_left)} left"
    return text


def _values(record: TrialRecord) -> str:
    values = record.values
    return f"lr {values['learning_rate']:<8.3g} dense {values['dense_units']:<4g} drop {values['dropout']:<3.1g}"
