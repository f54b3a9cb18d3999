"""A study from its card to its last trial: find or begin its run, compute features, run trials."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from fashion_tuning.config import Card
from fashion_tuning.data.download import NAME as CLOTHING
from fashion_tuning.errors import DiskError, StoreError, StudyOwnedError
from fashion_tuning.model.features import FeatureRef, compute_features
from fashion_tuning.study.agenda import Agenda
from fashion_tuning.study.coordinator import Coordinator
from fashion_tuning.study.differences import differences
from fashion_tuning.study.events import FeaturesProgress, Notice, Report
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.ownership import is_free, owned
from fashion_tuning.study.plan import estimate_cost, make_plan, require_disk
from fashion_tuning.tracking.records import (
    StudyRecord,
    TrialRecord,
    current_study,
    find_left,
    find_studies,
    read_attempts,
)
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import StudyRun
from fashion_tuning.tracking.trial_run import close_as_killed


def tune(
    inputs: StudyInputs,
    store: Store,
    *,
    workers: list[Worker],
    max_trials: int | None,
    fresh: bool,
    report: Report,
) -> StudyRecord:
    """Runs or resumes a study until its trials are done, and returns its record.

    Writes features to the cache and everything else to the store.

    Args:
      max_trials: Takes the card's place; None leaves the card's.
      fresh: Begin a new generation even where the study exists.

    Raises:
      StudyOwnedError: Another live process runs this study.
      NoTrialError: Three trials in a row have failed.
      DataError, DiskError, StoreError: As their names say; what was recorded stays.
    """
    origin = inputs.origin
    with owned(store, inputs.experiment, inputs.study.digest, cache_dir=inputs.cache_dir):
        known = find_studies(store, inputs.experiment)
        same = current_study(known, inputs.study.digest)
        resumed = same is not None and not fresh
        if same is not None and not fresh:
            run = StudyRun.resume(store, same, origin.dataset)
        else:
            if same is not None and same.runs and same.owner is not None:
                raise same.owner.error(f"study {same.digest} of {same.experiment!r}")
            generation = same.generation + 1 if same else 1
            run = StudyRun.begin(store, inputs.experiment, origin, generation=generation)
        with _closing(run):
            run.start(origin)
            _close_left(store, inputs, run.record)
            attempts = _attempts(store, run.record) if resumed else []
            agenda = Agenda(
                inputs.card,
                attempts,
                max_trials=_limit(inputs.card, max_trials),
                # The figures were published for these photos; beside others they would mislead.
                show_published=inputs.dataset.name == CLOTHING,
            )
            refs = inputs.refs()
            trials_ended = len(agenda.ended)
            cost = estimate_cost(inputs.card, refs, trials_ended=trials_ended, limit=agenda.max_trials)
            require_disk(cost, store=store, cache_dir=inputs.cache_dir)
            plan = make_plan(
                inputs,
                store,
                run.record,
                cost,
                trials_ended=trials_ended,
                limit=agenda.max_trials,
                resumed=resumed,
                changed=() if same or not known else differences(known[0].parts, inputs.study.parts()),
            )
            report(plan)
            if seconds := _compute_features(inputs, refs, workers[0], report):
                run.log({"seconds_features": seconds}, step=trials_ended)
            Coordinator(
                inputs.card,
                run,
                agenda=agenda,
                workers=workers,
                train=refs["train"],
                validation=refs["validation"],
                report=report,
            ).run()
        return run.record


def _close_left(store: Store, inputs: StudyInputs, own: StudyRecord) -> None:
    """Closes what was left RUNNING by processes that are gone: of earlier cards and generations too."""
    left = find_left(store, inputs.experiment)
    for study in find_studies(store, inputs.experiment):
        if study.run_id == own.run_id or not (left.get(study.run_id) or study.status == "RUNNING"):
            continue
        if study.digest == own.digest or is_free(store, study, cache_dir=inputs.cache_dir):
            for run_id in left.get(study.run_id, ()):
                close_as_killed(store, run_id)
            close_as_killed(store, study.run_id)


def _attempts(store: Store, study: StudyRecord) -> list[TrialRecord]:
    """Every attempt at a study that nobody else works on; runs left RUNNING are closed as KILLED first."""
    attempts = read_attempts(store, study)
    left = [record for record in attempts if record.status == "RUNNING"]
    for record in left:
        close_as_killed(store, record.run_id)
    return read_attempts(store, study) if left else attempts


@contextmanager
def _closing(run: StudyRun) -> Iterator[None]:
    """Ends the study's run as what became of it: FINISHED, KILLED by a signal, or FAILED."""
    try:
        yield
        _end(run, "FINISHED")
    except BaseException as error:
        if isinstance(error, StudyOwnedError):
            run.leave()
            raise
        if isinstance(error, KeyboardInterrupt):
            run.store.hurry()
        # Where the store is what failed, it can't be told; the next start goes on all the same.
        with suppress(StoreError, DiskError):
            _end(run, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise


def _end(run: StudyRun, status: str) -> None:
    """Ends the study's run, after those of trials that were cut short where nobody had a hold of them."""
    for run_id in find_left(run.store, run.record.experiment).get(run.run_id, ()):
        close_as_killed(run.store, run_id)
    run.end(status)


def _compute_features(
    inputs: StudyInputs, refs: Mapping[str, FeatureRef], worker: Worker, report: Report
) -> float | None:
    """Makes sure that all features stand in the cache; seconds it took, None where they were there."""
    total = sum(len(ref.photos) for ref in refs.values())
    before = computed = 0
    started = time.perf_counter()
    for ref in refs.values():
        last: int | None = None
        for progress in worker.run(compute_features, ref, inputs.key, root=inputs.dataset.root, weights=inputs.weights):
            if last is not None and not progress.waiting:
                computed += progress.done - last
            last = progress.done
            for line in progress.set_aside:
                report(Notice(line))
            seconds = time.perf_counter() - started
            report(FeaturesProgress(before + progress.done, total, computed, seconds, progress.waiting))
        before += len(ref.photos)
    return time.perf_counter() - started if computed else None


def _limit(card: Card, max_trials: int | None) -> int | None:
    if max_trials is not None:
        return max_trials
    return card.search.max_trials if card.search else len(card.configurations)
