"""What is read back from MLflow: a study and its trials as plain frozen values; read-only."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from mlflow.entities import Run

from fashion_tuning.errors import StoreError
from fashion_tuning.tracking.store import Store, store_errors

KIND = "fashion.kind"
STUDY = "fashion.study"
GENERATION = "fashion.generation"
PARTS = "fashion.parts"
TRIAL = "fashion.trial"
ATTEMPT = "fashion.attempt"
ASK = "fashion.ask"
TELL = "fashion.tell"
VALUES = "fashion.values"
SCOPE = "fashion.scope"
EPOCHS = "fashion.epochs"
LISTED = "fashion.listed"
SOURCE = "fashion.source"
PUBLISHED = "fashion.published_val_accuracy"
ERROR = "fashion.error"
ERROR_MESSAGE = "fashion.error_message"
PHOTOS = "fashion.photos"
PARENT = "mlflow.parentRunId"

_PAGE = 1000


@dataclass(frozen=True)
class StudyRecord:
    """A study run: which study, which generation, and the parts of its digest."""

    run_id: str
    experiment: str
    digest: str
    generation: int
    status: str
    parts: Mapping[str, object]
    photos: str
    start_time: int


@dataclass(frozen=True)
class TrialRecord:
    """One attempt at a trial, as its run has it.

    `ask` and `tell` are places in one order over the whole study; `tell` is None until the
    oracle was told. `values` are the exact hyperparameters, `scope` Keras Tuner's own entries.
    `metrics` holds the last value of each metric.
    """

    run_id: str
    trial: int
    attempt: int
    ask: int
    tell: int | None
    status: str
    values: Mapping[str, int | float]
    scope: Mapping[str, int | str | float | None]
    epochs: int
    listed: bool
    source: str = ""
    published_val_accuracy: float | None = None
    error: str = ""
    error_message: str = ""
    trainable_parameters: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether the attempt ended and the oracle was told: nothing about it will change."""
        return self.tell is not None and self.status in ("FINISHED", "FAILED")

    @property
    def completed(self) -> bool:
        return self.counts and self.status == "FINISHED"

    @property
    def failed(self) -> bool:
        return self.counts and self.status == "FAILED"

    @property
    def score(self) -> float | None:
        """best_val_accuracy of a completed trial, None of any other."""
        return self.metrics["best_val_accuracy"] if self.completed else None


def find_studies(store: Store, experiment: str) -> list[StudyRecord]:
    """All study runs of an experiment, newest first."""
    experiment_id = store.experiment_id(experiment)
    if experiment_id is None:
        return []
    runs = _search(store, experiment_id, f"tags.`{KIND}` = 'study'")
    return sorted((_study(run, experiment) for run in runs), key=lambda record: record.start_time, reverse=True)


def read_study(store: Store, run_id: str) -> StudyRecord | None:
    """The study of that run id, None where no study has it."""
    try:
        with store_errors(store.uri):
            run = store.client.get_run(run_id)
            experiment = store.client.get_experiment(run.info.experiment_id).name
    except StoreError:
        return None
    return _study(run, experiment) if run.data.tags.get(KIND) == "study" else None


def read_attempts(store: Store, study: StudyRecord) -> list[TrialRecord]:
    """Every attempt at every trial of a study, in order of trial and attempt."""
    experiment_id = store.experiment_id(study.experiment)
    if experiment_id is None:
        return []
    runs = _search(store, experiment_id, f"tags.`{KIND}` = 'trial' and tags.`{PARENT}` = '{study.run_id}'")
    return sorted((_trial(run) for run in runs), key=lambda record: (record.trial, record.attempt))


def latest_attempts(attempts: Iterable[TrialRecord]) -> list[TrialRecord]:
    """One record per trial: the attempt that counts, or else the newest."""
    chosen: dict[int, TrialRecord] = {}
    for record in attempts:
        held = chosen.get(record.trial)
        if held is None or (record.counts, record.attempt) > (held.counts, held.attempt):
            chosen[record.trial] = record
    return [chosen[trial] for trial in sorted(chosen)]


def read_predictions(store: Store, run_id: str) -> tuple[np.ndarray, np.ndarray]:
    """Kept validation probabilities, (seeds, epochs, images, classes) float32, and the (images,) labels.

    Raises:
      StoreError: The artifacts are missing or can't be read.
    """
    with store_errors(store.uri):
        folder = Path(store.client.download_artifacts(run_id, "predictions"))
    seeds = []
    try:
        for number in range(1, 1 + sum(1 for _ in folder.glob("seed_*.npz"))):
            with np.load(folder / f"seed_{number}.npz") as kept:
                seeds.append(kept["probabilities"])
                labels = kept["labels"]
        return np.stack(seeds), labels
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise StoreError(f"the predictions of run {run_id} in {folder} can't be read: {error}") from error


def read_curve(store: Store, run_id: str, metric: str) -> list[tuple[int, float]]:
    """(epoch, value) of a metric, in order of epoch."""
    with store_errors(store.uri):
        history = store.client.get_metric_history(run_id, metric)
    return sorted((point.step, point.value) for point in history)


def _search(store: Store, experiment_id: str, query: str) -> list[Run]:
    runs: list[Run] = []
    token = None
    with store_errors(store.uri):
        while True:
            page = store.client.search_runs([experiment_id], query, max_results=_PAGE, page_token=token)
            runs.extend(page)
            token = page.token
            if not token:
                return runs


def _study(run: Run, experiment: str) -> StudyRecord:
    tags = run.data.tags
    return StudyRecord(
        run_id=run.info.run_id,
        experiment=experiment,
        digest=tags[STUDY],
        generation=int(tags[GENERATION]),
        status=run.info.status,
        parts=json.loads(tags[PARTS]),
        photos=tags[PHOTOS],
        start_time=run.info.start_time,
    )


def _trial(run: Run) -> TrialRecord:
    tags = run.data.tags
    return TrialRecord(
        run_id=run.info.run_id,
        trial=int(tags[TRIAL]),
        attempt=int(tags[ATTEMPT]),
        ask=int(tags[ASK]),
        tell=int(tags[TELL]) if TELL in tags else None,
        status=run.info.status,
        values=json.loads(tags[VALUES]),
        scope=json.loads(tags[SCOPE]),
        epochs=int(tags[EPOCHS]),
        listed=tags[LISTED] == "true",
        source=tags.get(SOURCE, ""),
        published_val_accuracy=float(tags[PUBLISHED]) if PUBLISHED in tags else None,
        error=tags.get(ERROR, ""),
        error_message=tags.get(ERROR_MESSAGE, ""),
        trainable_parameters=int(run.data.params.get("trainable_parameters", 0)),
        metrics=dict(run.data.metrics),
    )
