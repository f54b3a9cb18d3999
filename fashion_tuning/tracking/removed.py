"""What a person has deleted or renamed in MLflow's UI: where it stands now, and the command that brings it back."""

from __future__ import annotations

from mlflow.entities import LifecycleStage

from fashion_tuning.errors import StoreError
from fashion_tuning.tracking.records import StudyRecord, read_studies
from fashion_tuning.tracking.remedies import deleted_experiment_error, mlflow_command
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.tag_names import DIGEST, KIND, STUDY


def find_deleted_experiment(store: Store, name: str) -> str | None:
    """Find the id of an experiment of that name that was deleted; None where there is none; read-only."""
    experiment = store.call(lambda client: client.get_experiment_by_name(name))
    return experiment.experiment_id if experiment and experiment.lifecycle_stage == LifecycleStage.DELETED else None


def find_deleted(store: Store, experiment: str) -> list[StudyRecord]:
    """Find the study runs of an experiment that were deleted, alone or with it; newest first; read-only."""
    records = [
        record
        for record in read_studies(store, f"tags.`{KIND}` = 'study'")
        if record.experiment == experiment and record.deleted
    ]
    return sorted(records, key=lambda record: record.start_time, reverse=True)


def find_by_digest(store: Store, digest: str, *, kind: str) -> list[StudyRecord]:
    """Find the studies, or final runs, of a digest in all experiments, deleted ones too; newest first; read-only."""
    # A final run has a digest of its own; studies of version 0.1.0 have theirs under either name.
    records = [
        record
        for tag in (DIGEST, STUDY)
        for record in read_studies(store, f"tags.`{KIND}` = '{kind}' and tags.`{tag}` = '{digest}'")
        if record.digest == digest
    ]
    return sorted(
        {record.run_id: record for record in records}.values(), key=lambda record: record.start_time, reverse=True
    )


def deleted_run_error(store: Store, record: StudyRecord) -> StoreError:
    """Make the error for a study or a final run that was deleted in the UI."""
    if find_deleted_experiment(store, record.experiment):
        return deleted_experiment_error(record.experiment, record.experiment_id, address=store.mlflow_address)
    anew = "tune --fresh begins anew" if record.kind == "study" else "mlflow gc removes it, and it is made anew"
    restore = mlflow_command("runs", "restore", "--run-id", record.run_id, address=store.mlflow_address)
    return StoreError(
        f"the run {record.run_id} of {record.kind} {record.digest} in {record.experiment!r} was deleted",
        action=f"{restore} brings it back; {anew}",
    )
