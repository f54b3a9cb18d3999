"""Writing a study run: what it is, what it stands on, how far it has come."""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from fashion_tuning.config import Study
from fashion_tuning.files import disk_errors
from fashion_tuning.tracking import records
from fashion_tuning.tracking.provenance import environment_lock, machine, source_commit, versions
from fashion_tuning.tracking.store import Store, store_errors


@dataclass(frozen=True)
class DatasetInfo:
    """The photos as MLflow's dataset input shows them."""

    name: str
    digest: str
    source: str
    kind: str
    counts: Mapping[str, Mapping[str, int]]

    def as_input(self) -> DatasetInput:
        dataset = Dataset(
            name=self.name,
            digest=self.digest,
            source_type="local",
            source=json.dumps({"uri": self.source}),
            profile=json.dumps({"images": {split: sum(counts.values()) for split, counts in self.counts.items()}}),
        )
        return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])


class StudyRun:
    """One generation of a study in the store; made by `begin`, picked up again by `resume`."""

    def __init__(self, store: Store, experiment_id: str, record: records.StudyRecord, dataset: DatasetInfo) -> None:
        self.store = store
        self.experiment_id = experiment_id
        self.record = record
        self.dataset = dataset
        self._monitor: SystemMetricsMonitor | None = None

    @property
    def run_id(self) -> str:
        return self.record.run_id

    @classmethod
    def begin(
        cls,
        store: Store,
        experiment: str,
        study: Study,
        *,
        generation: int,
        dataset: DatasetInfo,
        card_text: str,
        manifest_csv: str,
    ) -> "StudyRun":
        """Makes the study run with its tags, artifacts and dataset.

        Raises:
          StoreError: The store refuses.
          DiskError: The artifact folder can't be written.
        """
        card = study.card
        experiment_id = store.make_experiment(experiment, description=card.description)
        tags = {
            records.KIND: "study",
            records.STUDY: study.digest,
            records.GENERATION: str(generation),
            records.PARTS: json.dumps(study.parts(), sort_keys=True),
            records.PHOTOS: dataset.kind,
            "fashion.commit": source_commit(),
            "fashion.versions": json.dumps(versions()),
            "fashion.machine": json.dumps(machine()),
            "mlflow.note.content": _note(study, dataset),
        }
        suffix = f" · generation {generation}" if generation > 1 else ""
        started = int(time.time() * 1000)
        with store_errors(store.uri):
            run_id = store.client.create_run(
                experiment_id, start_time=started, tags=tags, run_name=f"study {study.digest[:8]}{suffix}"
            ).info.run_id
            record = records.StudyRecord(
                run_id=run_id,
                experiment=experiment,
                digest=study.digest,
                generation=generation,
                status="RUNNING",
                parts=study.parts(),
                photos=dataset.kind,
                start_time=started,
            )
            run = cls(store, experiment_id, record, dataset)
            store.client.log_inputs(run_id, [dataset.as_input()])
            params = {
                "tuner": card.search.tuner if card.search else "list",
                "image_size": card.images.image_size,
                "interpolation": card.images.interpolation,
                "backbone": card.model.backbone,
                "epochs": card.training.epochs,
                "seeds": card.training.seeds,
                "batch_size": card.training.batch_size,
                "seed": card.seed,
            }
            store.client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])
            with tempfile.TemporaryDirectory() as folder:
                for name, text in (
                    ("card.toml", card_text),
                    ("manifest.csv", manifest_csv),
                    ("environment.txt", environment_lock()),
                ):
                    path = Path(folder) / name
                    path.write_text(text, encoding="utf-8")
                    with disk_errors(path):
                        store.client.log_artifact(run_id, str(path))
        run._start_monitor(resume=False)
        return run

    @classmethod
    def resume(cls, store: Store, record: records.StudyRecord, dataset: DatasetInfo) -> "StudyRun":
        """Picks up a study run: it is RUNNING again.

        Raises:
          StoreError: The store refuses.
        """
        experiment_id = store.make_experiment(record.experiment, description="")
        with store_errors(store.uri):
            store.client.update_run(record.run_id, status="RUNNING")
        run = cls(store, experiment_id, record, dataset)
        run._start_monitor(resume=True)
        return run

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Writes the study's own metrics; `step` is how many trials have ended."""
        now = int(time.time() * 1000)
        with store_errors(self.store.uri):
            self.store.client.log_batch(
                self.run_id, metrics=[Metric(name, float(value), now, step) for name, value in metrics.items()]
            )

    def tag(self, tags: Mapping[str, str]) -> None:
        with store_errors(self.store.uri):
            self.store.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def end(self, status: str) -> None:
        """Closes the run as FINISHED, FAILED or KILLED."""
        if self._monitor:
            self._monitor.finish()
            self._monitor = None
        with store_errors(self.store.uri):
            self.store.client.set_terminated(self.run_id, status=status)

    def _start_monitor(self, *, resume: bool) -> None:
        self._monitor = SystemMetricsMonitor(
            self.run_id, resume_logging=resume, tracking_uri=self.store.uri, sampling_interval=5
        )
        self._monitor.start()


def _note(study: Study, dataset: DatasetInfo) -> str:
    card = study.card
    lines = [card.description, ""] if card.description else []
    if dataset.kind == "drawn":
        lines += ["**Drawn garments, not photos: these figures say nothing about real garments.**", ""]
    counts = ", ".join(f"{split} {sum(labels.values())}" for split, labels in dataset.counts.items())
    lines += [f"- data: {dataset.name} ({counts}), manifest `{dataset.digest}`"]
    if card.space:
        lines += [f"- {name}: {allowed}" for name, allowed in card.space.items()]
    lines += [f"- {card.training.seeds} seeds, at most {card.training.epochs} epochs per trial"]
    return "\n".join(lines)
