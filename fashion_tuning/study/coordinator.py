"""Ask, run, tell: the loop of a study, in one thread, with MLflow as its only memory."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fashion_tuning.config import Card
from fashion_tuning.data.download import NAME as CLOTHING
from fashion_tuning.errors import FashionTuningError, NoTrialError
from fashion_tuning.model.features import FeatureRef
from fashion_tuning.model.head import count_parameters
from fashion_tuning.model.training import EpochResult, TrialSettings, train_trial
from fashion_tuning.study.attempt import Attempt
from fashion_tuning.study.events import EpochEnded, Report, TrialEnded, TrialStarted
from fashion_tuning.study.executors import Done, Failed, Message, Output, Worker, ready
from fashion_tuning.study.search import WAITING, Search, Suggestion
from fashion_tuning.tracking.records import TrialRecord
from fashion_tuning.tracking.study_run import StudyRun
from fashion_tuning.tracking.trial_run import TrialRun

MAX_CONSECUTIVE_FAILURES = 3


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
        report: Report,
    ) -> None:
        self._card = card
        self._run = run
        self._workers = workers
        self._train = train
        self._validation = validation
        self._max_trials = max_trials
        self._report = report
        self._attempts = dict(attempts)
        self._records = {record.trial: record for record in history}
        self._search = Search(card) if card.search else None
        self._interrupted = [record for record in history if not record.counts]
        self._order = max((max(record.ask, record.tell or 0) for record in history), default=0)
        self._running: dict[Worker, Attempt] = {}
        self._failures_in_a_row = 0
        self._seconds_asking: dict[int, float] = {}
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
            self._search.tell(record.trial, record.score, standard_error=self._noise(record))

    def _noise(self, record: TrialRecord) -> float | None:
        """Standard error of a score as the oracle should see it.

        All trials are scored on the same images, whose luck moves them together and ranks none
        of them; what is left is the spread over seeds. With one seed nothing tells the two apart.
        """
        spread = record.metrics.get("best_val_accuracy_seed_sd")
        if spread is None:
            return record.metrics.get("best_val_accuracy_se")
        return spread / math.sqrt(self._card.training.seeds)

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
        if trial <= len(self._card.configurations):
            return self._listed(trial)
        return self._suggested(trial)

    def _listed(self, trial: int) -> TrialRecord:
        configuration = self._card.configurations[trial - 1]
        if self._search is not None:
            self._search.list(trial, configuration.values)
        # The figures were published for these photos; beside others they would mislead.
        published = configuration.published_val_accuracy if self._run.dataset.name == CLOTHING else None
        return replace(
            self._new_record(trial, Suggestion(configuration.values), epochs=configuration.epochs),
            listed=True,
            source=configuration.source,
            published_val_accuracy=published,
        )

    def _suggested(self, trial: int) -> TrialRecord | None:
        if self._search is None:
            return None
        started = time.perf_counter()
        suggestion = self._search.ask(trial)
        self._seconds_asking[trial] = time.perf_counter() - started
        if suggestion is None or suggestion is WAITING:
            return None
        return self._new_record(trial, suggestion, epochs=suggestion.epochs)

    def _new_record(self, trial: int, suggestion: Suggestion, *, epochs: int | None) -> TrialRecord:
        return TrialRecord(
            run_id="",
            trial=trial,
            attempt=1,
            ask=self._next_order(),
            tell=None,
            status="RUNNING",
            values=suggestion.values,
            scope=suggestion.scope,
            epochs=epochs or self._card.training.epochs,
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
        self._running[worker] = Attempt(
            run,
            scratch=folder,
            labels=self._labels,
            started=started,
            seconds_asking=self._seconds_asking.pop(record.trial, 0.0),
        )
        self._report(TrialStarted(run.record, self._max_trials))

    def _handle(self, worker: Worker, message: Message) -> None:
        attempt = self._running[worker]
        if isinstance(message, Output):
            result: EpochResult = message.value
            attempt.add(result)
            self._report(EpochEnded(attempt.record, result.epoch, float(result.val_accuracy.mean())))
            return
        if isinstance(message, Failed) and message.error is not None:
            raise message.error
        tell = self._next_order()
        record = attempt.complete(tell=tell) if isinstance(message, Done) else attempt.fail(message, tell=tell)
        del self._running[worker]
        self._end(record)
        self._failures_in_a_row = self._failures_in_a_row + 1 if record.failed else 0
        if self._failures_in_a_row == MAX_CONSECUTIVE_FAILURES:
            raise self._too_many_failures()

    def _too_many_failures(self) -> NoTrialError:
        failed = sorted((record for record in self._records.values() if record.failed), key=lambda one: one.tell or 0)
        reasons = "\n".join(
            f"  trial {record.trial}: {record.error}: {record.error_message}"
            for record in failed[-MAX_CONSECUTIVE_FAILURES:]
        )
        return NoTrialError(
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
        for worker, attempt in self._running.items():
            worker.close()
            try:
                attempt.kill()
            except FashionTuningError:
                continue  # the next start closes it
        self._running.clear()
