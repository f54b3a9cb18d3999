"""What is read back from MLflow: a study and its trials as plain frozen values; read-only."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from mlflow.entities import LifecycleStage, Run, ViewType

from fashion_tuning.errors import StoreError
from fashion_tuning.hyperparameters import Value
from fashion_tuning.tracking.lease import OWNER, Owner, parse_owner
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.tag_names import (
    ASK,
    ATTEMPT,
    DESCRIBED,
    DIGEST,
    EPOCHS,
    ERROR,
    ERROR_MESSAGE,
    GENERATION,
    KIND,
    LISTED,
    MACHINE,
    PARENT,
    PARTS,
    PHOTOS,
    PRUNED,
    PUBLISHED,
    SCOPE,
    SOURCE,
    STAGE,
    STUDY,
    TELL,
    TRIAL,
    VALUES,
    VERSIONS,
    read_long_tag,
)


@dataclass(frozen=True)
class StudyRecord:
    """A study run or a final run: which study, which generation, the parts of its digest, and who runs it.

    `described` says that its parameters and artifacts stand, which a kill may have prevented. `experiment` is what
    the experiment is called now; `deleted` says that the run or its experiment was deleted in the UI.
    """

    run_id: str
    experiment: str
    digest: str
    generation: int
    status: str
    parts: Mapping[str, object]
    photos: str
    start_time: int
    owner: Owner | None = None
    described: bool = False
    study: str = ""
    kind: str = "study"
    experiment_id: str = ""
    deleted: bool = False

    @property
    def runs(self) -> bool:
        """Whether a live process works on it."""
        return self.status == "RUNNING" and self.owner is not None and self.owner.lives


@dataclass(frozen=True)
class TrialRecord:
    """One attempt at a trial, as its run has it.

    `ask` and `tell` are places in one order over the whole study; `tell` is None until the
    oracle was told. `values` are the exact hyperparameters, `scope` Keras Tuner's own entries.
    `pruned` says why it was stopped
    before its last epoch. `parameters` are MLflow's, as text; `metrics` holds the last value of each metric.
    `deleted` says that the run was deleted in the UI, which keeps it until `mlflow gc`.
    """

    run_id: str
    trial: int
    attempt: int
    ask: int
    tell: int | None
    status: str
    values: Mapping[str, Value]
    scope: Mapping[str, int | str | float | None]
    epochs: int
    listed: bool
    source: str = ""
    published_val_accuracy: float | None = None
    error: str = ""
    error_message: str = ""
    trainable_parameters: int = 0
    stage: str = ""
    pruned: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    deleted: bool = False

    @property
    def counts(self) -> bool:
        """Whether the attempt ended and the oracle was told: nothing about it will change."""
        return self.tell is not None and self.status in ("FINISHED", "FAILED")

    @property
    def stands(self) -> bool:
        """Whether it counts and nobody has deleted it."""
        return self.counts and not self.deleted

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


def find_studies(store: Store, experiment: str, *, kind: str = "study") -> list[StudyRecord]:
    """All study runs of an experiment, or all of another kind, newest first."""
    experiment_id = store.experiment_id(experiment)
    if experiment_id is None:
        return []
    runs = store.search([experiment_id], f"tags.`{KIND}` = '{kind}'")
    return sorted((_study(run, experiment) for run in runs), key=lambda record: record.start_time, reverse=True)


def read_studies(store: Store, query: str) -> list[StudyRecord]:
    """The studies or final runs of all experiments that a query finds, deleted ones too."""
    experiments = store.call(lambda client: list(client.search_experiments(view_type=ViewType.ALL)))
    names = {experiment.experiment_id: experiment.name for experiment in experiments}
    runs = store.search(list(names), query, view_type=ViewType.ALL)
    return [_study(run, names[run.info.experiment_id]) for run in runs]


def current_study(studies: Iterable[StudyRecord], digest: str) -> StudyRecord | None:
    """The study run that goes on with a digest: its last generation; of two at once the earlier one."""
    same = [record for record in studies if record.digest == digest]
    return min(same, key=lambda one: (-one.generation, one.start_time, one.run_id), default=None)


def read_study(store: Store, run_id: str, *, kinds: Collection[str] = ("study",)) -> StudyRecord | None:
    """The study, or the run of another kind, that has that run id; None where there is none."""
    run = store.get_run(run_id)
    if run is None or run.data.tags.get(KIND) not in kinds:
        return None
    return _study(run, store.call(lambda client: client.get_experiment(run.info.experiment_id)).name)


def read_trial(store: Store, run_id: str) -> tuple[TrialRecord, StudyRecord] | None:
    """The attempt of that run id and its study or final run, None where no trial has it."""
    run = store.get_run(run_id)
    if run is None or run.data.tags.get(KIND) != "trial":
        return None
    study = read_study(store, run.data.tags[PARENT], kinds=("study", "final"))
    return (_trial(run), study) if study else None


def read_origin(store: Store, run_id: str) -> dict[str, str]:
    """Machine and library versions of a study run, by name."""
    tags = store.call(lambda client: client.get_run(run_id)).data.tags
    return {**json.loads(tags.get(MACHINE, "{}")), **json.loads(tags.get(VERSIONS, "{}"))}


def find_left(store: Store, experiment: str) -> dict[str, list[str]]:
    """Trials' runs that are RUNNING, by the id of their study's run: of those at work, and of those cut short."""
    experiment_id = store.experiment_id(experiment)
    found: dict[str, list[str]] = {}
    query = f"tags.`{KIND}` = 'trial' and status = 'RUNNING'"
    for run in store.search([experiment_id], query) if experiment_id else ():
        found.setdefault(run.data.tags[PARENT], []).append(run.info.run_id)
    return found


def read_attempts(store: Store, study: StudyRecord, *, with_deleted: bool = False) -> list[TrialRecord]:
    """Every attempt at every trial of a study, in order of trial and attempt.

    Args:
      with_deleted: Those that were deleted in the UI too.
    """
    experiment_id = study.experiment_id or store.experiment_id(study.experiment)
    if not experiment_id:
        return []
    view_type = ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY
    query = f"tags.`{KIND}` = 'trial' and tags.`{PARENT}` = '{study.run_id}'"
    runs = store.search([experiment_id], query, view_type=view_type)
    return sorted((_trial(run) for run in runs), key=lambda record: (record.trial, record.attempt))


def latest_attempts(attempts: Iterable[TrialRecord]) -> list[TrialRecord]:
    """One record per trial: the attempt that counts, or else the newest; a deleted one where no other does as well."""

    def rank(record: TrialRecord) -> tuple[bool, bool, int]:
        return record.counts, not record.deleted, record.attempt

    chosen: dict[int, TrialRecord] = {}
    for record in attempts:
        held = chosen.get(record.trial)
        if held is None or rank(record) > rank(held):
            chosen[record.trial] = record
    return [chosen[trial] for trial in sorted(chosen)]


def read_source(store: Store, run_id: str) -> str:
    """Where the photos of a study run lay when it began; "" where that is not recorded."""
    inputs = store.call(lambda client: client.get_run(run_id)).inputs
    if inputs is None or not inputs.dataset_inputs:
        return ""
    return str(json.loads(inputs.dataset_inputs[0].dataset.source).get("uri", ""))


def read_curve(store: Store, run_id: str, metric: str) -> list[tuple[int, float]]:
    """(epoch, value) of a metric, in order of epoch."""
    history = store.call(lambda client: client.get_metric_history(run_id, metric))
    return sorted((point.step, point.value) for point in history)


def _study(run: Run, experiment: str) -> StudyRecord:
    tags = run.data.tags
    with _worded_tags(run):
        return StudyRecord(
            run_id=run.info.run_id,
            experiment=experiment,
            digest=tags.get(DIGEST, tags[STUDY]),
            study=tags[STUDY],
            kind=tags[KIND],
            generation=int(tags[GENERATION]),
            status=run.info.status,
            parts=json.loads(read_long_tag(tags, PARTS)),
            photos=tags[PHOTOS],
            start_time=run.info.start_time,
            owner=parse_owner(tags.get(OWNER)),
            described=DESCRIBED in tags,
            experiment_id=run.info.experiment_id,
            deleted=run.info.lifecycle_stage == LifecycleStage.DELETED,
        )


def _trial(run: Run) -> TrialRecord:
    tags = run.data.tags
    with _worded_tags(run):
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
            stage=tags.get(STAGE, ""),
            pruned=tags.get(PRUNED, ""),
            trainable_parameters=int(run.data.params.get("trainable_parameters", 0)),
            parameters=dict(run.data.params),
            metrics=dict(run.data.metrics),
            deleted=run.info.lifecycle_stage == LifecycleStage.DELETED,
        )


@contextmanager
def _worded_tags(run: Run) -> Iterator[None]:
    """Names the run whose tags somebody has changed or removed."""
    try:
        yield
    except (KeyError, ValueError, TypeError) as error:
        what = (
            f"has no tag {error.args[0]}" if isinstance(error, KeyError) else f"has a tag that can't be read: {error}"
        )
        raise StoreError(
            f"run {run.info.run_id} {what}",
            expected="the tags fashion.* as the program wrote them",
            action="write it back in the MLflow UI; or delete this run there, and tune with the study's card goes on",
        ) from error
