"""A study from its card to its last trial: find or begin its run, compute features, run trials."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fashion_tuning.config import Card
from fashion_tuning.errors import StoreError, StudyOwnedError
from fashion_tuning.files import disk_errors
from fashion_tuning.model.features import FeatureRef, compute_features
from fashion_tuning.study.coordinator import Coordinator
from fashion_tuning.study.differences import differences
from fashion_tuning.study.events import FeaturesProgress, Report
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import SPLITS, StudyInputs
from fashion_tuning.study.plan import estimate_cost, make_plan, require_disk
from fashion_tuning.tracking.records import StudyRecord, TrialRecord, find_studies, latest_attempts, read_attempts
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import DatasetInfo, StudyRun
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
    with _owned(inputs, store):
        known = find_studies(store, inputs.experiment)
        same = [record for record in known if record.digest == inputs.study.digest]
        attempts = _close_interrupted(store, same[0]) if same and not fresh else []
        history = latest_attempts(attempts)
        limit = _limit(inputs.card, max_trials)
        refs = inputs.refs()
        trials_ended = sum(record.counts for record in history)
        cost = estimate_cost(inputs.card, refs, trials_ended=trials_ended, limit=limit)
        require_disk(cost, store=store, cache_dir=inputs.cache_dir)
        run = _open_run(inputs, store, same, fresh=fresh)
        with _closing(run):
            plan = make_plan(
                inputs,
                store,
                run.record,
                cost,
                trials_ended=trials_ended,
                limit=limit,
                resumed=bool(same) and not fresh,
                changed=() if same or not known else differences(known[0].parts, inputs.study.parts()),
            )
            report(plan)
            if seconds := _compute_features(inputs, refs, workers[0], report):
                run.log({"seconds_features": seconds}, step=trials_ended)
            Coordinator(
                inputs.card,
                run,
                history=history,
                attempts=Counter(record.trial for record in attempts),
                workers=workers,
                train=refs["train"],
                validation=refs["validation"],
                max_trials=limit,
                report=report,
            ).run()
        return run.record


def lock_path(inputs: StudyInputs, store: Store) -> Path:
    """The file that the process which runs this study on this machine holds locked."""
    name = hashlib.sha256(f"{store.uri}/{inputs.experiment}/{inputs.study.digest}".encode()).hexdigest()[:24]
    return inputs.cache_dir / "locks" / f"{name}.lock"


@contextmanager
def _owned(inputs: StudyInputs, store: Store) -> Iterator[None]:
    path = lock_path(inputs, store)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StudyOwnedError(
                f"study {inputs.study.digest} of {inputs.experiment!r} is being run by another process on this machine",
                action="wait for it, or stop it; then type the same command again",
            ) from error
    try:
        yield
    finally:
        lock.release()


def _close_interrupted(store: Store, study: StudyRecord) -> list[TrialRecord]:
    """Every attempt at a study that this process owns; runs left RUNNING are closed as KILLED first."""
    attempts = read_attempts(store, study)
    left = [record for record in attempts if record.status == "RUNNING"]
    for record in left:
        close_as_killed(store, record.run_id)
    return read_attempts(store, study) if left else attempts


def _open_run(inputs: StudyInputs, store: Store, same: list[StudyRecord], *, fresh: bool) -> StudyRun:
    manifest = inputs.dataset.manifest
    dataset = DatasetInfo(
        name=inputs.dataset.name,
        digest=manifest.digest,
        source=str(inputs.dataset.root),
        kind=inputs.dataset.kind,
        counts={split: manifest.counts()[split] for split in SPLITS},
    )
    if same and not fresh:
        return StudyRun.resume(store, same[0], dataset)
    return StudyRun.begin(
        store,
        inputs.experiment,
        inputs.study,
        generation=len(same) + 1,
        dataset=dataset,
        card_text=inputs.card_text,
        manifest_csv=manifest.to_csv(),
    )


@contextmanager
def _closing(run: StudyRun) -> Iterator[None]:
    """Ends the study's run as what became of it: FINISHED, KILLED by a signal, or FAILED."""
    try:
        yield
    except BaseException as error:
        # Where the store is what failed, it can't be told; the next start goes on all the same.
        with suppress(StoreError):
            run.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    run.end("FINISHED")


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
            seconds = time.perf_counter() - started
            report(FeaturesProgress(before + progress.done, total, computed, seconds, progress.waiting))
        before += len(ref.photos)
    return time.perf_counter() - started if computed else None


def _limit(card: Card, max_trials: int | None) -> int | None:
    if max_trials is not None:
        return max_trials
    return card.search.max_trials if card.search else len(card.configurations)
