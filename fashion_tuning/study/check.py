"""Whether a study agrees with itself: every figure that follows from another one is compared; read-only."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fashion_tuning.digest import outcome
from fashion_tuning.errors import FashionTuningError
from fashion_tuning.hyperparameters import is_active, setting
from fashion_tuning.study.agenda import Agenda
from fashion_tuning.study.queue import MAX_ATTEMPTS
from fashion_tuning.study.recorded import RecordedStudy, read_recorded
from fashion_tuning.study.teacher import TARGETS, read_targets
from fashion_tuning.study.trial_check import TrialCheck
from fashion_tuning.tracking.artifacts import list_artifacts
from fashion_tuning.tracking.records import StudyRecord, TrialRecord, latest_attempts, read_attempts
from fashion_tuning.tracking.remedies import mlflow_command
from fashion_tuning.tracking.store import Store

# The metrics of a study run that follow from its trials.
STANDING = ("trials_completed", "trials_failed", "seconds_trials", "best_val_accuracy", "best_val_accuracy_se")


@dataclass(frozen=True)
class Difference:
    """Two things on record that should agree and don't; `trial` is 0 for the study itself."""

    run_id: str
    trial: int
    what: str


@dataclass(frozen=True)
class Findings:
    """What was compared, and what differs.

    `notes` say what could not be compared; `damaged` are the runs with artifacts that
    `replay --repair` can make again.
    """

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    damaged: tuple[str, ...]
    num_trials: int
    num_attempts: int
    num_checkpoints: int


def check(store: Store, study: StudyRecord, *, cache_dir: Path) -> Findings:
    """Compares all that a study has on record.

    Checkpoints are scored with the features in `cache_dir`; where they aren't there, a note
    says so, and the checkpoints are only read.

    Raises:
      StoreError: The store can't be read.
    """
    # Before the trials, which may go on: then the study's own figures can't be ahead of them.
    metrics = store.call(lambda client: client.get_run(study.run_id)).data.metrics
    every = read_attempts(store, study, with_deleted=True)
    deleted = [record for record in latest_attempts(every) if record.deleted and record.counts]
    # What was deleted and not trained again still has its place in the study's order and its share in its figures.
    attempts = [record for record in every if not record.deleted or record in deleted]
    found = [Difference(study.run_id, 0, what) for what in _study_run(store, study)]
    found += [Difference(record.run_id, record.trial, _deleted(store, record)) for record in deleted]
    found += [Difference(study.run_id, 0, what) for what in _standing(study, metrics, attempts)]
    if any(setting("distillation", one.values) for one in attempts) and read_targets(store, study.run_id) is None:
        what = f"{TARGETS} is missing or damaged; while its teacher is the same, tune with its card makes it again"
        found.append(Difference(study.run_id, 0, what))
    found += [Difference(record.run_id, record.trial, what) for record, what in _attempts(study, attempts)]
    notes: list[str] = []
    damaged: list[str] = []
    num_checkpoints = 0
    trials = [record for record in latest_attempts(attempts) if record.completed and not record.deleted]
    try:
        recorded = read_recorded(store, study)
    except FashionTuningError as error:
        found.append(Difference(study.run_id, 0, error.received))
        notes.append("trials not compared: without the card and the manifest nothing follows from them")
    else:
        found += [Difference(study.run_id, 0, what) for what in _order(recorded, attempts)]
        features = recorded.features(cache_dir)
        for record in trials:
            refs = features.of(record.values)
            trial = TrialCheck(store, recorded, record, refs)
            note = f"checkpoints read but not scored: {refs['validation'].array.path} is not in the cache"
            if not trial.scores and note not in notes:
                notes.append(note)
            found += [Difference(record.run_id, record.trial, what) for what in trial.differences()]
            num_checkpoints += trial.num_checkpoints
            if trial.damaged:
                damaged.append(record.run_id)
    order = sorted(found, key=lambda one: one.trial)
    return Findings(tuple(order), tuple(notes), tuple(damaged), len(trials), len(attempts), num_checkpoints)


def _deleted(store: Store, record: TrialRecord) -> str:
    restore = mlflow_command("runs", "restore", "--run-id", record.run_id, address=store.mlflow_address)
    return f"deleted in MLflow; tune with its card trains it again with its recorded values, or {restore}"


def _study_run(store: Store, study: StudyRecord) -> Iterator[str]:
    """The study run's own artifacts and digests."""
    text = json.dumps(study.parts, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    if {study.study, study.digest} != {digest}:
        yield f"fashion.study is {study.study}, but fashion.parts have another digest, {digest}"
    if study.status == "RUNNING" and not study.runs:
        yield "RUNNING, but no live process owns it; the next start of its card closes it"
    sizes = list_artifacts(store, study.run_id)
    for name in ("card.toml", "manifest.csv", "environment.txt"):
        if sizes.get(name, 0) == 0:
            yield f"{name} is missing or empty"


def _standing(study: StudyRecord, metrics: Mapping[str, float], attempts: list[TrialRecord]) -> Iterator[str]:
    """The study's own metrics, which follow from its trials; of one that is not FINISHED, from the trials before."""
    ended = sorted((one for one in latest_attempts(attempts) if one.counts), key=lambda one: one.tell or 0)
    standing = {name: value for name, value in metrics.items() if name in STANDING}
    shorter = range(len(ended)) if study.status != "FINISHED" else ()
    if any(standing == _standing_after(ended[:num_ended]) for num_ended in shorter):
        return
    expected = _standing_after(ended)
    for name in STANDING:
        if standing.get(name) != expected.get(name):
            yield f"{name} is {standing.get(name)}, but its trials give {expected.get(name)}"


def _standing_after(told: list[TrialRecord]) -> dict[str, float]:
    """What a study's own metrics are once these trials were told, in their order."""
    ended = sorted(told, key=lambda one: one.trial)
    completed = [record for record in ended if record.completed]
    if not ended:
        return {}
    expected = {
        "trials_completed": float(len(completed)),
        "trials_failed": float(len(ended) - len(completed)),
        "seconds_trials": sum(record.metrics.get("seconds", 0.0) for record in ended),
    }
    if completed:
        best = max(completed, key=lambda record: record.metrics.get("best_val_accuracy", 0.0))
        expected |= {name: best.metrics.get(name, 0.0) for name in ("best_val_accuracy", "best_val_accuracy_se")}
    return expected


def _attempts(study: StudyRecord, attempts: list[TrialRecord]) -> Iterator[tuple[TrialRecord, str]]:
    """How the runs of each trial fit together."""
    seen: set[tuple[int, int]] = set()  # a KILLED one may be the shadow of an answer that was lost
    counting = Counter(record.trial for record in attempts if record.counts)
    failed = Counter(record.trial for record in attempts if record.status == "FAILED")
    for record in attempts:
        if record.status != "KILLED":
            if (record.trial, record.attempt) in seen:
                yield record, f"a second run of attempt {record.attempt}"
            seen.add((record.trial, record.attempt))
        if record.status == "RUNNING" and not study.runs:
            yield record, "RUNNING, but no live process owns the study; the next start of its card closes it"
        if record.status == "FINISHED" and record.tell is None:
            yield record, "FINISHED without a tell order"
        if record.status == "FAILED" and not (record.error and record.error_message):
            yield record, "FAILED without a typed error and a message"
    for record in latest_attempts(attempts):
        if counting[record.trial] > 1:
            yield record, f"{counting[record.trial]} runs of it count, at most one may"
        if failed[record.trial] > MAX_ATTEMPTS:
            yield record, f"{failed[record.trial]} attempts have failed, at most {MAX_ATTEMPTS} may"


def _order(recorded: RecordedStudy, attempts: list[TrialRecord]) -> Iterator[str]:
    """Asks and tells are one gapless order, and the oracle asks for what is on record."""
    trials = latest_attempts(attempts)
    if [record.trial for record in trials] != list(range(1, len(trials) + 1)):
        yield f"trials are numbered {[record.trial for record in trials]}"
    places = [record.ask for record in trials] + [record.tell or 0 for record in trials if record.counts]
    if sorted(places) != list(range(1, len(places) + 1)):
        yield f"asks and tells stand at {sorted(places)}, expected every place from 1 to {len(places)} once"
    for record in trials:
        if record.counts and (record.tell or 0) <= record.ask:
            yield f"trial {record.trial} was told (place {record.tell}) before it was asked (place {record.ask})"
    card = recorded.card
    if recorded.manifest.digest != (expected := next(iter(recorded.keys.values())).manifest):
        yield f"manifest.csv has digest {recorded.manifest.digest}, the study was run on {expected}"
    settings = json.loads(json.dumps(outcome(card)))
    if settings != {name: part for name, part in recorded.record.parts.items() if name != "inputs"}:
        yield "card.toml is not the card in fashion.parts"
    for record in trials:
        if record.listed:
            place = record.trial - 1
            listed = card.values_of(card.configurations[place]) if place < len(card.configurations) else None
            if listed != record.values:
                yield f"trial {record.trial} has {dict(record.values)}, the card lists {listed}"
        elif card.space is not None:
            for name, allowed in card.space.items():
                value = record.values.get(name)
                if (value is not None) != is_active(name, record.values):
                    yield f"trial {record.trial}: {name} {value} does not go with {dict(record.values)}"
                elif value is not None and not allowed.contains(value):
                    yield f"trial {record.trial}: {name} {value} is outside the space: {allowed}"
    try:
        Agenda(card, attempts, max_trials=None)
    except FashionTuningError as error:
        yield error.received
    except Exception as error:  # a record that can't be played meets every kind
        yield f"the record can't be played to the oracle: {type(error).__name__}: {error}"
