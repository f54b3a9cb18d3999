"""Ask, run, tell: the loop of a study, in one thread, with MLflow as its only memory."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from fashion_tuning.config import Card
from fashion_tuning.errors import FashionTuningError, NoTrialError
from fashion_tuning.fail_points import passed
from fashion_tuning.files import scratch_folder
from fashion_tuning.model.features import FeatureRef
from fashion_tuning.model.head import count_parameters
from fashion_tuning.model.training import EpochResult, train_trial
from fashion_tuning.study.attempt import Attempt
from fashion_tuning.study.events import AttemptEnded, EpochEnded, Report, TrialEnded, TrialStarted
from fashion_tuning.study.executors import Done, Failed, Message, Output, Worker, ready
from fashion_tuning.study.inputs import shown_parameters, trial_settings
from fashion_tuning.study.queue import TrialQueue
from fashion_tuning.tracking.records import TrialRecord
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
      train, validation: The features.
      report: Told of every event.
    """

    def __init__(
        self,
        card: Card,
        run: StudyRun,
        *,
        agenda: TrialQueue,
        workers: list[Worker],
        train: FeatureRef,
        validation: FeatureRef,
        report: Report,
    ) -> None:
        self._card = card
        self._run = run
        self._agenda = agenda
        self._workers = workers
        self._train = train
        self._validation = validation
        self._report = report
        self._running: dict[Worker, Attempt] = {}
        self._failures_in_a_row = 0
        self._seconds_here: list[float] = []
        self._labels = validation.labels()

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
                while self._start_trials(scratch):
                    for worker in ready(self._workers, timeout=self._seconds_to_limit()):
                        self._handle(worker, worker.receive())
                    self._stop_overdue()
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
        parameters = count_parameters(
            record.values, feature_size=self._train.num_features, num_classes=len(self._train.classes)
        )
        record = replace(record, trainable_parameters=parameters)
        folder = scratch / f"trial-{record.trial}-{record.attempt}"
        started, waited = time.perf_counter(), self._run.store.seconds_waited
        worker.submit(train_trial, trial_settings(self._card, record), self._train, self._validation, folder)
        run = TrialRun.begin(self._run, record, params=shown_parameters(self._card, record))
        self._running[worker] = Attempt(
            run,
            scratch=folder,
            labels=self._labels,
            started=started,
            seconds_asking=self._agenda.seconds_asking(record.trial),
            seconds_waited=waited,
        )
        self._report(TrialStarted(run.record, self._agenda.max_trials))

    def _handle(self, worker: Worker, message: Message) -> None:
        attempt = self._running[worker]
        if isinstance(message, Output):
            result: EpochResult = message.value
            attempt.add(result)
            self._report(EpochEnded(attempt.record, result.epoch, float(result.val_accuracy.mean())))
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
        tell = self._agenda.next_order()
        record = attempt.complete(tell=tell) if isinstance(message, Done) else attempt.fail(message, tell=tell)
        del self._running[worker]
        self._end(record)

    def _end(self, record: TrialRecord) -> None:
        self._agenda.tell(record)
        self._log_standing()
        num_ended, max_trials = len(self._agenda.ended), self._agenda.max_trials
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
