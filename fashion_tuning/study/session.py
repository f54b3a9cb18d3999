"""What every start of a study or a final run does around its trials: close what was left, features, the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from fashion_tuning.data.contact_sheet import draw_views
from fashion_tuning.data.views import IDENTITY
from fashion_tuning.errors import DiskError, StoreError, StudyOwnedError
from fashion_tuning.files import SCRATCH, disk_errors, scratch_folder
from fashion_tuning.model.extraction import pixel_batches
from fashion_tuning.model.features import FeatureRef, compute_features
from fashion_tuning.study.events import FeaturesProgress, Notice, Report
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs, card_views, sizing
from fashion_tuning.study.ownership import is_free
from fashion_tuning.study.queue import TrialQueue
from fashion_tuning.tracking.artifacts import list_artifacts
from fashion_tuning.tracking.records import StudyRecord, TrialRecord, find_left, find_studies, read_attempts
from fashion_tuning.tracking.states import remove_states
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import StudyRun
from fashion_tuning.tracking.trial_run import close_as_killed

VIEWS = "views.png"


def close_left(store: Store, own: StudyRecord, *, cache_dir: Path) -> None:
    """Closes what was left RUNNING by processes that are gone: of earlier cards and generations too."""
    left = find_left(store, own.experiment)
    for study in find_studies(store, own.experiment, kind=own.kind):
        if study.run_id == own.run_id or not (left.get(study.run_id) or study.status == "RUNNING"):
            continue
        if study.digest == own.digest or is_free(store, study, cache_dir=cache_dir):
            for run_id in left.get(study.run_id, ()):
                close_as_killed(store, run_id)
            close_as_killed(store, study.run_id)


def open_attempts(store: Store, study: StudyRecord) -> list[TrialRecord]:
    """Every attempt at a study that nobody else works on; runs left RUNNING are closed as KILLED first.

    Those that a person has deleted are among them: what they were asked and told is part of the study's order.
    """
    attempts = read_attempts(store, study, with_deleted=True)
    # A kill between a trial's end and this may have left what nobody goes on from any more.
    last = max((record for record in attempts if record.stands), key=lambda one: one.tell or 0, default=None)
    if last is not None:
        remove_states(
            store, [record.run_id for record in attempts if record.trial == last.trial and not record.deleted]
        )
    left = [record for record in attempts if record.status == "RUNNING" and not record.deleted]
    for record in left:
        close_as_killed(store, record.run_id)
    attempts = read_attempts(store, study, with_deleted=True) if left else attempts
    # What was deleted while it ran stays RUNNING for MLflow, which changes nothing that is deleted.
    return [replace(record, status="KILLED") if record.status == "RUNNING" else record for record in attempts]


def report_deleted(queue: TrialQueue, report: Report) -> None:
    """Say which trials are trained again because a person has deleted their runs."""
    if queue.deleted:
        trials = ", ".join(f"trial {trial:02d}" for trial in queue.deleted)
        report(Notice(f"deleted in MLflow, and trained again with the values on record: {trials}"))


@contextmanager
def closing(run: StudyRun) -> Iterator[None]:
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


def log_views(inputs: StudyInputs, run: StudyRun) -> None:
    """Keeps a picture of some photos' views with the run, where the card asks for views; one photo per class.

    Raises:
      DataError: A photo is missing or not the one that was verified.
      StoreError, DiskError: The store or a disk refuses.
    """
    views = card_views(inputs.card)
    if not views or VIEWS in list_artifacts(run.store, run.run_id):
        return
    manifest = inputs.dataset.manifest
    first = {photo.label: photo for photo in reversed(manifest.select("train"))}
    photos = [(inputs.dataset.path(first[label]), first[label].sha256) for label in manifest.classes if label in first]
    pixels = [np.concatenate(list(pixel_batches(photos, sizing(inputs.card), view))) for view in (IDENTITY, *views)]
    with scratch_folder() as folder:
        path = folder / VIEWS
        with disk_errors(path, instead=SCRATCH):
            draw_views(pixels).save(path)
        run.store.upload(run.run_id, path)


def computed_features(inputs: StudyInputs, refs: Sequence[FeatureRef], worker: Worker, report: Report) -> float | None:
    """Makes sure that all features stand in the cache; seconds it took, None where they were there."""
    total = sum(len(ref.photos) for ref in refs)
    before = computed = 0
    started = time.perf_counter()
    for ref in refs:
        last: int | None = None
        for progress in worker.run(
            compute_features, ref, root=inputs.dataset.root, weights=inputs.weights[ref.key.backbone]
        ):
            if last is not None and not progress.waiting:
                computed += progress.done - last
            last = progress.done
            for line in progress.set_aside:
                report(Notice(line))
            seconds = time.perf_counter() - started
            report(FeaturesProgress(before + progress.done, total, computed, seconds, progress.waiting))
        before += len(ref.photos)
    return time.perf_counter() - started if computed else None
