"""A study from its card to its last trial: find or begin its run, compute features, run trials."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from fashion_tuning.config import Card, Study
from fashion_tuning.data.source import Dataset
from fashion_tuning.errors import DiskError, StudyOwnedError
from fashion_tuning.files import disk_errors
from fashion_tuning.model.backbone import FEATURE_SIZE
from fashion_tuning.model.features import (
    FeatureKey,
    FeatureRef,
    compute_features,
    feature_key,
    feature_ref,
    verify_shards,
)
from fashion_tuning.model.head import count_parameters
from fashion_tuning.model.training import TRAINING_VERSION
from fashion_tuning.model.weights import Weights
from fashion_tuning.study import estimate
from fashion_tuning.study.coordinator import Coordinator
from fashion_tuning.study.events import FeaturesProgress, Plan, Report
from fashion_tuning.study.executors import Worker
from fashion_tuning.tracking.records import StudyRecord, find_studies, latest_attempts, read_attempts
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import DatasetInfo, StudyRun
from fashion_tuning.tracking.trial_run import close_as_killed

SPLITS = ("train", "validation")  # never test: only evaluate reads that


@dataclass(frozen=True)
class StudyInputs:
    """What a card is run on.

    Args:
      card: The validated card; `card_text` is its file, kept with the study.
      dataset: Verified photos.
      weights: The backbone's weights.
      cache_dir: Where features lie.
    """

    card: Card
    card_text: str
    dataset: Dataset
    weights: Weights
    cache_dir: Path

    @property
    def key(self) -> FeatureKey:
        return feature_key(self.card, manifest=self.dataset.manifest, weights=self.weights)

    @property
    def study(self) -> Study:
        return Study(card=self.card, inputs={**self.key.parts(), "training_version": str(TRAINING_VERSION)})

    @property
    def experiment(self) -> str:
        return experiment_name(self.card, drawn=self.dataset.kind == "drawn")

    def refs(self) -> dict[str, FeatureRef]:
        key = self.key
        return {
            split: feature_ref(key, split, manifest=self.dataset.manifest, cache_dir=self.cache_dir) for split in SPLITS
        }


def experiment_name(card: Card, *, drawn: bool) -> str:
    """The MLflow experiment of a card: its name, apart where the garments are drawn."""
    return f"{card.name}-drawn" if drawn else card.name


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
    study = inputs.study
    limit = _limit(inputs.card, max_trials)
    with _owned(inputs, store):
        known = find_studies(store, inputs.experiment)
        same = [record for record in known if record.digest == study.digest]
        resumed = bool(same) and not fresh
        attempts = read_attempts(store, same[0]) if resumed else []
        for record in attempts:
            if record.status == "RUNNING":
                close_as_killed(store, record.run_id)
        if any(record.status == "RUNNING" for record in attempts):
            attempts = read_attempts(store, same[0])
        history = latest_attempts(attempts)
        refs = inputs.refs()
        plan = _plan(inputs, store, refs, history_length=sum(record.counts for record in history), limit=limit)
        _require_disk(store, inputs.cache_dir, plan)
        dataset = DatasetInfo(
            name=inputs.dataset.name,
            digest=inputs.dataset.manifest.digest,
            source=str(inputs.dataset.root),
            kind=inputs.dataset.kind,
            counts={split: inputs.dataset.manifest.counts()[split] for split in SPLITS},
        )
        if resumed:
            run = StudyRun.resume(store, same[0], dataset)
        else:
            run = StudyRun.begin(
                store,
                inputs.experiment,
                study,
                generation=len(same) + 1,
                dataset=dataset,
                card_text=inputs.card_text,
                manifest_csv=inputs.dataset.manifest.to_csv(),
            )
        try:
            changed = () if same or not known else differences(known[0].parts, study.parts())
            report(
                Plan(
                    **plan,
                    study_run=run.run_id,
                    generation=run.record.generation,
                    resumed=resumed,
                    changed=changed,
                )
            )
            started = time.perf_counter()
            _compute(inputs, refs, workers[0], report)
            coordinator = Coordinator(
                inputs.card,
                run,
                history=history,
                attempts=Counter(record.trial for record in attempts),
                workers=workers,
                train=refs["train"],
                validation=refs["validation"],
                max_trials=limit,
                seconds_features=time.perf_counter() - started,
                report=report,
            )
            coordinator.run()
        except KeyboardInterrupt:
            run.end("KILLED")
            raise
        except BaseException:
            run.end("FAILED")
            raise
        run.end("FINISHED")
        return run.record


def differences(old: Mapping[str, object], new: Mapping[str, object], prefix: str = "") -> tuple[str, ...]:
    """Which parts of two studies differ, as "key: old -> new" lines."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, after = _as_mapping(old.get(key)), _as_mapping(new.get(key))
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines.extend(differences(before, after, f"{prefix}{key}."))
        elif before != after:
            shown = (_short(before), _short(after))
            lines.append(f"{prefix}{key}: {shown[0]} -> {shown[1]}")
    return tuple(lines)


def _as_mapping(value: object) -> object:
    """A list of tables as a table with the keys #1, #2, ...; anything else as it is."""
    if isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
        return {f"#{number}": entry for number, entry in enumerate(value, 1)}
    return value


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry}" for key, entry in value.items() if entry is not None)
    return "nothing" if value is None else str(value)


def _limit(card: Card, max_trials: int | None) -> int | None:
    if max_trials is not None:
        return max_trials
    return card.search.max_trials if card.search else len(card.configurations)


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


def _plan(
    inputs: StudyInputs, store: Store, refs: Mapping[str, FeatureRef], *, history_length: int, limit: int | None
) -> dict:
    card, manifest = inputs.card, inputs.dataset.manifest
    missing = sum(
        len(ref.rows(shard)) for ref in refs.values() for shard, good in enumerate(verify_shards(ref)) if not good
    )
    total = sum(len(ref.photos) for ref in refs.values())
    num_train = len(refs["train"].photos)
    seconds = estimate.feature_seconds(missing, image_size=card.images.image_size)
    disk = 0
    listed = card.configurations[history_length:limit]
    for configuration in listed:
        parameters = count_parameters(
            configuration.values, feature_size=FEATURE_SIZE, num_classes=len(manifest.classes)
        )
        epochs = configuration.epochs or card.training.epochs
        seconds += estimate.trial_seconds(card, num_images=num_train, parameters=parameters, epochs=epochs)
        disk += estimate.checkpoint_bytes(card, parameters=parameters, epochs=epochs)
    if card.space:
        searched = max(0, (limit or estimate.trials_of_search(card)) - history_length - len(listed))
        mean, largest = estimate.parameter_range(
            card.space, feature_size=FEATURE_SIZE, num_classes=len(manifest.classes)
        )
        epochs = card.training.epochs
        seconds += searched * estimate.trial_seconds(card, num_images=num_train, parameters=int(mean), epochs=epochs)
        disk += searched * estimate.checkpoint_bytes(card, parameters=largest, epochs=epochs)
    return {
        "card": card.name,
        "tuner": card.search.tuner if card.search else "list",
        "dataset": inputs.dataset.name,
        "drawn": inputs.dataset.kind == "drawn",
        "counts": {split: len(ref.photos) for split, ref in refs.items()},
        "classes": manifest.classes,
        "image_size": card.images.image_size,
        "max_trials": limit,
        "trials_ended": history_length,
        "seeds": card.training.seeds,
        "epochs": card.training.epochs,
        "images_cached": total - missing,
        "images_missing": missing,
        "seconds": seconds,
        "checkpoint_bytes": disk,
        "feature_bytes": missing * FEATURE_SIZE * 4,
        "experiment": inputs.experiment,
        "store": store.uri,
    }


def _require_disk(store: Store, cache_dir: Path, plan: Mapping) -> None:
    wanted = [(cache_dir, plan["feature_bytes"], "features")]
    if store.folder:
        wanted.append((store.folder, plan["checkpoint_bytes"], "checkpoints"))
    for folder, num_bytes, what in wanted:
        free = shutil.disk_usage(folder).free
        if num_bytes > free:
            raise DiskError(
                f"{folder} has {free / 2**30:.1f} GiB free, {what} may need {num_bytes / 2**30:.1f} GiB",
                action="free some space, or lower max_trials, epochs or seeds in the card",
            )


def _compute(inputs: StudyInputs, refs: Mapping[str, FeatureRef], worker: Worker, report: Report) -> None:
    total = sum(len(ref.photos) for ref in refs.values())
    before = 0
    started = time.perf_counter()
    first: int | None = None
    for ref in refs.values():
        for progress in worker.run(compute_features, ref, inputs.key, root=inputs.dataset.root, weights=inputs.weights):
            done = before + progress.done
            if first is None:
                first = done
            elif progress.done and not progress.waiting and done == first:
                started = time.perf_counter()
            seconds = time.perf_counter() - started
            report(FeaturesProgress(done, total, done - first, seconds, progress.waiting))
        before += len(ref.photos)
