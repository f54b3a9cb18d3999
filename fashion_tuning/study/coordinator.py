"""Ask, run, tell: the loop of a study, in one thread, with MLflow as its only memory."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fashion_tuning.config import Card
from fashion_tuning.errors import FashionTuningError, NoTrialError
from fashion_tuning.fail_points import passed
from fashion_tuning.files import scratch_folder
from fashion_tuning.model.epochs import RESUME, EpochResult, last_state
from fashion_tuning.model.trainable import count_parameters, is_long
from fashion_tuning.model.training import train_trial
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.attempt import Attempt
from fashion_tuning.study.events import AttemptEnded, EpochEnded, Notice, Report, TrialEnded, TrialStarted
from fashion_tuning.study.executors import Done, Failed, Message, Output, Worker, ready
from fashion_tuning.study.inputs import Features, shown_parameters, trial_settings
from fashion_tuning.study.pruning import last_epoch, should_stop
from fashion_tuning.study.queue import TrialQueue
from fashion_tuning.tracking.records import TrialRecord, read_attempts, read_curve
from fashion_tuning.tracking.states import fetch_states, has_states
from fashion_tuning.tracking.study_run import StudyRun
from fashion_tuning.tracking.trial_run import TrialRun

MAX_CONSECUTIVE_FAILURES = 3


class Coordinator:
    """Runs the trials of a study that has its features.

    Args:
      card: The study's card.
      run: The study's run in the store.
      agenda: Which trials are there and which come next.
      workers: Where trials run, one at a time each.
      features: Where the trials' features lie; weights: Of each backbone, by name.
      targets: (views, images, classes), what a teacher says; None without one.
      report: Told of every event.
    """

    def __init__(
        self,
        card: Card,
        run: StudyRun,
        *,
        agenda: TrialQueue,
        workers: list[Worker],
        features: Features,
        weights: Mapping[str, Weights],
        targets: np.ndarray | None,
        report: Report,
    ) -> None:
        self._card = card
        self._run = run
        self._agenda = agenda
        self._workers = workers
        self._features = features
        self._weights = weights
        self._targets = targets
        self._report = report
        self._running: dict[Worker, Attempt] = {}
        self._curves: list[Sequence[float]] = []  # of the trials that have come to an end, where any may be stopped
        self._failures_in_a_row = 0
        self._seconds_here: list[float] = []
        self._labels = features.labels("validation")

    def run(self) -> None:
        """Runs trials until the study is complete.

        Raises:
          NoTrialError: Three trials in a row have failed.
          StudyOwnedError: Another machine has taken the study; its trials are its own from then on.
          StoreError, DiskError: Tracking was lost; the trial in hand runs again at the next start.
          KeyboardInterrupt: Passed on; the running trials are closed as KILLED.
        """
        with scratch_folder() as scratch:
            try:
                self._log_standing()
                if self._card.pruning:
                    self._curves = self._recorded_curves()
                while self._start_trials(scratch):
                    for worker in ready(self._workers, timeout=self._seconds_to_limit()):
                        self._handle(worker, worker.receive())
                    self._stop_overdue()
                if reason := self._agenda.why_short:
                    self._report(Notice(reason))
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    self._run.store.hurry()
                self._abandon()
                raise

    def _start_trials(self, scratch: Path) -> bool:
        """Gives idle workers their next trial; False once nothing runs and nothing is left."""
        for worker in self._workers:
            if worker in self._running:
                continue
            record = self._agenda.next_trial()
            if record is None:
                break
            self._start(worker, record, scratch)
        return bool(self._running)

    def _start(self, worker: Worker, record: TrialRecord, scratch: Path) -> None:
        refs = self._features.of(record.values)
        record = replace(record, trainable_parameters=count_parameters(record.values, refs["train"]))
        folder = scratch / f"trial-{record.trial}-{record.attempt}"
        started, waited = time.perf_counter(), self._run.store.seconds_waited
        earlier = self._earlier_states(record) if record.attempt > 1 and is_long(refs["train"]) else []
        resumed_from = self._fetch_state(earlier, folder)
        settings = trial_settings(self._card, record)
        weights = self._weights[refs["train"].key.backbone]
        worker.submit(train_trial, settings, refs["train"], refs["validation"], folder, weights, self._targets)
        run = TrialRun.begin(
            self._run, record, params=shown_parameters(self._card, record), earlier=earlier, resumed_from=resumed_from
        )
        self._running[worker] = Attempt(
            run,
            scratch=folder,
            labels=self._labels,
            started=started,
            seconds_asking=self._agenda.seconds_asking(record.trial),
            seconds_waited=waited,
        )
        self._report(TrialStarted(run.record, self._agenda.num_expected))

    def _earlier_states(self, record: TrialRecord) -> list[str]:
        """Runs of the trial's earlier attempts that have left something to go on from, newest first."""
        store = self._run.store
        attempts = [one for one in read_attempts(store, self._run.record) if one.trial == record.trial]
        return [one.run_id for one in reversed(attempts) if has_states(store, one.run_id)]

    def _fetch_state(self, earlier: Sequence[str], folder: Path) -> str:
        """Copies what the newest of these runs has left, if it is whole, to where the worker looks for it; whose."""
        for run_id in earlier:
            # Of one attempt alone: the files of one that was killed while it wrote may be cut short.
            fetch_states(self._run.store, run_id, states=folder / RESUME, checkpoints=folder)
            if last_state(folder) is not None:
                return run_id
            shutil.rmtree(folder)
        return ""

    def _handle(self, worker: Worker, message: Message) -> None:
        attempt = self._running[worker]
        if isinstance(message, Output):
            result: EpochResult = message.value
            attempt.add(result)
            curve = attempt.curve
            self._report(
                EpochEnded(attempt.record, result.epoch, curve[-1], max(curve), attempt.seconds_of_epochs_left)
            )
            if reason := self._reason_to_stop(attempt):
                worker.close()
                self._complete(worker, pruned=reason)
            return
        if isinstance(message, Failed) and message.error is not None:
            raise message.error
        if isinstance(message, Failed) and message.died:
            attempts_left = self._agenda.died(attempt.record.trial)
            if attempts_left:
                record = attempt.fail(message, tell=None)
                del self._running[worker]
                self._agenda.try_again(record)
                self._report(AttemptEnded(record, attempts_left))
                return
        if isinstance(message, Done):
            self._complete(worker)
            return
        record = attempt.fail(message, tell=self._agenda.next_tell(attempt.record.trial))
        del self._running[worker]
        self._end(record)

    def _complete(self, worker: Worker, *, pruned: str = "") -> None:
        attempt = self._running[worker]
        record = attempt.complete(tell=self._agenda.next_tell(attempt.record.trial), pruned=pruned)
        self._curves.append(attempt.curve)
        del self._running[worker]
        self._end(record)

    def _reason_to_stop(self, attempt: Attempt) -> str:
        """Why the trial should not go on; "" where it should, or ends here by itself."""
        record, settings = attempt.record, self._card.pruning
        if settings is None or record.listed:
            return ""
        if len(attempt.curve) >= last_epoch(attempt.curve, record.epochs, self._card.training.patience):
            return ""
        beside = [one.curve for one in self._running.values() if one is not attempt]
        return should_stop(settings, attempt.curve, self._curves, running=beside)

    def _recorded_curves(self) -> list[Sequence[float]]:
        ended = sorted((record for record in self._agenda.ended if record.completed), key=lambda one: one.tell or 0)
        curves = [read_curve(self._run.store, record.run_id, "val_accuracy") for record in ended]
        return [[value for _, value in curve] for curve in curves]

    def _end(self, record: TrialRecord) -> None:
        self._agenda.tell(record)
        self._log_standing()
        num_ended, max_trials = len(self._agenda.ended), self._agenda.num_expected
        self._seconds_here.append(record.metrics.get("seconds", 0.0))
        mean_seconds = sum(self._seconds_here) / len(self._seconds_here)
        seconds_left = None
        if max_trials is not None:
            seconds_left = max(0, max_trials - num_ended) * mean_seconds / len(self._workers)
        self._report(TrialEnded(record, self._agenda.best, num_ended, max_trials, seconds_left))
        self._failures_in_a_row = self._failures_in_a_row + 1 if record.failed else 0
        if self._failures_in_a_row == MAX_CONSECUTIVE_FAILURES:
            raise self._too_many_failures()

    def _too_many_failures(self) -> NoTrialError:
        failed = sorted((record for record in self._agenda.ended if record.failed), key=lambda one: one.tell or 0)
        reasons = "\n".join(
            f"  trial {record.trial}: {record.error}: {record.error_message}"
            for record in failed[-MAX_CONSECUTIVE_FAILURES:]
        )
        return NoTrialError(
            f"stopped: {MAX_CONSECUTIVE_FAILURES} trials in a row have failed\n{reasons}",
            action="mend the cause and type the same command again: it goes on with the next trial",
        )

    def _log_standing(self) -> None:
        """Writes the study's own metrics, unless they stand already: a kill may have come before them."""
        ended, best = self._agenda.ended, self._agenda.best
        if not ended:
            return
        metrics: dict[str, float] = {
            "trials_completed": sum(record.completed for record in ended),
            "trials_failed": sum(record.failed for record in ended),
            "seconds_trials": sum(record.metrics.get("seconds", 0.0) for record in ended),
        }
        if best is not None and self._run.best_is_result:
            metrics["best_val_accuracy"] = best.metrics["best_val_accuracy"]
            metrics["best_val_accuracy_se"] = best.metrics["best_val_accuracy_se"]
        if self._run.metrics().items() >= metrics.items():
            return
        self._run.log(metrics, step=len(ended))
        passed("standing")

    def _seconds_to_limit(self) -> float | None:
        """Until the first running trial is overdue; None where nothing limits them."""
        limit = self._card.training.max_seconds
        if limit is None:
            return None
        waited = self._run.store.seconds_waited
        return max(0.0, min(attempt.seconds_left(limit, waited) for attempt in self._running.values()))

    def _stop_overdue(self) -> None:
        limit = self._card.training.max_seconds
        if limit is None:
            return
        for worker, attempt in list(self._running.items()):
            if attempt.seconds_left(limit, self._run.store.seconds_waited) <= 0:
                worker.close()
                message = f"stopped after {limit:g} s, max_seconds of the card"
                self._handle(worker, Failed("time_limit", message, died=True))

    def _abandon(self) -> None:
        """Closes the runs of trials that are cut short, as far as the store still answers."""
        for worker, attempt in self._running.items():
            worker.close()
            try:
                attempt.kill()
            except FashionTuningError:
                continue  # the next start closes it
        self._running.clear()
