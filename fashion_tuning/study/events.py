"""What happens in a study, as values: the coordinator reports them, the command line shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fashion_tuning.tracking.records import TrialRecord


@dataclass(frozen=True)
class Plan:
    """What is about to be done. Seconds and bytes are estimates; bytes an upper bound.

    `short` says why `max_trials` is fewer than were asked for.
    """

    card: str
    tuner: str
    dataset: str
    drawn: bool
    counts: Mapping[str, int]
    classes: tuple[str, ...]
    image_size: int
    max_trials: int | None
    trials_ended: int
    seeds: int
    epochs: int
    images_cached: int
    images_missing: int
    seconds: float
    checkpoint_bytes: int
    feature_bytes: int
    experiment: str
    study_run: str
    store: str
    generation: int
    resumed: bool
    changed: tuple[str, ...]
    num_views: int = 0
    averages: bool = False
    teacher: str = ""
    shared: Mapping[str, int] = field(default_factory=dict)  # pictures that stand in several splits, by these
    short: str = ""


@dataclass(frozen=True)
class FeaturesProgress:
    """Images whose features stand in the cache, over all splits of the study."""

    done: int
    total: int
    computed: int
    seconds: float
    waiting: bool


@dataclass(frozen=True)
class TrialStarted:
    """A trial begins."""

    record: TrialRecord
    max_trials: int | None


@dataclass(frozen=True)
class EpochEnded:
    """One epoch of a running trial, means over seeds; the highest so far, and an estimate of what all epochs take."""

    record: TrialRecord
    epoch: int
    val_accuracy: float
    best_val_accuracy: float
    seconds_left: float


@dataclass(frozen=True)
class AttemptEnded:
    """A trial's process died, and the trial runs again; `attempts_left` more may die."""

    record: TrialRecord
    attempts_left: int


@dataclass(frozen=True)
class TrialEnded:
    """A trial is recorded: completed, or failed with a reason."""

    record: TrialRecord
    best: TrialRecord | None
    trials_ended: int
    max_trials: int | None
    seconds_left: float | None


@dataclass(frozen=True)
class Notice:
    """Something a person should know of that stops nothing."""

    text: str


Event = Plan | FeaturesProgress | TrialStarted | EpochEnded | AttemptEnded | TrialEnded | Notice
Report = Callable[[Event], None]
