"""Writing one attempt at a trial, in an order in which every stop in between is harmless.

The run is created with everything needed to train it again. Then, per epoch, metrics and
checkpoints. At the end predictions and best values, then the tell order, then FINISHED: a
trial counts only when both of the last two stand. A run that stops short of that is closed as
KILLED, and its trial runs again in a run of its own; ARCHITECTURE.md goes through the gaps.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from fashion_tuning.fail_points import passed
from fashion_tuning.files import SCRATCH, disk_errors, scratch_folder, sync_folder
from fashion_tuning.hyperparameters import Value, besides
from fashion_tuning.tracking import records, tag_names
from fashion_tuning.tracking.artifacts import local_artifacts
from fashion_tuning.tracking.database import ELSEWHERE
from fashion_tuning.tracking.predictions import save_predictions
from fashion_tuning.tracking.states import STATES, remove_states
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import StudyRun

_RUN_NAME = 250  # letters that MLflow's databases hold
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")


class TrialRun:
    """The run of one attempt; made by `begin`."""

    def __init__(self, study: StudyRun, record: records.TrialRecord, *, earlier: Sequence[str] = ()) -> None:
        self.record = record
        self._earlier = tuple(earlier)
        self._study = study
        self._store = study.store
        self._states: list[str] = []

    @classmethod
    def begin(
        cls,
        study: StudyRun,
        record: records.TrialRecord,
        *,
        params: Mapping[str, Value],
        earlier: Sequence[str] = (),
        resumed_from: str = "",
    ) -> "TrialRun":
        """Makes the run of a trial, nested below its study.

        Args:
          record: What is known before training; its run id is filled in here.
          params: Shown as MLflow parameters.
          earlier: Runs of earlier attempts that have left something to go on from.
          resumed_from: The one of them that this attempt goes on from.

        Raises:
          StudyOwnedError: Another machine has taken the study.
          StoreError: The store refuses.
        """
        tags = {
            tag_names.KIND: "trial",
            tag_names.PARENT: study.run_id,
            tag_names.STUDY: study.record.study,
            tag_names.GENERATION: str(study.record.generation),
            tag_names.PHOTOS: study.record.photos,
            tag_names.TRIAL: str(record.trial),
            tag_names.ATTEMPT: str(record.attempt),
            tag_names.ASK: str(record.ask),
            tag_names.VALUES: json.dumps(dict(record.values)),
            tag_names.SCOPE: json.dumps(dict(record.scope)),
            tag_names.EPOCHS: str(record.epochs),
            tag_names.LISTED: str(record.listed).lower(),
        }
        if resumed_from:
            tags[tag_names.RESUMED_FROM] = resumed_from
        if record.stage:
            tags[tag_names.STAGE] = record.stage
        if record.source:
            tags[tag_names.SOURCE] = record.source
        if record.published_val_accuracy is not None:
            tags[tag_names.PUBLISHED] = repr(record.published_val_accuracy)
        store = study.store
        run_id = store.create_run(study.experiment_id, name=run_name(record), tags=tags, guard=study.guard)
        passed("trial run")
        entries = [Param(name, str(value)) for name, value in params.items()]
        store.call(lambda client: client.log_batch(run_id, params=entries))
        passed("parameters")
        store.call(lambda client: client.log_inputs(run_id, [study.dataset.as_input()]))
        passed("dataset")
        return cls(study, replace(record, run_id=run_id), earlier=earlier)

    def log_epoch(self, epoch: int, curves: Mapping[str, Sequence[float] | np.ndarray]) -> None:
        """Writes one epoch's metrics at step `epoch`, per seed and as means over seeds.

        Args:
          curves: loss, accuracy, val_loss and val_accuracy, one value per seed each.

        Raises:
          ValueError: A value is not finite.
        """
        values = {f"seed_{seed}/{name}": value for name in CURVES for seed, value in enumerate(curves[name], 1)}
        self._log(values | {name: np.mean(curves[name]) for name in CURVES}, step=epoch)
        passed("metrics")

    def log_checkpoint(self, seed: int, path: Path) -> None:
        """Stores a checkpoint as checkpoints/seed_K/<its name>."""
        self._store.upload(self.record.run_id, path, f"checkpoints/seed_{seed}")
        passed("checkpoint")

    def log_state(self, path: Path) -> None:
        """Stores what the trial may go on from as resume/<its name>, and then removes the one before it."""
        self._store.upload(self.record.run_id, path, STATES)
        passed("state")
        for name in self._states:
            self._store.remove(self.record.run_id, f"{STATES}/{name}")
        self._states = [path.name]
        with disk_errors(path, instead=SCRATCH):
            path.unlink()

    def forget_states(self) -> None:
        """Removes what the trial might have gone on from, of its earlier attempts too: it has come to its end."""
        remove_states(self._store, [*self._earlier, self.record.run_id] if self._states or self._earlier else [])

    def log_predictions(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Stores validation probabilities, (epochs, seeds, images, classes) float32, one file per seed.

        The (images,) labels go into each file, so that it can be scored by itself.
        """
        with scratch_folder() as folder:
            for seed in range(probabilities.shape[1]):
                path = folder / f"seed_{seed + 1}.npz"
                save_predictions(path, probabilities[:, seed], labels)
                self._store.upload(self.record.run_id, path, "predictions")
                passed("predictions")

    def finish(self, best: Mapping[str, float], *, tell: int, pruned: str = "") -> None:
        """Writes best values and the tell order, then FINISHED; the trial counts from here on.

        Args:
          pruned: Why it was stopped before its last epoch.

        Raises:
          ValueError: A value is not finite; such a trial has failed.
          StudyOwnedError: Another machine has taken the study; the trial does not count.
        """
        self._sync_artifacts()
        self._log(best, step=int(best["epochs_run"]))
        passed("best values")
        self._tag({**({tag_names.PRUNED: pruned} if pruned else {}), tag_names.TELL: str(tell)})
        passed("told")
        self._terminate("FINISHED")
        passed("finished")

    def fail(self, error: str, message: str, *, tell: int | None) -> None:
        """Records a failed attempt: a typed error, its message, then FAILED.

        Args:
          tell: Place in the order of asks and tells; None where the trial gets another attempt.

        Raises:
          StudyOwnedError: Another machine has taken the study.
        """
        tags = {tag_names.ERROR: error, tag_names.ERROR_MESSAGE: message[:4000]}
        self._tag(tags if tell is None else {**tags, tag_names.TELL: str(tell)})
        passed("error")
        self._terminate("FAILED")
        passed("failed")

    def kill(self) -> None:
        """Closes an interrupted attempt as KILLED; its trial runs again at the next start."""
        close_as_killed(self._store, self.record.run_id)

    def _log(self, values: Mapping[str, float], *, step: int) -> None:
        if not all(math.isfinite(value) for value in values.values()):
            raise ValueError(f"only finite numbers may reach a metric, received {dict(values)}")
        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._store.call(lambda client: client.log_batch(self.record.run_id, metrics=metrics))

    def _tag(self, tags: Mapping[str, str]) -> None:
        """Writes tags that make the trial count, if the study is still this process's at that moment."""
        entries = [RunTag(name, value) for name, value in tags.items()]

        def operation(client: MlflowClient) -> None:
            self._study.guard(client)
            client.log_batch(self.record.run_id, tags=entries)

        self._store.call(operation)

    def _terminate(self, status: str) -> None:
        def operation(client: MlflowClient) -> None:
            self._study.guard(client)
            client.set_terminated(self.record.run_id, status)

        self._store.call(operation)

    def _sync_artifacts(self) -> None:
        """Before a run is FINISHED, its local artifacts are on the disk: a power loss must not take them."""
        if self._store.folder and (folder := local_artifacts(self._store, self.record.run_id)):
            with disk_errors(folder, instead=ELSEWHERE):
                sync_folder(folder)


def close_as_killed(store: Store, run_id: str) -> None:
    """Closes a run that nobody works on any more; one that has ended stays as it is."""
    if store.call(lambda client: client.get_run(run_id)).info.status == "RUNNING":
        store.call(lambda client: client.set_terminated(run_id, "KILLED"))


def run_name(record: records.TrialRecord) -> str:
    """What the UI calls a trial, such as `trial 07 · lr 0.0012 · dense 100 · drop 0.3`."""
    values, what = record.values, record.stage.replace("_", " ") or "trial"
    name = (
        f"{what} {record.trial:02d} · lr {values['learning_rate']:.2g} · dense {values['dense_units']:g}"
        f" · drop {values['dropout']:g}"
    )
    if others := besides(values):
        name += f" · {others}"
    attempt = f" · attempt {record.attempt}" if record.attempt > 1 else ""
    longest = _RUN_NAME - len(attempt)
    return (name if len(name) <= longest else f"{name[: longest - 1]}…") + attempt
