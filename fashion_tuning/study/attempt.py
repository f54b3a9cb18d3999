"""One attempt at a trial while it runs: what it has given so far, and its way into the store."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from fashion_tuning.files import SCRATCH, disk_errors
from fashion_tuning.model.epochs import EpochResult
from fashion_tuning.study import selection
from fashion_tuning.study.executors import Failed
from fashion_tuning.tracking.records import TrialRecord
from fashion_tuning.tracking.trial_run import TrialRun

STAGES = ("training", "validation", "checkpoints")


class Attempt:
    """A running attempt: epoch results come in, metrics and artifacts go to its run.

    Args:
      run: Its run in the store.
      scratch: Where its worker writes checkpoints; removed at the end.
      labels: (images,) int, the validation labels.
      started: time.perf_counter() when its worker was given the trial.
      seconds_asking: What the oracle took for its values.
      seconds_waited: How long the store had been waited for by then.
    """

    def __init__(
        self,
        run: TrialRun,
        *,
        scratch: Path,
        labels: np.ndarray,
        started: float,
        seconds_asking: float,
        seconds_waited: float,
    ) -> None:
        self._run = run
        self._scratch = scratch
        self._labels = labels
        self._started = started
        self._seconds_asking = seconds_asking
        self._waited_before = seconds_waited
        self._results: list[EpochResult] = []
        self._seconds_tracking = time.perf_counter() - started

    @property
    def record(self) -> TrialRecord:
        return self._run.record

    def seconds_left(self, limit: float, seconds_waited: float) -> float:
        """Of the `limit` that it may take on the clock; the store's absences don't count.

        Args:
          seconds_waited: How long the store has been waited for by now.
        """
        return limit - (time.perf_counter() - self._started) + (seconds_waited - self._waited_before)

    def add(self, result: EpochResult) -> None:
        """Records one epoch: metrics, and the checkpoints that its worker has written."""
        started = time.perf_counter()
        self._results.append(result)
        curves = {
            "loss": result.loss,
            "accuracy": result.accuracy,
            "val_loss": result.val_loss,
            "val_accuracy": result.val_accuracy,
        }
        self._run.log_epoch(result.epoch, curves)
        for seed, path in result.checkpoints.items():
            self._run.log_checkpoint(seed, path)
            with disk_errors(path, instead=SCRATCH):
                path.unlink()
        if result.state is not None:  # after the checkpoints that it names
            self._run.log_state(result.state)
        self._seconds_tracking += time.perf_counter() - started

    @property
    def curve(self) -> list[float]:
        """Mean validation accuracy after each epoch so far."""
        return [float(result.val_accuracy.mean()) for result in self._results]

    @property
    def seconds_of_epochs_left(self) -> float:
        """What all of its epochs that are still to come take, if they take as long as those so far."""
        spent = sum(sum(result.seconds.values()) for result in self._results)
        return (self.record.epochs / len(self._results) - 1) * spent

    def complete(self, *, tell: int, pruned: str = "") -> TrialRecord:
        """Records predictions and best values, and ends the run as FINISHED; `pruned` says why it did not go on."""
        started = time.perf_counter()
        probabilities = np.stack([result.probabilities for result in self._results])
        self._run.log_predictions(probabilities, self._labels)
        curve = self.curve
        best_epoch = selection.best_epoch(curve)
        correct = selection.correct(probabilities[best_epoch - 1], self._labels)
        spread = selection.seed_spread(correct)
        metrics = {
            "best_val_accuracy": curve[best_epoch - 1],
            "best_val_accuracy_se": selection.standard_error(correct),
            **({} if spread is None else {"best_val_accuracy_seed_sd": spread}),
            "best_epoch": best_epoch,
            "epochs_run": len(curve),
            **{f"seconds_{stage}": sum(result.seconds[stage] for result in self._results) for stage in STAGES},
            "seconds_oracle": self._seconds_asking,
        }
        now = time.perf_counter()
        metrics["seconds_tracking"] = self._seconds_tracking + now - started
        metrics["seconds"] = now - self._started
        self._run.finish(metrics, tell=tell, pruned=pruned)
        self._run.forget_states()
        self._clear()
        return replace(self.record, status="FINISHED", tell=tell, pruned=pruned, metrics=metrics)

    def fail(self, failure: Failed, *, tell: int | None) -> TrialRecord:
        """Records why the attempt failed, and ends its run as FAILED; `tell` is None where another one follows."""
        self._run.fail(failure.kind, failure.message, tell=tell)
        if tell is not None:
            self._run.forget_states()
        self._clear()
        return replace(self.record, status="FAILED", tell=tell, error=failure.kind, error_message=failure.message)

    def kill(self) -> None:
        """Ends the run as KILLED, unless it has just come to its end; the trial runs again at the next start."""
        self._clear()
        self._run.kill()

    def _clear(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
