"""Writing one attempt at a trial, in an order in which every stop in between is harmless.

The run is created with everything needed to train it again. Then, per epoch, metrics and
checkpoints. At the end predictions and best values, then the tell order, then FINISHED: a
trial counts only when both of the last two stand.
"""

import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mlflow.entities import Metric, Param, RunTag

from fashion_tuning.files import disk_errors
from fashion_tuning.tracking import records
from fashion_tuning.tracking.store import Store, store_errors
from fashion_tuning.tracking.study_run import StudyRun

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")


class TrialRun:
    """The run of one attempt; made by `begin`."""

    def __init__(self, study: StudyRun, record: records.TrialRecord) -> None:
        self.record = record
        self._store = study.store

    @classmethod
    def begin(cls, study: StudyRun, record: records.TrialRecord, *, params: Mapping[str, int | float]) -> "TrialRun":
        """Makes the run of a trial, nested below its study.

        Args:
          record: What is known before training; its run id is filled in here.
          params: Shown as MLflow parameters.

        Raises:
          StoreError: The store refuses.
        """
        tags = {
            records.KIND: "trial",
            records.PARENT: study.run_id,
            records.STUDY: study.record.digest,
            records.GENERATION: str(study.record.generation),
            records.PHOTOS: study.record.photos,
            records.TRIAL: str(record.trial),
            records.ATTEMPT: str(record.attempt),
            records.ASK: str(record.ask),
            records.VALUES: json.dumps(dict(record.values)),
            records.SCOPE: json.dumps(dict(record.scope)),
            records.EPOCHS: str(record.epochs),
            records.LISTED: str(record.listed).lower(),
        }
        if record.source:
            tags[records.SOURCE] = record.source
        if record.published_val_accuracy is not None:
            tags[records.PUBLISHED] = repr(record.published_val_accuracy)
        client = study.store.client
        with store_errors(study.store.uri):
            run_id = client.create_run(study.experiment_id, tags=tags, run_name=run_name(record)).info.run_id
            client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])
            client.log_inputs(run_id, [study.dataset.as_input()])
        return cls(study, replace(record, run_id=run_id))

    def log_epoch(self, epoch: int, curves: Mapping[str, Sequence[float] | np.ndarray]) -> None:
        """Writes one epoch's metrics at step `epoch`, per seed and as means over seeds.

        Args:
          curves: loss, accuracy, val_loss and val_accuracy, one value per seed each.
        """
        now = int(time.time() * 1000)
        metrics = [
            Metric(f"seed_{seed}/{name}", float(value), now, epoch)
            for name in CURVES
            for seed, value in enumerate(curves[name], 1)
        ]
        metrics += [Metric(name, float(np.mean(curves[name])), now, epoch) for name in CURVES]
        with store_errors(self._store.uri):
            self._store.client.log_batch(self.record.run_id, metrics=metrics)

    def log_checkpoint(self, seed: int, path: Path) -> None:
        """Stores a checkpoint as checkpoints/seed_K/<its name>."""
        with store_errors(self._store.uri), disk_errors(path):
            self._store.client.log_artifact(self.record.run_id, str(path), f"checkpoints/seed_{seed}")

    def log_predictions(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Stores validation probabilities, (epochs, seeds, images, classes) float32, one file per seed.

        The (images,) labels go into each file, so that it can be scored by itself.
        """
        with tempfile.TemporaryDirectory() as folder, disk_errors(Path(folder)), store_errors(self._store.uri):
            for seed in range(probabilities.shape[1]):
                np.savez(Path(folder) / f"seed_{seed + 1}.npz", probabilities=probabilities[:, seed], labels=labels)
            self._store.client.log_artifacts(self.record.run_id, folder, "predictions")

    def finish(self, best: Mapping[str, float], *, tell: int) -> None:
        """Writes best values and the tell order, then FINISHED; the trial counts from here on.

        Raises:
          ValueError: A value is not finite; such a trial has failed.
        """
        if not all(math.isfinite(value) for value in best.values()):
            raise ValueError(f"only finite numbers may reach a metric, received {dict(best)}")
        now = int(time.time() * 1000)
        with store_errors(self._store.uri):
            self._store.client.log_batch(
                self.record.run_id,
                metrics=[Metric(name, float(value), now, int(best["epochs_run"])) for name, value in best.items()],
                tags=[RunTag(records.TELL, str(tell))],
            )
            self._store.client.set_terminated(self.record.run_id, "FINISHED")

    def fail(self, error: str, message: str, *, tell: int) -> None:
        """Records a failed trial: a typed error, its message, the tell order, then FAILED."""
        tags = {records.ERROR: error, records.ERROR_MESSAGE: message[:4000], records.TELL: str(tell)}
        with store_errors(self._store.uri):
            self._store.client.log_batch(self.record.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
            self._store.client.set_terminated(self.record.run_id, "FAILED")

    def kill(self) -> None:
        """Closes an interrupted attempt as KILLED; its trial runs again at the next start."""
        close_as_killed(self._store, self.record.run_id)


def close_as_killed(store: Store, run_id: str) -> None:
    """Closes a run that nobody works on any more."""
    with store_errors(store.uri):
        store.client.set_terminated(run_id, "KILLED")


def run_name(record: records.TrialRecord) -> str:
    """What the UI calls a trial, such as `trial 07 · lr 0.0012 · dense 100 · drop 0.3`."""
    values = record.values
    name = (
        f"trial {record.trial:02d} · lr {values['learning_rate']:.2g} · dense {values['dense_units']:g}"
        f" · drop {values['dropout']:g}"
    )
    return name + (f" · attempt {record.attempt}" if record.attempt > 1 else "")
