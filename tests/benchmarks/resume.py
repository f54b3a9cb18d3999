"""What two hundred recorded trials add to the start of a study: reading them, and playing them to the oracle."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from fashion_tuning.config import load_card
from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.agenda import Agenda
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs, shown_parameters
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.records import find_studies, read_attempts
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import StudyRun
from fashion_tuning.tracking.trial_run import CURVES, TrialRun
from tests.benchmarks.ask import score

TRIALS = 200
ROUNDS = 3


def measure(dataset: Dataset, weights: Weights, cache: Path, scratch: Path) -> list[tuple[str, str, str, str]]:
    """Median seconds of a start that finds all its trials recorded, with one trial and with two hundred."""
    path = Path("experiments/xception_150.toml")
    inputs = StudyInputs(load_card(path), path.read_text(), dataset, {weights.name: weights}, cache)
    uri = f"sqlite:///{scratch / 'resume' / 'mlflow.db'}"
    worker = Worker()
    try:
        _start(inputs, uri, worker, max_trials=1)  # one real trial
        one = [_start(inputs, uri, worker, max_trials=1) for _ in range(ROUNDS)]
        _record(inputs, uri)
        many = [_start(inputs, uri, worker, max_trials=TRIALS) for _ in range(ROUNDS)]
    finally:
        worker.close()
    few, all_of_them = float(np.median(one)), float(np.median(many))
    return [
        (
            f"start of a study with {TRIALS} trials on record, Bayesian (median of {ROUNDS})",
            f"{all_of_them:.1f} s",
            f"with 1 trial on record {few:.1f} s: {TRIALS} add {all_of_them - few:.1f} s",
            f"{all_of_them / few:.1f}",
        )
    ]


def _start(inputs: StudyInputs, uri: str, worker: Worker, *, max_trials: int) -> float:
    started = time.perf_counter()
    tune(inputs, Store(uri), workers=[worker], max_trials=max_trials, fresh=False, report=lambda _: None)
    return time.perf_counter() - started


def _record(inputs: StudyInputs, uri: str) -> None:
    """Goes on with the study without training: asks are real, scores are drawn, runs are written in full."""
    store, random = Store(uri), np.random.default_rng(1)
    study = find_studies(store, inputs.experiment)[0]
    run = StudyRun.resume(store, study, inputs.origin.dataset)
    run.start(inputs.origin)
    agenda = Agenda(inputs.card, read_attempts(store, study), max_trials=TRIALS)
    num_seeds = inputs.card.training.seeds
    while (record := agenda.next_trial()) is not None:
        trial = TrialRun.begin(run, record, params=shown_parameters(inputs.card, record))
        best = score(record.values, random)
        for epoch in range(1, record.epochs + 1):
            trial.log_epoch(epoch, {name: np.full(num_seeds, best) for name in CURVES})
        trial.log_predictions(np.full((record.epochs, num_seeds, 10, 10), 0.1, np.float32), np.arange(10))
        metrics = {
            "best_val_accuracy": best,
            "best_val_accuracy_se": 0.02,
            "best_val_accuracy_seed_sd": 0.005,
            "best_epoch": float(record.epochs),
            "epochs_run": float(record.epochs),
        }
        tell = agenda.next_order()
        trial.finish(metrics, tell=tell)
        agenda.tell(replace(trial.record, status="FINISHED", tell=tell, metrics=metrics))
    run.end("FINISHED")
