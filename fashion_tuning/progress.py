"""A study's events as they happen: bars on a terminal, plain lines in a log, JSON for machines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from fashion_tuning.hyperparameters import besides
from fashion_tuning.study.events import (
    AttemptEnded,
    EpochEnded,
    Event,
    FeaturesProgress,
    Notice,
    Plan,
    TrialEnded,
    TrialStarted,
)
from fashion_tuning.wording import count, duration, shared_pictures, size


class JsonProgress:
    """Every event as one JSON object.

    Args:
      note: Told what is being done just now.
    """

    def __init__(self, write: Callable[[str, dict[str, Any]], None], *, note: Callable[[str], None]) -> None:
        self._write = write
        self._now = _Now(note)

    def report(self, event: Event) -> None:
        names = {
            Plan: "plan",
            FeaturesProgress: "features",
            TrialStarted: "trial_started",
            EpochEnded: "epoch_ended",
            AttemptEnded: "attempt_ended",
            Notice: "notice",
            TrialEnded: "trial_ended",
        }
        self._now.report(event)
        self._write(names[type(event)], asdict(event))


class LineProgress:
    """Plain lines: the plan, features once they are complete, each trial as it ends; the rest is for `note`.

    Args:
      note: Told what is being done just now, which whoever writes may say if nothing else is said for long.
    """

    def __init__(self, write: Callable[[str], None], *, note: Callable[[str], None]) -> None:
        self._write = write
        self._now = _Now(note)

    def report(self, event: Event) -> None:
        self._now.report(event)
        if isinstance(event, Plan):
            self._write(plan_text(event))
        elif isinstance(event, FeaturesProgress):
            if event.computed and event.done == event.total:
                self._write(features_text(event))
        elif isinstance(event, TrialEnded):
            self._write(f"{trial_text(event)}  [{standing_text(event)}]")
        elif isinstance(event, AttemptEnded):
            self._write(attempt_text(event))
        elif isinstance(event, Notice):
            self._write(event.text)


class _Now:
    """What a study is doing just now, in one line; of several trials at a time all of them."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._running: dict[int, str] = {}

    def report(self, event: Event) -> None:
        if isinstance(event, Plan):
            self._note("starting Keras")
        elif isinstance(event, FeaturesProgress):
            self._note(features_text(event))
        elif isinstance(event, Notice):
            self._note(event.text)
        else:
            trial = event.record.trial
            if isinstance(event, TrialStarted | AttemptEnded):
                self._running[trial] = f"trial {trial:02d} starts"
            elif isinstance(event, EpochEnded):
                self._running[trial] = epoch_text(event)
            else:
                self._running.pop(trial, None)
            self._note(" · ".join(self._running[trial] for trial in sorted(self._running)) or "between two trials")


class LiveProgress:
    """One bar at the bottom of a terminal, for features, then for trials; what is done stands as lines above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            BarColumn(bar_width=12),
            TextColumn("{task.fields[text]}"),
            console=console,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),
        )
        self._bar = self._bars.add_task("", total=None, text="")
        self._total: int | None = None
        self._ended = 0
        self._standing = ""
        self._epochs: dict[int, str] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def report(self, event: Event) -> None:
        if isinstance(event, Plan):
            self._ended, self._total = event.trials_ended, event.max_trials
            self._console.print(plan_text(event), markup=False)
            self._show("starting Keras", done=0, total=None)
        elif isinstance(event, FeaturesProgress):
            text = features_text(event)
            self._show(text, done=event.done, total=event.total)
            if event.done == event.total and event.computed:
                self._console.print(text, markup=False)
        elif isinstance(event, Notice):
            self._console.print(event.text, markup=False)
        else:
            self._report_trial(event)
            running = [self._epochs[trial] for trial in sorted(self._epochs)]
            self._show(" · ".join([self._standing, *running]).strip(" ·"), done=self._ended, total=self._total)

    def _report_trial(self, event: TrialStarted | EpochEnded | AttemptEnded | TrialEnded) -> None:
        trial = event.record.trial
        if isinstance(event, TrialStarted):
            self._epochs[trial] = f"trial {trial:02d} starts"
        elif isinstance(event, EpochEnded):
            self._epochs[trial] = (
                f"trial {trial:02d} epoch {event.epoch}/{event.record.epochs} {event.val_accuracy:.4f}"
            )
        elif isinstance(event, AttemptEnded):
            self._console.print(attempt_text(event), markup=False)
        else:
            self._epochs.pop(trial, None)
            self._ended = event.trials_ended
            self._standing = standing_text(event)
            self._console.print(trial_text(event), markup=False)

    def _show(self, text: str, *, done: int, total: int | None) -> None:
        self._bars.update(self._bar, completed=done, total=total, text=text)


def plan_text(plan: Plan) -> str:
    """What is about to happen, in a few lines."""
    counts = ", ".join(f"{number:,} {split}" for split, number in plan.counts.items())
    trials = "until the tuner ends" if plan.max_trials is None else f"{plan.max_trials}"
    seeds = count(plan.seeds, "seed")
    of = "train, and of validation, whose probabilities are means over them" if plan.averages else "train"
    views = f", {count(plan.num_views, 'view')} of {of}" if plan.num_views else ""
    features = f"at {plan.image_size} px{views}"
    lines = [
        f"plan: {plan.card} ({plan.tuner})",
        f"  photos    {plan.dataset}: {counts}; {len(plan.classes)} classes",
        *([f"            {shared_pictures(plan.shared)}; fashion-tuning data lists them"] if plan.shared else []),
        f"  trials    {trials}, each of {seeds} and up to {count(plan.epochs, 'epoch')}"
        + (f"; {plan.trials_ended} are there already" if plan.trials_ended else ""),
        *([f"            {plan.short}"] if plan.short else []),
        *([f"  teacher   {plan.teacher}"] if plan.teacher else []),
        f"  features  {features}: {plan.images_missing:,} to compute, {plan.images_cached:,} cached",
        f"  time      about {duration(plan.seconds)}, a rough estimate",
        f"  disk      at most {size(plan.checkpoint_bytes)} of checkpoints and {size(plan.feature_bytes)} of features",
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
    """A line on a trial that has ended, at most 80 characters if it was completed; a second on what else it names."""
    record, values = event.record, event.record.values
    total = f"/{event.max_trials}" if event.max_trials is not None else ""
    text = (
        f"trial {record.trial:02d}{total} lr {values['learning_rate']:<8.3g}"
        f" dense {values['dense_units']:<4g} drop {values['dropout']:<3.3g}"
    )
    if record.score is None:
        return f"{text} FAILED: {record.error}: {record.error_message}"
    metrics = record.metrics
    accuracy = f"val {record.score:.4f} ± {metrics['best_val_accuracy_se']:.4f}"
    text = f"{text} {accuracy} epoch {metrics['best_epoch']:.0f}, {metrics['seconds']:.1f} s"
    others = besides(values)
    lines = [text, *([f"  {others}"] if others else []), *([f"  pruned: {record.pruned}"] if record.pruned else [])]
    return "\n".join(lines)


def epoch_text(event: EpochEnded) -> str:
    """Such as "trial 03 epoch 4/10, val accuracy 0.8123 so far, 12 min left"."""
    trial, epochs = event.record.trial, event.record.epochs
    text = f"trial {trial:02d} epoch {event.epoch}/{epochs}, val accuracy {event.best_val_accuracy:.4f} so far"
    return text + (f", {duration(event.seconds_left)} left" if event.epoch < epochs else "")


def attempt_text(event: AttemptEnded) -> str:
    """One line on a trial whose process has died."""
    record = event.record
    return (
        f"trial {record.trial:02d} {record.error}: {record.error_message}; it runs again ({event.attempts_left} left)"
    )


def standing_text(event: TrialEnded) -> str:
    """How far the study is: such as "7/20, best 0.8308, 1 min 10 s left"."""
    text = f"{event.trials_ended}" + (f"/{event.max_trials}" if event.max_trials is not None else " ended")
    if event.best is not None:
        text += f", best {event.best.score:.4f}"
    if event.seconds_left:
        text += f", {duration(event.seconds_left)} left"
    return text
