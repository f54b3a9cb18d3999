"""Ask, run, tell: the loop of a study, in one thread, with MLflow as its only memory."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fashion_tuning.config import Card
from fashion_tuning.errors import FashionTuningError, NoTrialError
from fashion_tuning.files import disk_errors
from fashion_tuning.model.features import FeatureRef
from fashion_tuning.model.head import count_parameters
from fashion_tuning.model.training import EpochResult, TrialSettings, train_trial
from fashion_tuning.study import selection
from fashion_tuning.study.events import EpochEnded, Report, TrialEnded, TrialStarted
from fashion_tuning.study.executors import Done, Failed, Message, Worker, ready
from fashion_tuning.study.search import WAITING, Search, Suggestion
from fashion_tuning.tracking.records import TrialRecord
from fashion_tuning.tracking.study_run import StudyRun
from fashion_tuning.tracking.trial_run import TrialRun

MAX_CONSECUTIVE_FAILURES = 3


@dataclass
class _Running:
    """A trial on a worker: its run, its scratch folder, and what it has given so far."""

    run: TrialRun
    scratch: Path
    started: float
    results: list[EpochResult] = field(default_factory=list)
    seconds_tracking: float = 0.0


class Coordinator:
    """Runs the trials of a study that has its features.

    Args:
      card: The study's card.
      run: The study's run in the store.
      history: Earlier trials, one record each, as `latest_attempts` gives them.
      attempts: For each trial number how many attempts there have been.
      workers: Where trials run, one at a time each.
      train, validation: The features.
      max_trials: When to stop; None where the tuner or the list comes to its own end.
      seconds_features: What computing the features took in this start.
      report: Told of every event.
    """

    def __init__(
        self,
        card: Card,
        run: StudyRun,
        *,
        history: list[TrialRecord],
        attempts: Mapping[int, int],
        workers: list[Worker],
        train: FeatureRef,
        validation: FeatureRef,
        max_trials: int | None,
        seconds_features: float,
        report: Report,
    ) -> None:
        self._card = card
        self._run = run
        self._workers = workers
        self._train = train
        self._validation = validation
        self._max_trials = max_trials
        self._seconds_features = seconds_features
        self._report = report
        self._attempts = dict(attempts)
        self._records = {record.trial: record for record in history}
        self._search = Search(card) if card.search else None
        self._interrupted = [record for record in history if not record.counts]
        self._order = max((max(record.ask, record.tell or 0) for record in history), default=0)
        self._running: dict[Worker, _Running] = {}
        self._failures_in_a_row = 0
        self._seconds_asking = 0.0
        self._seconds_here: list[float] = []
        self._labels = validation.labels()
        self._replay(history)

    def run(self) -> None:
        """Runs trials until the study is complete.

        Raises:
          NoTrialError: Three trials in a row have failed.
          StoreError, DiskError: Tracking was lost; the trial in hand runs again at the next start.
          KeyboardInterrupt: Passed on; the running trials are closed as KILLED.
        """
        with tempfile.TemporaryDirectory(prefix="fashion-tuning-") as scratch:
            try:
                while self._start_trials(Path(scratch)):
                    for worker in ready(self._workers):
                        self._handle(worker, worker.receive())
            except BaseException:
                self._abandon()
                raise

    def _replay(self, history: list[TrialRecord]) -> None:
        """Plays recorded asks and tells to the fresh oracle, in their order, with their values."""
        if self._search is None:
            return
        moments: list[tuple[int, Callable[[], None]]] = []
        for record in history:
            moments.append((record.ask, lambda record=record: self._replay_ask(record)))  # type: ignore[misc]
            if record.counts:
                moments.append((record.tell or 0, lambda record=record: self._tell(record)))  # type: ignore[misc]
        for _, play in sorted(moments, key=lambda moment: moment[0]):
            play()

    def _replay_ask(self, record: TrialRecord) -> None:
        if self._search is None:
            return
        if record.listed:
            self._search.list(record.trial, record.values)
        else:
            self._search.replay(record.trial, Suggestion(dict(record.values), dict(record.scope)))

    def _tell(self, record: TrialRecord) -> None:
        if self._search is not None:
            error = record.metrics.get("best_val_accuracy_se")
            self._search.tell(record.trial, record.score, standard_error=error)

    def _start_trials(self, scratch: Path) -> bool:
        """Gives idle workers their next trial; False once nothing runs and nothing is left."""
        for worker in self._workers:
            if worker in self._running:
                continue
            record = self._next_trial()
            if record is None:
                break
            self._start(worker, record, scratch)
        return bool(self._running)

    def _next_trial(self) -> TrialRecord | None:
        if self._interrupted:
            record = self._interrupted.pop(0)
            return replace(record, run_id="", status="RUNNING", tell=None, metrics={}, error="", error_message="")
        trial = max(self._records, default=0) + 1
        if self._max_trials is not None and trial > self._max_trials:
            return None
        listed = self._card.configurations
        if trial <= len(listed):
            configuration = listed[trial - 1]
            if self._search is not None:
                self._search.list(trial, configuration.values)
            return TrialRecord(
                run_id="",
                trial=trial,
                attempt=1,
                ask=self._next_order(),
                tell=None,
                status="RUNNING",
                values=configuration.values,
                scope={},
                epochs=configuration.epochs or self._card.training.epochs,
                listed=True,
                source=configuration.source,
                published_val_accuracy=configuration.published_val_accuracy,
            )
        if self._search is None:
            return None
        started = time.perf_counter()
        suggestion = self._search.ask(trial)
        self._seconds_asking = time.perf_counter() - started
        if suggestion is None or suggestion is WAITING:
            return None
        return TrialRecord(
            run_id="",
            trial=trial,
            attempt=1,
            ask=self._next_order(),
            tell=None,
            status="RUNNING",
            values=suggestion.values,
            scope=suggestion.scope,
            epochs=suggestion.epochs or self._card.training.epochs,
            listed=False,
        )

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    def _start(self, worker: Worker, record: TrialRecord, scratch: Path) -> None:
        attempt = self._attempts.get(record.trial, 0) + 1
        self._attempts[record.trial] = attempt
        parameters = count_parameters(
            record.values, feature_size=self._train.num_features, num_classes=len(self._train.classes)
        )
        record = replace(record, attempt=attempt, trainable_parameters=parameters)
        self._records[record.trial] = record
        training = self._card.training
        settings = TrialSettings(
            values=dict(record.values),
            epochs=record.epochs,
            num_seeds=training.seeds,
            study_seed=self._card.seed,
            batch_size=training.batch_size,
            patience=training.patience,
        )
        folder = scratch / f"trial-{record.trial}-{attempt}"
        started = time.perf_counter()
        worker.submit(train_trial, settings, self._train, self._validation, folder)
        run = TrialRun.begin(
            self._run,
            record,
            params={
                **record.values,
                "epochs": record.epochs,
                "seeds": training.seeds,
                "batch_size": training.batch_size,
                "image_size": self._card.images.image_size,
                "trainable_parameters": parameters,
            },
        )
        self._records[record.trial] = run.record
        self._running[worker] = _Running(run, folder, started, seconds_tracking=time.perf_counter() - started)
        self._report(TrialStarted(run.record, self._max_trials))

    def _handle(self, worker: Worker, message: Message) -> None:
        running = self._running[worker]
        if isinstance(message, Done):
            self._complete(running)
        elif isinstance(message, Failed):
            if isinstance(message.error, FashionTuningError):
                raise message.error
            self._fail(running, message)
        else:
            self._record_epoch(running, message.value)
            return
        del self._running[worker]
        shutil.rmtree(running.scratch, ignore_errors=True)

    def _record_epoch(self, running: _Running, result: EpochResult) -> None:
        started = time.perf_counter()
        running.results.append(result)
        running.run.log_epoch(
            result.epoch,
            {
                "loss": result.loss,
                "accuracy": result.accuracy,
                "val_loss": result.val_loss,
                "val_accuracy": result.val_accuracy,
            },
        )
        for seed, path in result.checkpoints.items():
            running.run.log_checkpoint(seed, path)
            with disk_errors(path):
                path.unlink()
        running.seconds_tracking += time.perf_counter() - started
        self._report(EpochEnded(running.run.record, result.epoch, float(result.val_accuracy.mean())))

    def _complete(self, running: _Running) -> None:
        started = time.perf_counter()
        probabilities = np.stack([result.probabilities for result in running.results])
        running.run.log_predictions(probabilities, self._labels)
        curve = [float(result.val_accuracy.mean()) for result in running.results]
        best_epoch = selection.best_epoch(curve)
        correct = selection.correct(probabilities[best_epoch - 1], self._labels)
        best = {
            "best_val_accuracy": curve[best_epoch - 1],
            "best_val_accuracy_se": selection.standard_error(correct),
            "best_epoch": best_epoch,
            "epochs_run": len(curve),
            "seconds_oracle": 0.0 if running.run.record.listed else self._seconds_asking,
        }
        spread = selection.seed_spread(correct)
        if spread is not None:
            best["best_val_accuracy_seed_sd"] = spread
        for stage in ("training", "validation", "checkpoints"):
            best[f"seconds_{stage}"] = sum(result.seconds[stage] for result in running.results)
        now = time.perf_counter()
        best["seconds_tracking"] = running.seconds_tracking + now - started
        best["seconds"] = now - running.started
        tell = self._next_order()
        running.run.finish(best, tell=tell)
        self._failures_in_a_row = 0
        self._end(replace(running.run.record, status="FINISHED", tell=tell, metrics=best))

    def _fail(self, running: _Running, failure: Failed) -> None:
        tell = self._next_order()
        running.run.fail(failure.kind, failure.message, tell=tell)
        record = replace(
            running.run.record, status="FAILED", tell=tell, error=failure.kind, error_message=failure.message
        )
        self._end(record)
        self._failures_in_a_row += 1
        if self._failures_in_a_row == MAX_CONSECUTIVE_FAILURES:
            last = [record for record in self._records.values() if record.failed][-MAX_CONSECUTIVE_FAILURES:]
            reasons = "\n".join(f"  trial {record.trial}: {record.error}: {record.error_message}" for record in last)
            raise NoTrialError(
                f"stopped: {MAX_CONSECUTIVE_FAILURES} trials in a row have failed\n{reasons}",
                action="mend the cause and type the same command again: it goes on with the next trial",
            )

    def _end(self, record: TrialRecord) -> None:
        self._records[record.trial] = record
        self._tell(record)
        ended = [record for record in self._records.values() if record.counts]
        best = max((record for record in ended if record.completed), key=lambda one: one.score or 0.0, default=None)
        self._seconds_here.append(record.metrics.get("seconds", 0.0))
        metrics = {
            "trials_completed": sum(record.completed for record in ended),
            "trials_failed": sum(record.failed for record in ended),
            "seconds_trials": sum(record.metrics.get("seconds", 0.0) for record in ended),
            "seconds_features": self._seconds_features,
        }
        if best is not None:
            metrics["best_val_accuracy"] = best.metrics["best_val_accuracy"]
            metrics["best_val_accuracy_se"] = best.metrics["best_val_accuracy_se"]
        self._run.log(metrics, step=len(ended))
        left = None if self._max_trials is None else max(0, self._max_trials - len(ended))
        mean_seconds = sum(self._seconds_here) / len(self._seconds_here)
        seconds_left = None if left is None else left * mean_seconds / len(self._workers)
        self._report(TrialEnded(record, best, len(ended), self._max_trials, seconds_left))

    def _abandon(self) -> None:
        """Closes the runs of trials that are cut short, as far as the store still answers."""
        for worker, running in self._running.items():
            worker.close()
            try:
                running.run.kill()
            except FashionTuningError:
                continue  # the next start closes it
        self._running.clear()
